"""Lineage: every attempt leaves its events, and a student leads back to the files of its corpus."""

import json
import re

import pyarrow as pa
import pytest

from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from pipelines.inputs import InputFile
from pipelines.lineage import recorded
from schemas import parts, store
from schemas.code_version import code_version
from schemas.fingerprint import file_digest
from schemas.store import open_store

FILE = InputFile("s3://key:secret@lake/texts/a.txt", 7, 1.0, None)


def events_of(out) -> list[dict]:
    """The events of the only attempt that a folder's runs have."""
    (path,) = out.parent.glob(f"{out.name}.runs/*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def states_of(out) -> list[str]:
    return [event["eventType"] for event in events_of(out)]


def commit_one_row(out):
    schema = pa.schema([pa.field("name", pa.string(), nullable=False)])
    part = parts.write(pa.table({"name": ["北京"]}, schema=schema), out, "part-0.parquet")
    about = {"run_id": "abc", "fingerprint": {}, "summary": {"rows": 1, "top": {"北京": 1}}}
    store.commit(out, schema, [part], **about)
    return store.committed(out, "abc")


@pytest.fixture(scope="module")
def counted(tmp_path_factory, small_corpus, count):
    """The table of a real run, and its two events."""
    out = tmp_path_factory.mktemp("lineage") / "idf"
    count(small_corpus, out=out)
    return out, *events_of(out)


def test_a_run_starts_and_completes_under_one_uuid(counted):
    _, start, end = counted
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"]
    assert start["eventTime"] < end["eventTime"]
    assert start["job"] == end["job"] == {"facets": {}, "name": "idf", "namespace": "ltd-bert"}


def test_the_file_and_both_events_name_the_run_that_the_log_knows(counted):
    out, start, end = counted
    run_id = open_store(out).commits[0].run_id
    for event in (start, end):
        assert event["run"]["facets"]["ltd_run"]["run_id"] == run_id
    (path,) = out.parent.glob("idf.runs/*.jsonl")
    assert re.fullmatch(rf"idf-{run_id}-\d{{8}}T\d{{6}}\.\d{{6}}Z\.jsonl", path.name)


def test_the_inputs_are_the_files_with_size_and_sha256(counted, small_corpus):
    for event in counted[1:]:
        (read,) = event["inputs"]
        assert (read["namespace"], read["name"]) == ("file", str(small_corpus))
        assert read["facets"]["version"]["datasetVersion"] == file_digest(small_corpus)
        assert read["inputFacets"]["inputStatistics"]["size"] == small_corpus.stat().st_size


def test_the_output_is_the_table_with_its_version_its_columns_and_what_was_added(counted):
    out, _, end = counted
    opened = open_store(out)
    (written,) = end["outputs"]
    assert (written["namespace"], written["name"]) == ("file", str(out))
    assert written["facets"]["version"]["datasetVersion"] == "0"
    columns = {field["name"]: field["type"] for field in written["facets"]["schema"]["fields"]}
    assert columns == {"word": "string", "df": "int64", "idf": "double", "n_docs": "int64"}
    statistics = written["outputFacets"]["outputStatistics"]
    assert statistics["rowCount"] == opened.rows
    assert statistics["size"] == opened.parts[0].size
    assert statistics["fileCount"] == 1


def test_the_end_carries_the_summary_of_the_commit(counted):
    out, _, end = counted
    summary = open_store(out).commits[0].summary
    told = end["run"]["facets"]["ltd_summary"]
    assert {name: told[name] for name in summary if name != "inputs"} == {
        name: value for name, value in summary.items() if name != "inputs"
    }


def test_every_event_and_facet_is_signed_with_the_code_s_version(counted):
    def producers(found):
        if isinstance(found, dict):
            yield from (found[name] for name in ("producer", "_producer") if name in found)
            for value in found.values():
                yield from producers(value)
        elif isinstance(found, list):
            for value in found:
                yield from producers(value)

    for event in counted[1:]:
        assert set(producers(event)) == {f"urn:ltd-bert:{code_version()}"}


def test_a_teacher_run_reads_the_idf_table_at_its_version(tmp_path, embed, small_idf, small_corpus):
    embed(small_corpus, out=tmp_path / "store")
    read = events_of(tmp_path / "store")[1]["inputs"]
    assert [one["name"] for one in read] == [str(small_corpus), str(small_idf)]
    assert read[1]["facets"]["version"]["datasetVersion"] == "0"


def test_while_a_run_lasts_there_is_a_start_and_no_end(tmp_path):
    out = tmp_path / "table"
    with recorded("idf", str(out), "abc", [FILE]) as recording:
        assert states_of(out) == ["START"]  # what a kill leaves
        recording.committed = commit_one_row(out)
    assert states_of(out) == ["START", "COMPLETE"]


@pytest.mark.parametrize(
    ("error", "state"), [(ValueError, "FAIL"), (KeyError, "FAIL"), (KeyboardInterrupt, "ABORT")]
)
def test_a_run_that_fails_says_why_and_the_error_goes_on(tmp_path, error, state):
    out = tmp_path / "table"
    with pytest.raises(error, match="lake"), recorded("idf", str(out), "abc", [FILE]):
        raise error("s3://key:secret@lake/texts/a.txt is gone")
    assert states_of(out) == ["START", state]
    told = events_of(out)[1]["run"]["facets"]["errorMessage"]
    assert "s3://lake/texts/a.txt is gone" in told["message"]


def test_a_real_run_that_fails_leaves_a_fail(tmp_path, count):
    (tmp_path / "bad.txt").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="1 of 1 records are bad"):
        count(tmp_path / "bad.txt", out=tmp_path / "idf")
    assert states_of(tmp_path / "idf") == ["START", "FAIL"]
    assert not (tmp_path / "idf.runs.staging").exists()


