"""Only the unfinished job of the name is cancelled, by the requests that Flink's REST API wants."""

import http.server
import json
import threading

import pytest

from pipelines.flink_jobs import cancel

JOBS = [
    {"jid": "a1", "name": "ltd-mine", "end-time": 1795277143055, "state": "FINISHED"},
    {"jid": "b2", "name": "ltd-mine", "end-time": -1, "state": "RESTARTING"},
    {"jid": "c3", "name": "ltd-other", "end-time": -1, "state": "RUNNING"},
]


@pytest.fixture
def master():
    """A server that answers as Flink 1.19 does, and what it was asked."""
    asked = []

    class Rest(http.server.BaseHTTPRequestHandler):
        def answer(self, content):
            asked.append((self.command, self.path))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def do_GET(self):
            self.answer({"jobs": JOBS})

        def do_PATCH(self):
            self.answer({})

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_the_unfinished_job_of_the_name_is_cancelled_and_no_other(master):
    address, asked = master
    cancel(address, "ltd-mine")
    assert asked == [("GET", "/jobs/overview"), ("PATCH", "/jobs/b2?mode=cancel")]


def test_a_flink_that_cannot_be_asked_is_named(capsys):
    cancel("127.0.0.1:9", "ltd-mine")
    assert capsys.readouterr().err.startswith("could not cancel ltd-mine on 127.0.0.1:9: ")
