"""Only the unfinished job of the name is cancelled, by the requests that Flink's REST API wants."""

import http.server
import json
import threading

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkRunner

from pipelines.flink_jobs import cancel
from pipelines.running import beam_options, run

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


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_the_unfinished_job_of_the_name_is_cancelled_and_no_other(master, scheme, monkeypatch):
    address, asked = master
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    cancel(f"{scheme}{address}", "ltd-mine")
    assert asked == [("GET", "/jobs/overview"), ("PATCH", "/jobs/b2?mode=cancel")]


class Evicted(beam.Pipeline):
    """Ended by SIGTERM while it hands its job over."""

    def run(self, *_):
        raise SystemExit(143)


def test_a_command_that_is_evicted_while_it_submits_asks_for_its_job(master):
    address, asked = master
    options = beam_options([f"--flink_master={address}", "--job_name=mine"])
    with pytest.raises(SystemExit):
        run(Evicted(options=options))
    assert ("GET", "/jobs/overview") in asked
    assert options.view_as(GoogleCloudOptions).job_name == "mine"


def test_what_beam_s_own_runner_makes_of_the_option_is_understood(master):
    address, asked = master
    options = PipelineOptions(["--runner=FlinkRunner", f"--flink_master={address}"])
    FlinkRunner().default_job_server(options)
    cancel(options.view_as(FlinkRunnerOptions).flink_master, "ltd-mine")
    assert ("PATCH", "/jobs/b2?mode=cancel") in asked


def test_an_answer_that_is_none_of_flink_s_is_told(capsys):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cancel(f"127.0.0.1:{server.server_port}", "ltd-mine")
        server.shutdown()
    assert capsys.readouterr().err.startswith("could not cancel ltd-mine on 127.0.0.1:")


def test_a_flink_that_cannot_be_asked_is_named(capsys):
    cancel("127.0.0.1:9", "ltd-mine")
    assert capsys.readouterr().err.startswith("could not cancel ltd-mine on 127.0.0.1:9: ")
