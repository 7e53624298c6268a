"""End a job on Flink itself.

Beam's job server takes a cancellation, and a job whose workers are gone restarts for ever all the
same, with its slots (2.62 with Flink 1.19, 2026-11-21). Flink's own REST API ends it.
"""

import http.client
import json
import sys
import urllib.request

_SECONDS = 2


def cancel(master: str, name: str) -> None:
    """Cancel the unfinished jobs of a name; says so if Flink cannot be asked.

    Args:
        master: host:port of Flink's REST API, as in Beam's option ``--flink_master``; Beam's
            FlinkRunner puts http:// before it.
        name: of the job, as in ``--job_name``.
    """
    jobs = f"{master if '://' in master else f'http://{master}'}/jobs"
    # A cluster is not reached through the proxy for the world outside.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{jobs}/overview", timeout=_SECONDS) as answer:
            found = json.load(answer)["jobs"]
        for job in found:
            if job["name"] == name and job["end-time"] < 0:
                url = f"{jobs}/{job['jid']}?mode=cancel"
                request = urllib.request.Request(url, method="PATCH")
                direct.open(request, timeout=_SECONDS).close()
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        sys.stderr.write(f"could not cancel {name} on {master}: {error!r}\n")
