"""The DAG in a real Airflow, which lives in an environment of its own that LTD_AIRFLOW names.

uv venv airflow && uv pip install --python airflow/bin/python apache-airflow==3.3.2
LTD_AIRFLOW=$PWD/airflow python -m pytest tests/test_deploy_airflow.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import deploy_kit as kit
from tests.nightly_kit import NIGHTS, champion, make_world, put_partition

AIRFLOW = os.environ.get("LTD_AIRFLOW", "")
pytestmark = [
    pytest.mark.skipif(
        not (Path(AIRFLOW) / "bin" / "airflow").is_file(),
        reason="LTD_AIRFLOW names no environment with Airflow",
    ),
    pytest.mark.timeout(900),
]

# Runs in Airflow's Python: what the task does with each exit code, and what bash is given.
_PROBE = """
import json, runpy, sys
import jinja2, pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

found = runpy.run_path(sys.argv[1])
task = found["dag"].get_task("nightly")
decisions = {}
for code in (1, 64, 65, 71, 73, 74, 75, 137, 143):
    try:
        BashOperator(task_id="x", bash_command=f"exit {code}").execute({})
    except AirflowException as error:
        decisions[code] = task.retry_policy.evaluate(error, 1, task.retries).action.value
zone = pendulum.timezone(found["TIMEZONE"])
earliest = pendulum.datetime(2026, 11, 20, tz=zone)
run = CronDataIntervalTimetable(found["SCHEDULE"], zone).next_dagrun_info(
    last_automated_data_interval=None,
    restriction=TimeRestriction(earliest=earliest, latest=None, catchup=True),
)
command = jinja2.Template(task.bash_command)
print(json.dumps({
    "decisions": decisions,
    "starts": run.run_after.in_timezone(zone).isoformat(),
    "command": command.render(logical_date=run.logical_date),
    "by hand": command.render(),
}))
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """Function (*words, **environment) that runs a program of Airflow's environment."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(kit.DAG.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(program, *words, **more):
        return subprocess.run(
            [Path(AIRFLOW) / "bin" / program, *words],
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("airflow", "db", "migrate").returncode == 0
    return run


def test_airflow_imports_the_dag(airflow):
    done = airflow("airflow", "dags", "list-import-errors", "--output", "json")
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])) == (0, [])


def test_only_what_is_final_fails_at_once_and_a_run_gets_the_day_before_it(airflow):
    done = airflow("python", "-c", _PROBE, kit.DAG)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    final = {code for code, action in found["decisions"].items() if action == "fail"}
    assert final == {"64", "65", "73"}
    assert len(found["decisions"]) == 9
    assert found["starts"] == "2026-11-21T02:30:00+08:00"
    assert found["command"].endswith(" --date 2026-11-20")
    assert "--date" not in found["by hand"]


def test_a_run_of_the_dag_is_a_night(airflow, tmp_path, count):
    world = make_world(tmp_path, count)
    put_partition(world, NIGHTS[0], 0, 120)
    done = airflow(
        *("airflow", "dags", "test", "ltd_nightly", NIGHTS[0]),
        LTD_PYTHON=sys.executable,
        LTD_SETTINGS=str(world / "nightly.toml"),
        PYTHONPATH=str(kit.ROOT),
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    decision = json.loads((world / "home" / "nights" / NIGHTS[0] / "decision.json").read_text())
    assert decision["decision"] == "promoted"
    assert champion(world).startswith(NIGHTS[0])
