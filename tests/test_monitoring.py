"""Monitoring: Beam's metrics, and the Prometheus file of a run."""

import time

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import Metrics
from prometheus_client.parser import text_string_to_metric_families

from pipelines.monitoring import SHARD_ROWS, TOKENS, metrics_of, write_gauges
from pipelines.running import beam_options, run
from schemas.commits import Commit
from schemas.store import open_store


def gauges_of(path) -> dict[str, float]:
    families = text_string_to_metric_families(path.read_text())
    samples = [sample for family in families for sample in family.samples]
    assert {tuple(sample.labels) for sample in samples} == {("store",)}
    return {sample.name: sample.value for sample in samples}


class Measure(beam.DoFn):
    def process(self, number):
        TOKENS.inc(number)
        SHARD_ROWS.update(number)
        Metrics.counter("other", "noise").inc()
        yield number


def test_counters_add_up_over_steps_and_distributions_have_their_extremes():
    pipeline = beam.Pipeline(options=beam_options([]))
    numbers = pipeline | beam.Create([3, 5]) | "One" >> beam.ParDo(Measure())
    _ = numbers | beam.Map(TOKENS.inc)
    assert metrics_of(run(pipeline)) == {
        "tokens": 16,
        "shard_rows_count": 2,
        "shard_rows_sum": 8,
        "shard_rows_min": 3,
        "shard_rows_max": 5,
    }


def test_a_runner_that_cannot_tell_has_no_metrics():
    assert metrics_of(beam.runners.runner.PipelineResult("DONE")) == {}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, small_corpus, embed):
    out = tmp_path_factory.mktemp("monitored") / "store"
    began = time.time()
    summary = embed(small_corpus, out=out)
    return out, summary, gauges_of(out.parent / "store.runs" / "teacher.prom"), began


def test_every_number_of_the_summary_is_a_gauge(run_of):
    _, summary, gauges, _ = run_of
    numbers = {
        f"ltd_teacher_{name}": value
        for name, value in summary.items()
        if type(value) in (int, float) and name != "version"
    }
    assert numbers.items() <= gauges.items()
    assert gauges["ltd_teacher_new"] == 300


def test_beam_s_metrics_are_gauges_of_their_own(run_of):
    _, _, gauges, _ = run_of
    beams = {name for name in gauges if name.startswith("ltd_teacher_beam_")}
    assert gauges["ltd_teacher_beam_sentences_read"] == 300
    assert gauges["ltd_teacher_beam_sentences_new"] == 300
    assert gauges["ltd_teacher_beam_sentences_embedded"] == 300
    assert gauges["ltd_teacher_beam_shard_rows_sum"] == 300
    assert 0 < gauges["ltd_teacher_beam_tokens"] <= gauges["ltd_teacher_beam_padded_tokens"]
    assert {f"ltd_teacher_beam_shard_milliseconds_{one}" for one in ("min", "max")} < beams


def test_the_time_of_the_last_success_is_that_of_the_run(run_of):
    _, _, gauges, began = run_of
    assert began <= gauges["ltd_teacher_last_success_timestamp_seconds"] <= time.time()


def test_nothing_else_stays_beside_the_store(run_of):
    out, _, _, _ = run_of
    names = sorted(path.suffix for path in (out.parent / "store.runs").iterdir())
    assert names == [".jsonl", ".prom"]
    assert not (out.parent / "store.runs.staging").exists()


def test_rejected_lines_are_counted(tmp_path, count):
    (tmp_path / "c.txt").write_bytes("你好\n".encode() + b"\n\xff\n")
    for deduplicate in (True, False):
        out = tmp_path / f"idf-{deduplicate}"
        count(tmp_path / "c.txt", out=out, deduplicate=deduplicate, max_bad_fraction=1.0)
        gauges = gauges_of(tmp_path / f"{out.name}.runs" / "idf.prom")
        assert gauges["ltd_idf_beam_records_rejected"] == 2
        assert gauges["ltd_idf_beam_sentences_read"] == gauges["ltd_idf_sentences"] == 1


def test_the_label_has_no_password(tmp_path, small_store, monkeypatch):
    from schemas import parts

    written = {}
    monkeypatch.setattr(parts, "write_bytes", lambda content, *at: written.update({at: content}))
    done: Commit = open_store(small_store).commits[0]
    write_gauges("teacher", "s3://key:secret@lake/store", done, {})
    ((where, content),) = written.items()
    assert where == ("s3://key:secret@lake/store.runs", "teacher.prom")
    assert b'{store="s3://lake/store"}' in content
    assert b"secret" not in content
