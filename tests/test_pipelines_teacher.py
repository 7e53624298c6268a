"""The teacher job as a whole: new sentences only, kills, races, limits, plans, settings."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from pipelines import fitting, teacher
from schemas import parts, store
from schemas.prepare import load_preparer
from schemas.store import open_store
from schemas.text import sentence_id
from schemas.vectors import open_decoder


def rows_of(location) -> list[dict[str, object]]:
    opened = open_store(location)
    return [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]


def digests(location) -> dict[str, str]:
    """Path and sha256 of every committed part, checked against the files."""
    opened = open_store(location)
    opened.verify()
    return {part.path: part.sha256 for part in opened.parts}


def write(path: Path, lines) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@contextlib.contextmanager
def job(*flags):
    """The job as its users start it, in a process of its own; it is gone at the end."""
    command = [sys.executable, "-m", "pipelines", "teacher", *map(str, flags)]
    root = Path(teacher.__file__).parents[1]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def flags_of(tiny_teacher, small_idf, corpus, out) -> list[object]:
    return [
        *("--corpus", corpus, "--idf", small_idf, "--teacher", tiny_teacher, "--out", out),
        *("--date", "2026-01-01", "--dtype", "float32", "--rows-per-part", 3),
    ]


def test_the_store_holds_each_distinct_sentence_once_with_its_columns(small_store, sentences):
    rows = rows_of(small_store)
    assert sorted(row["text"] for row in rows) == sorted(sentences)
    assert all(row["sentence_id"] == sentence_id(row["text"]) for row in rows)
    assert {row["source"] for row in rows} == {"small"}
    for row in rows:
        assert row["n_tokens"] == len(row["token_ids"]) == len(row["weights"])
        assert row["norm"] == pytest.approx(np.linalg.norm(row["vector_idf"]), rel=1e-6)
        assert len(row["vector_mean"]) == len(row["vector_cls"]) == 16


def test_parts_are_sorted_by_id_and_overlap_nowhere(small_store):
    opened = open_store(small_store)
    assert len(opened.parts) >= 4
    ids = [row["sentence_id"] for row in rows_of(small_store)]
    assert ids == sorted(ids)
    assert [(part.first, part.last) for part in opened.parts] == sorted(
        (part.first, part.last) for part in opened.parts
    )


def test_the_summary_counts_what_was_done(tmp_path, embed, sentences):
    corpus = write(tmp_path / "c.txt", [*sentences[:20], *sentences[:5], ""])
    summary = embed(corpus, out=tmp_path / "store")
    counted = {name: summary[name] for name in ("sentences", "distinct", "new", "reused", "left")}
    assert counted == {"sentences": 25, "distinct": 20, "new": 20, "reused": 0, "left": 0}
    assert (summary["rejected_blank"], summary["quarantined"]) == (1, 1)
    assert summary["bytes"] == sum(part.size for part in open_store(tmp_path / "store").parts)
    assert summary["teacher_parameters"] == 8048
    assert 0 <= summary["padding_share"] < 1


def test_only_the_sentences_of_a_second_date_that_are_new_are_embedded(tmp_path, embed, sentences):
    first = write(tmp_path / "first.txt", sentences[:60])
    second = write(tmp_path / "second.txt", sentences[40:100])
    embed(first, out=tmp_path / "store")
    before = digests(tmp_path / "store")
    summary = embed(second, out=tmp_path / "store", date="2026-01-02")
    assert (summary["new"], summary["reused"], summary["version"]) == (40, 20, 1)
    opened = open_store(tmp_path / "store")
    added = {part.path for part in opened.commits[1].added}
    assert {path.split("/")[0] for path in added} == {"ingest_date=2026-01-02"}
    assert {
        path: sha for path, sha in digests(tmp_path / "store").items() if path in before
    } == before
    assert sorted(row["text"] for row in rows_of(tmp_path / "store")) == sorted(sentences[:100])
    again = embed(second, out=tmp_path / "store", date="2026-01-03")
    assert (again["new"], again["reused"], again["parts"]) == (0, 60, 0)


def test_the_same_run_twice_does_the_work_once(tmp_path, embed, sentences):
    corpus = write(tmp_path / "c.txt", sentences[:20])
    first = embed(corpus, out=tmp_path / "store")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    second = embed(corpus, out=tmp_path / "store")
    assert (first["already_done"], second["already_done"]) == (False, True)
    assert {**first, "already_done": True} == second
    assert written == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}


def test_nothing_but_parts_and_the_log_stays_in_the_folder(tmp_path, embed, sentences):
    embed(write(tmp_path / "c.txt", sentences[:20]), out=tmp_path / "store")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c.txt",
        "store",
        "store.preparer",
        "store.runs",
    ]
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [
        "_delta_log",
        "ingest_date=2026-01-01",
    ]
    assert all(
        path.suffix == ".parquet"
        for path in (tmp_path / "store" / "ingest_date=2026-01-01").iterdir()
    )


def test_the_folder_beside_the_store_prepares_as_the_store_was_prepared(tmp_path, embed, sentences):
    embed(write(tmp_path / "c.txt", sentences[:20]), out=tmp_path / "store")
    (folder,) = (tmp_path / "store.preparer").iterdir()
    preparer = load_preparer(folder)
    rows = rows_of(tmp_path / "store")
    for row, one in zip(rows, preparer.prepare([row["text"] for row in rows]), strict=True):
        assert row["token_ids"] == one.token_ids.tolist()
        assert row["weights"] == one.weights.tolist()
    store_fingerprint = open_store(tmp_path / "store").fingerprint
    assert preparer.fingerprint.items() <= store_fingerprint.items()


def test_a_store_written_twice_is_byte_identical_even_when_every_bundle_runs_three_times(
    tmp_path, embed, small_corpus
):
    embed(small_corpus, out=tmp_path / "once")
    embed(
        small_corpus,
        out=tmp_path / "thrice",
        runner_options=("--direct_runner_bundle_repeat=3",),
    )
    assert digests(tmp_path / "once") == digests(tmp_path / "thrice")


def test_a_run_killed_half_way_and_started_again_equals_an_undisturbed_one(
    tmp_path, embed, tiny_teacher, small_idf, small_corpus
):
    out = tmp_path / "killed"
    with job(*flags_of(tiny_teacher, small_idf, small_corpus, out)) as process:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("killed.staging/*/part-*.json")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert not store.exists(out)
    (events,) = tmp_path.glob("killed.runs/*.jsonl")
    assert [json.loads(line)["eventType"] for line in events.open()] == ["START"]
    finished = {
        path.stem: (json.loads(path.read_text()), written(out, path.stem))
        for path in tmp_path.glob("killed.staging/*/part-*.json")
    }

    summary = embed(small_corpus, out=out, rows_per_part=3)
    assert 1 <= len(finished) < summary["parts"]
    assert summary["parts_kept_from_earlier_try"] == len(finished)
    for name, (record, at) in finished.items():
        assert written(out, name) == at
        assert record["part"]["sha256"] == digests(out)[record["part"]["path"]]
    embed(small_corpus, out=tmp_path / "undisturbed", rows_per_part=3)
    assert digests(out) == digests(tmp_path / "undisturbed")
    assert not Path(f"{out}.staging").exists()


def written(out: Path, name: str) -> tuple[int, int]:
    """Which file a part is, and when it was written."""
    (path,) = (out / "ingest_date=2026-01-01").glob(f"{name}-*.parquet")
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def test_of_two_runs_at_once_the_later_one_is_told_to_run_again(
    tmp_path, embed, tiny_teacher, small_idf, sentences
):
    # The first run reads a pipe, so it waits, after it has looked at the store, for as long as the
    # second one takes.
    os.mkfifo(tmp_path / "slow.tsv")
    slow = [*flags_of(tiny_teacher, small_idf, tmp_path / "slow.tsv", tmp_path / "store")]
    with job(*slow) as process:
        with (tmp_path / "slow.tsv").open("w", encoding="utf-8") as pipe:
            embed(write(tmp_path / "fast.txt", sentences[:9]), out=tmp_path / "store")
            before = digests(tmp_path / "store")
            pipe.write("text\n" + "".join(f"{text}\n" for text in sentences[5:20]))
        _, told = process.communicate(timeout=120)
    assert process.returncode == 75
    assert f"error: {tmp_path / 'store'} went from version -1 to 0 meanwhile; " in told
    assert "run it again, it will only do what the other run did not" in told
    assert digests(tmp_path / "store") == before


def test_limited_runs_go_on_until_nothing_is_left(tmp_path, embed, sentences):
    corpus = write(tmp_path / "c.txt", sentences[:50])
    left, done = [], 0
    while not left or left[-1]:
        summary = embed(corpus, out=tmp_path / "store", limit=20, rows_per_part=5)
        assert 0 < summary["new"] <= 20
        done += summary["new"]
        left.append(summary["left"])
        assert (done + left[-1], len(left) < 20) == (50, True)
    assert sorted(row["text"] for row in rows_of(tmp_path / "store")) == sorted(sentences[:50])


def test_too_many_bad_records_fail_before_any_vector_but_the_quarantine_is_kept(tmp_path, embed):
    (tmp_path / "c.txt").write_bytes("你好\n".encode() + b"\xff\n" * 9)
    with pytest.raises(ValueError, match=r"9 of 10 records are bad .*see .*store\.quarantine"):
        embed(tmp_path / "c.txt", out=tmp_path / "store")
    assert not store.exists(tmp_path / "store")
    assert not list(tmp_path.glob("store/**/*.parquet"))
    assert not list(tmp_path.glob("store.staging/*/*.json"))
    assert [row["reason"] for row in rows_of(tmp_path / "store.quarantine")] == ["invalid_utf8"] * 9


def test_a_sentence_in_which_the_tokenizer_sees_nothing_is_quarantined(tmp_path, embed):
    # The combining accent is all there is, and BERT's normaliser takes accents away.
    corpus = write(tmp_path / "c.txt", ["今天", "\u0301", "明天"])
    summary = embed(corpus, out=tmp_path / "store", max_bad_fraction=0.5)
    assert (summary["new"], summary["rejected_no_tokens"], summary["quarantined"]) == (2, 1, 1)
    assert sorted(row["text"] for row in rows_of(tmp_path / "store")) == ["今天", "明天"]
    (row,) = rows_of(tmp_path / "store.quarantine")
    assert (row["source"], row["reason"], row["length"]) == ("c", "no_tokens", 2)


def test_plan_prints_an_estimate_and_writes_nothing(
    tmp_path, capsys, tiny_teacher, small_idf, small_corpus
):
    flags = flags_of(tiny_teacher, small_idf, small_corpus, tmp_path / "store")
    teacher.main([*map(str, flags), "--plan"])
    told = json.loads(capsys.readouterr().out)
    assert (told["corpus_sentences"], told["new_sentences"], told["share_in_store"]) == (
        300,
        300,
        0,
    )
    assert told["store_bytes"] > 300 * 16 * 4
    assert list(tmp_path.iterdir()) == []


def test_float16_vectors_are_the_float32_ones_rounded(tmp_path, embed, small_corpus, small_store):
    embed(small_corpus, out=tmp_path / "half", vector_dtype="float16")
    exact = {row["sentence_id"]: row["vector_idf"] for row in rows_of(small_store)}
    halves = rows_of(tmp_path / "half")
    assert len(halves) == len(exact)
    for row in halves:
        expected = np.array(exact[row["sentence_id"]], np.float32).astype(np.float16)
        assert np.array_equal(np.array(row["vector_idf"], np.float16), expected)
    opened = open_store(tmp_path / "half")
    schema = pq.read_schema(opened.path_of(opened.parts[0]))
    assert schema.field("vector_idf").type.value_type == "halffloat"


def test_int8_vectors_are_the_float32_ones_to_half_a_step(
    tmp_path, embed, small_corpus, small_store
):
    embed(small_corpus, out=tmp_path / "small", vector_dtype="int8", pooling=("idf", "cls"))
    opened = open_store(tmp_path / "small")
    assert opened.fingerprint["vector_dtype"] == "int8"
    exact = {row["sentence_id"]: row for row in rows_of(small_store)}
    for row in rows_of(tmp_path / "small"):
        one = exact[row["sentence_id"]]
        for pooling in ("idf", "cls"):
            scale, numbers = row[f"scale_{pooling}"], np.array(row[f"vector_{pooling}"])
            whole = np.array(one[f"vector_{pooling}"])
            assert scale == pytest.approx(np.abs(whole).max() / 127, rel=1e-6)
            assert np.abs(numbers * scale - whole).max() <= 0.5001 * scale
        assert row["norm"] == one["norm"]


def vectors_of(location, pooling):
    """Key -> vector as training gets it."""
    opened = open_store(location)
    tables = [parts.read(opened.path_of(part)) for part in opened.parts]
    decoder = open_decoder(opened, pooling)
    return {
        key: vector_H
        for table in tables
        for key, vector_H in zip(
            table["sentence_id"].to_pylist(), decoder.decode(table), strict=True
        )
    }


def test_of_each_pooling_its_own_principal_components_are_stored(
    tmp_path, embed, small_corpus, small_store
):
    summary = embed(small_corpus, out=tmp_path / "s", pooling=("idf", "cls"), pca=12)
    assert {len(row["vector_idf"]) for row in rows_of(tmp_path / "s")} == {12}
    exact = {row["sentence_id"]: row for row in rows_of(small_store)}
    for pooling in ("idf", "cls"):
        restored = vectors_of(tmp_path / "s", pooling)
        whole_NH = np.array([exact[key][f"vector_{pooling}"] for key in restored])
        restored_NH = np.stack(list(restored.values()))
        assert restored_NH.shape == (300, 16)
        # The sample was the whole corpus, so what is lost is what the summary says.
        lost = (
            np.square(restored_NH - whole_NH).sum() / np.square(whole_NH - whole_NH.mean(0)).sum()
        )
        assert summary["variance_kept"][pooling] == pytest.approx(1 - lost, abs=2e-4)
        oracle = PCA(12, svd_solver="full").fit(whole_NH)
        expected = oracle.inverse_transform(oracle.transform(whole_NH))
        np.testing.assert_allclose(restored_NH, expected, atol=1e-4)
    norms = {row["sentence_id"]: row["norm"] for row in rows_of(tmp_path / "s")}
    assert norms == {key: row["norm"] for key, row in exact.items()}


def test_principal_components_may_be_int8_too(tmp_path, embed, small_corpus):
    embed(small_corpus, out=tmp_path / "exact", pca=8)
    embed(small_corpus, out=tmp_path / "small", pca=8, vector_dtype="int8")
    exact, rough = vectors_of(tmp_path / "exact", "idf"), vectors_of(tmp_path / "small", "idf")
    for key, vector_H in rough.items():
        assert np.abs(vector_H - exact[key]).max() < 0.02 * np.abs(exact[key]).max()


def test_a_store_keeps_its_projection_when_it_grows(tmp_path, embed, sentences):
    first = write(tmp_path / "a.txt", sentences[:100])
    embed(first, out=tmp_path / "store", pca=4)
    made_by = open_store(tmp_path / "store").fingerprint["projection"]
    embed(write(tmp_path / "b.txt", sentences), out=tmp_path / "store", pca=4, date="2026-01-02")
    opened = open_store(tmp_path / "store")
    assert (opened.version, opened.rows, opened.fingerprint["projection"]) == (1, 300, made_by)
    folders = [path.name for path in (tmp_path / "store.projection").iterdir() if path.is_dir()]
    assert folders == [made_by]
    again = embed(first, out=tmp_path / "store", pca=4)
    assert again["already_done"]


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ((4, 5), r"store holds 4 principal components of each vector \(--pca 4\), .* --pca 5"),
        ((4, 0), r"store holds 4 principal components of each vector \(--pca 4\), .* --pca 0"),
        ((0, 4), r"store holds whole vectors \(--pca 0\), asked for was --pca 4; another number"),
    ],
)
def test_another_number_of_components_is_refused(tmp_path, embed, sentences, sizes, rule):
    made, asked = sizes
    corpus = write(tmp_path / "c.txt", sentences[:20])
    embed(corpus, out=tmp_path / "store", pca=made)
    with pytest.raises(ValueError, match=rule):
        embed(corpus, out=tmp_path / "store", pca=asked, date="2026-01-02")


def test_without_components_the_fingerprint_says_nothing_of_them(small_store):
    assert "projection" not in open_store(small_store).fingerprint
    assert not Path(f"{small_store}.projection").exists()


def test_a_first_run_that_died_after_fitting_goes_on_with_the_same_projection(
    tmp_path, embed, sentences, monkeypatch
):
    corpus = write(tmp_path / "c.txt", sentences[:60])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(teacher, "build", killed)
        with pytest.raises(KeyboardInterrupt):
            embed(corpus, out=tmp_path / "store", pca=4)
    assert not store.exists(tmp_path / "store")
    (fitted,) = (path for path in (tmp_path / "store.projection").iterdir() if path.is_dir())
    monkeypatch.setattr(fitting, "fit", killed)
    embed(corpus, out=tmp_path / "store", pca=4)
    assert open_store(tmp_path / "store").fingerprint["projection"] == fitted.name


def test_components_are_fitted_to_distinct_sentences_and_need_enough(tmp_path, embed, sentences):
    few = write(tmp_path / "few.txt", sentences[:4] * 5)
    with pytest.raises(ValueError, match="4 principal components cannot be fitted to 4 sentences"):
        embed(few, out=tmp_path / "store", pca=4)
    with pytest.raises(ValueError, match=r"pca must be below the width .* vectors, 16, got 16"):
        embed(few, out=tmp_path / "store", pca=16)
    assert [path.name for path in tmp_path.iterdir()] == ["few.txt"]


def test_the_plan_of_a_store_of_components_is_smaller_and_fits_nothing(
    tmp_path, embed, small_corpus
):
    sizes = {
        (pca, dtype): embed(
            small_corpus, out=tmp_path / "s", plan=True, pca=pca, vector_dtype=dtype
        )["store_bytes"]
        for pca, dtype in ((0, "float32"), (4, "float32"), (0, "int8"))
    }
    assert sizes[0, "float32"] - sizes[4, "float32"] == 300 * 4 * 12
    assert sizes[0, "float32"] - sizes[0, "int8"] == 300 * (16 * 3 - 4)
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_text_keeps_no_sentence_anywhere(tmp_path, embed, sentences):
    corpus = write(tmp_path / "c.txt", sentences[:20])
    embed(corpus, out=tmp_path / "store", keep_text=False)
    assert "text" not in rows_of(tmp_path / "store")[0]
    assert {row["sentence_id"] for row in rows_of(tmp_path / "store")} == {
        sentence_id(text) for text in sentences[:20]
    }
    assert not Path(f"{tmp_path / 'store'}.staging").exists()


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"max_tokens": 20}, "max_tokens is '64', wanted '20'"),
        ({"pooling": ("idf", "mean")}, "poolings is 'idf,mean,cls', wanted 'idf,mean'"),
        ({"keep_text": False}, "keep_text is 'True', wanted 'False'"),
        ({"dtype": "bfloat16"}, "dtype is 'float32', wanted 'bfloat16'"),
    ],
)
def test_adding_under_other_settings_is_refused_naming_the_setting(
    small_store, small_corpus, embed, settings, part
):
    with pytest.raises(ValueError, match=part):
        embed(small_corpus, out=small_store, **{"pooling": ("idf", "mean", "cls"), **settings})


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"date": "01.02.2026"}, "01.02.2026"),
        ({"date": "20260102"}, "date must be written YYYY-MM-DD, got '20260102'"),
        ({"pooling": ("max",)}, "poolings must be some of idf, mean, cls, got .'max'."),
        ({"vector_dtype": "int4"}, "dtype must be one of float32, float16, int8, got 'int4'"),
        ({"max_tokens": 2}, "max_tokens must be at least 3, got 2"),
        ({"rows_per_part": 0}, "rows_per_part must be at least 3, got 0"),
        ({"dtype": "int4"}, "dtype must be auto, float32 or bfloat16, got 'int4'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"max_bad_fraction": 1.5}, "max_bad_fraction must be 0 to 1, got 1.5"),
        ({"token_budget": -1}, "token_budget must be at least 0, got -1"),
        ({"pca": -1}, "pca must be at least 0, got -1"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_early(tmp_path, embed, small_corpus, settings, rule):
    with pytest.raises(ValueError, match=rule):
        embed(small_corpus, out=tmp_path / "store", **settings)
    assert list(tmp_path.iterdir()) == []
