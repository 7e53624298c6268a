"""End a job on Flink itself.

Beam's job server takes a cancellation, and a job whose workers are gone restarts for ever all the
same, with its slots (2.62 with Flink 1.19, 2026-11-21). Flink's own REST API ends it.
"""

import json
import sys
import urllib.request

_SECONDS = 2


def cancel(master: str, name: str) -> None:
    """Cancel the unfinished jobs of a name; says so if Flink cannot be asked.

    Args:
        master: host:port of Flink's REST API, as in Beam's option ``--flink_master``.
        name: of the job, as in ``--job_name``.
    """
    jobs = f"http://{master}/jobs"
    try:
        with urllib.request.urlopen(f"{jobs}/overview", timeout=_SECONDS) as answer:
            found = json.load(answer)["jobs"]
        for job in found:
            if job["name"] == name and job["end-time"] < 0:
                url = f"{jobs}/{job['jid']}?mode=cancel"
                request = urllib.request.Request(url, method="PATCH")
                urllib.request.urlopen(request, timeout=_SECONDS).close()
    except OSError as error:
        sys.stderr.write(f"could not cancel {name} on {master}: {error}\n")
