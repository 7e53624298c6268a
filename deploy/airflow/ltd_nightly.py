"""Nightly retraining in Airflow 3.3 or newer: one run a logical date, in the corpus' time zone.

The worker's environment says where things are:
    LTD_PYTHON    the Python that the project is installed in (not Airflow's own)
    LTD_SETTINGS  the settings file

The run of a date begins when the date is over. Nights that were missed are not scheduled again
(catchup=False): the next one embeds their partitions too, and trains once. To fire a date by hand,
trigger it with that logical date; without one it is yesterday.
"""

import datetime
import re

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, RetryDecision, RetryPolicy
from airflow.sdk.definitions.context import Context

TIMEZONE = "Asia/Shanghai"
SCHEDULE = "30 2 * * *"
RETRIES = 20
RETRY_DELAY = datetime.timedelta(minutes=15)
FINAL = (64, 65, 73)  # usage, data, cannot create: the same again would fail again

# A schedule with data intervals makes the logical date the day before the run.
COMMAND = (
    '"${LTD_PYTHON:-python}" -m distill_jobs nightly --settings "${LTD_SETTINGS:?names no file}"'
    "{% if logical_date %}"
    " --date {{ logical_date.in_timezone('" + TIMEZONE + "').to_date_string() }}"
    "{% endif %}"
)


class UnlessFinal(RetryPolicy):
    """Try a late partition (75) and crashes again; what is final fails at once."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide by the exit code, which Airflow has in the exception's text only."""
        found = re.search(r"exit code (\d+)", str(exception))
        if found and int(found[1]) in FINAL:
            return RetryDecision.fail(f"exit code {found[1]} is final")
        return RetryDecision.default()


with DAG(
    dag_id="ltd_nightly",
    schedule=CronDataIntervalTimetable(SCHEDULE, timezone=TIMEZONE),
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["ltd-bert"],
    doc_md=__doc__,
) as dag:
    BashOperator(
        task_id="nightly",
        bash_command=COMMAND,
        skip_on_exit_code=None,
        do_xcom_push=False,
        retries=RETRIES,
        retry_delay=RETRY_DELAY,
        retry_policy=UnlessFinal(),
        execution_timeout=datetime.timedelta(hours=8),
    )