def test_where_no_text_is_kept_the_record_of_an_error_quotes_none(
    tmp_path, embed, small_corpus, sentences, monkeypatch
):
    monkeypatch.setattr("pipelines.shards.first_unusable", lambda vectors: 0)
    with pytest.raises(ValueError, match="no usable idf vector"):
        embed(small_corpus, out=tmp_path / "store", keep_text=False)
    (path,) = tmp_path.glob("store.runs/*.jsonl")
    assert "no usable idf vector" in path.read_text(encoding="utf-8")
    assert [text for text in sentences if text in path.read_text(encoding="utf-8")] == []


def test_two_attempts_of_a_run_are_two_files_with_two_uuids(tmp_path):
    out = tmp_path / "table"
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), recorded("idf", str(out), "abc", [FILE]):
            raise ValueError("no")
    found = [path.read_text() for path in (tmp_path / "table.runs").iterdir()]
    assert len({json.loads(text.splitlines()[0])["run"]["runId"] for text in found}) == 2


def test_a_full_disk_does_not_hide_the_error(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    def attempt():
        with recorded("idf", str(tmp_path / "table"), "abc", [FILE]):
            monkeypatch.setattr(parts, "write_bytes", full)
            raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        attempt()


def test_a_url_is_a_dataset_of_its_host_without_its_password(tmp_path):
    out = tmp_path / "table"
    with recorded("idf", str(out), "abc", [FILE]) as recording:
        recording.committed = commit_one_row(out)
    for event in events_of(out):
        (read,) = event["inputs"]
        assert (read["namespace"], read["name"]) == ("s3://lake", "texts/a.txt")
        assert "version" not in read["facets"]


def test_a_run_that_was_done_before_leaves_no_events(tmp_path, count, small_corpus):
    count(small_corpus, out=tmp_path / "idf")
    before = events_of(tmp_path / "idf")
    assert count(small_corpus, out=tmp_path / "idf")["reused"]
    assert events_of(tmp_path / "idf") == before


def test_a_student_leads_back_to_the_files_of_its_corpus(tmp_path, small_store, small_corpus):
    settings = {"epochs": 1, "batch_size": 32, "validation_rows": 40, "embedding": 8}
    distil(TrainConfig(store=str(small_store), out=tmp_path / "training", **settings))
    card = export(ExportConfig(training=tmp_path / "training", out=tmp_path / "student"))
    assert card["code"] == code_version()
    assert card["store"] == str(small_store)
    opened = open_store(card["store"], card["store_version"])
    by_run = {commit.run_id: commit for commit in opened.commits}
    files = [by_run[run_id].summary["inputs"] for run_id in card["store_run_ids"]]
    assert [[one["sha256"] for one in inputs] for inputs in files] == [[file_digest(small_corpus)]]


def test_a_run_that_is_handed_over_has_no_end_and_one_that_is_ended_has(tmp_path):
    for status, states in ((0, ["START"]), (143, ["START", "ABORT"])):
        out = tmp_path / str(status)
        with pytest.raises(SystemExit), recorded("teacher", str(out), "abc", [FILE]):
            raise SystemExit(status)
        assert states_of(out) == states
