"""pipelines/store/beside.py: two teachers' vectors side by side, up to an evaluated student."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import transformers

from distill_jobs.encoder import SentenceEncoder
from distill_jobs.evaluate import EvaluateConfig, evaluate
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from pipelines import store as verbs
from pipelines.store import beside as job
from pipelines.store.beside import BesideConfig, beside
from pipelines.store.forget import ForgetConfig, forget
from pipelines.store.verify import VerifyConfig, verify
from schemas import parts, tables
from schemas.prepare import load_preparer, preparer_folder
from schemas.store import open_store
from schemas.vectors import open_decoder, row_cosines

LACKING = 10  # of the small corpus, in the second teacher's store


@pytest.fixture(scope="module")
def second_teacher(tiny_teacher, tmp_path_factory):
    """Another random BERT, of width 24, with the first one's tokenizer."""
    folder = tmp_path_factory.mktemp("second") / "wider-bert"
    shutil.copytree(tiny_teacher, folder)
    config = transformers.BertConfig.from_pretrained(tiny_teacher, hidden_size=24)
    transformers.set_seed(11)
    transformers.BertModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def second(second_teacher, sentences, embed, tmp_path_factory):
    """The second teacher's store: most of the small corpus, and sentences of its own."""
    folder = tmp_path_factory.mktemp("second-store")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join([*sentences[LACKING:], "前天北京很冷", "后天不冷"]), "utf-8")
    embed(corpus, out=folder / "store", teacher=str(second_teacher), rows_per_part=100)
    return folder / "store"


@pytest.fixture(scope="module")
def both(small_store, second, tmp_path_factory):
    out = tmp_path_factory.mktemp("both") / "store"
    told = BesideConfig(location=str(small_store), other=str(second), out=str(out))
    return told, beside(told)


def vectors_of(location, pooling):
    """Vector of each sentence by its text."""
    store = open_store(location)
    table = pa.concat_tables([parts.read(store.path_of(part)) for part in store.parts])
    vectors = open_decoder(store, pooling).decode(table)
    return dict(zip(table["text"].to_pylist(), vectors, strict=True))


def test_a_cosine_is_the_mean_of_the_two_teachers_cosines(both, small_store, second, sentences):
    told, summary = both
    assert (summary["rows"], summary["rows_missing_in_the_other"]) == (290, LACKING)
    one, other, joined = (
        vectors_of(at, pooling)
        for at, pooling in ((small_store, "idf"), (second, "idf"), (told.out, "beside"))
    )
    assert joined.keys() == {*sentences[LACKING:]}
    rng = np.random.default_rng(0)
    left, right = (rng.choice(sentences[LACKING:], 200) for _ in range(2))
    cosines = [
        row_cosines(*(np.stack([known[text] for text in side]) for side in (left, right)))
        for known in (one, other, joined)
    ]
    np.testing.assert_allclose(cosines[2], (cosines[0] + cosines[1]) / 2, atol=1e-6)
    text = sentences[50]
    assert joined[text].shape == (16 + 24,)
    expected = [vector[text] / np.linalg.norm(vector[text]) for vector in (one, other)]
    np.testing.assert_allclose(joined[text], np.concatenate(expected), rtol=1e-6)


def test_the_first_store_s_columns_stay_and_the_store_is_sound(both, small_store):
    told, _ = both
    made, first = open_store(told.out), open_store(small_store)
    columns = [field.name for field in tables.teacher_schema(tables.POOLINGS, 16)]
    before, after = (one.dataset().to_table().sort_by("sentence_id") for one in (first, made))
    held = before.filter(pa.compute.is_in(before["sentence_id"], after["sentence_id"]))
    for name in [*columns, "ingest_date"]:
        assert held[name].combine_chunks() == after[name].combine_chunks(), name
    assert verify(VerifyConfig(location=told.out))["rows"] == 290
    assert after.schema.field("vector_beside").metadata[b"width"] == b"40"
    folders = [Path(preparer_folder(one.location, one.fingerprint)) for one in (made, first)]
    mine, theirs = (load_preparer(folder).fingerprint for folder in folders)
    assert mine == theirs


def test_again_it_is_found_done_elsewhere_it_has_the_same_bytes_and_nothing_is_left(both, tmp_path):
    told, summary = both
    assert beside(told) == {**summary, "already_done": True}
    assert open_store(told.out).version == 0
    other = BesideConfig(**{**vars(told), "out": str(tmp_path / "other")})
    assert beside(other)["already_done"] is False
    digests = [[part.sha256 for part in open_store(at.out).parts] for at in (told, other)]
    assert digests[0] == digests[1]
    beside_it = {path.name for path in tmp_path.iterdir()}
    assert beside_it == {"other", "other.preparer", "other.runs"}


def test_stores_that_keep_less_of_the_vectors_are_decoded(
    second_teacher, small_corpus, embed, tmp_path
):
    embed(small_corpus, out=tmp_path / "small", vector_dtype="int8", pca=6)
    told = {"teacher": str(second_teacher), "vector_dtype": "int8"}
    embed(small_corpus, out=tmp_path / "other", **told)
    out = tmp_path / "both"
    beside(
        BesideConfig(location=str(tmp_path / "small"), other=str(tmp_path / "other"), out=str(out))
    )
    made = open_store(out)
    assert made.fingerprint["vector_dtype"] == "float32"
    assert "projection" not in made.fingerprint
    assert verify(VerifyConfig(location=str(out)))["rows"] == 300
    kept, found = vectors_of(tmp_path / "small", "idf"), vectors_of(out, "idf")
    joined, exact = vectors_of(out, "beside"), vectors_of(tmp_path / "other", "idf")
    for text in list(found)[:20]:
        np.testing.assert_allclose(found[text], kept[text], atol=1e-5)
        unit = [v / np.linalg.norm(v) for v in (kept[text], exact[text])]
        np.testing.assert_allclose(joined[text], np.concatenate(unit), atol=1e-5)


def test_a_run_that_is_cut_off_leaves_nothing_visible_and_the_next_ends_the_same(
    both, tmp_path, monkeypatch
):
    told, summary = both
    again = BesideConfig(**{**vars(told), "out": str(tmp_path / "both")})
    with monkeypatch.context() as cut:
        cut.setattr(job, "commit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            beside(again)
    with pytest.raises(FileNotFoundError, match="there is no table"):
        open_store(again.out)
    assert not list((tmp_path / "both.staging").iterdir())
    found = beside(again)
    assert {**found, "store": told.out} == {**summary, "store": told.out}
    digests = [[part.sha256 for part in open_store(at.out).parts] for at in (told, again)]
    assert digests[0] == digests[1]


def test_stores_that_do_not_fit_are_refused(both, second_teacher, small_corpus, embed, tmp_path):
    small_store, second = both[0].location, both[0].other

    def told(location, other, **changes):
        settings = {"location": str(location), "other": str(other), "out": str(tmp_path / "out")}
        return BesideConfig(**{**settings, **changes})

    with pytest.raises(ValueError, match="are of the same teacher"):
        beside(told(small_store, small_store))
    with pytest.raises(
        ValueError, match=r"must have cls vectors, of one teacher: it has \['idf'\]"
    ):
        beside(told(small_store, second, pooling="cls"))
    with pytest.raises(ValueError, match=r"of one teacher: it has .*'beside'"):
        beside(told(both[0].out, second))
    embed(small_corpus, out=tmp_path / "short", teacher=str(second_teacher), max_tokens=6)
    with pytest.raises(ValueError, match="under other conditions: max_tokens is '6', wanted '64'"):
        beside(told(small_store, tmp_path / "short"))
    (tmp_path / "own.txt").write_text("前天北京很冷\n后天不冷\n", "utf-8")
    embed(tmp_path / "own.txt", out=tmp_path / "own", teacher=str(second_teacher))
    with pytest.raises(ValueError, match=r"no sentence of .* is in .*own"):
        beside(told(small_store, tmp_path / "own"))
    assert not (tmp_path / "out" / "_delta_log").exists()


def test_what_would_embed_rows_again_with_one_teacher_refuses(both, tiny_teacher):
    with pytest.raises(ValueError, match=r"made with the teacher \w+\+\w+"):
        verify(VerifyConfig(location=both[0].out, teacher=str(tiny_teacher)))


def test_other_versions_of_the_stores_need_another_out(small_store, second, sentences, tmp_path):
    for path in second.parent.glob("store*"):
        shutil.copytree(path, tmp_path / path.name)
    told = BesideConfig(
        location=str(small_store), other=str(tmp_path / "store"), out=str(tmp_path / "both")
    )
    assert beside(told)["rows"] == 290
    forget(ForgetConfig(location=str(tmp_path / "store"), text=(sentences[-1],)))
    with pytest.raises(FileExistsError, match=r"made of other versions .* another --out"):
        beside(told)
    again = BesideConfig(**{**vars(told), "out": str(tmp_path / "again")})
    assert beside(again)["rows_missing_in_the_other"] == LACKING + 1
    forget(ForgetConfig(location=str(tmp_path / "again"), text=(sentences[-2],)))
    assert open_store(tmp_path / "again").rows == 288


def test_a_student_of_both_is_trained_exported_and_measured_by_both(
    both, embed, second_teacher, sentences, tmp_path
):
    asked = [f"昨天{text[2:]}" for text in sentences[:60]]
    (tmp_path / "asked.txt").write_text("\n".join(asked), "utf-8")
    (tmp_path / "sets" / "near").mkdir(parents=True)
    rows = [f"{a}\t{b}\t{i % 5}" for i, (a, b) in enumerate(itertools.pairwise(asked))]
    lines = ["sentence1\tsentence2\tscore", *rows]
    (tmp_path / "sets" / "near" / "test.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    embed(tmp_path / "asked.txt", out=tmp_path / "one")
    embed(tmp_path / "asked.txt", out=tmp_path / "other", teacher=str(second_teacher))
    labelled = str(tmp_path / "labelled")
    flags = [str(tmp_path / "one"), "--other", str(tmp_path / "other"), "--out", labelled]
    verbs.main(["beside", *flags])
    assert open_store(labelled).rows == 60
    settings = {"epochs": 20, "batch_size": 32, "validation_rows": 40, "learning_rate": 0.02}
    settings |= {"precision": "float32", "embedding": 8, "checkpoint_every": 1000}
    distil(TrainConfig(store=both[0].out, pooling="beside", out=tmp_path / "training", **settings))
    export(ExportConfig(training=tmp_path / "training", out=tmp_path / "student"))
    encoder = SentenceEncoder.load(tmp_path / "student")
    assert encoder.encode(asked[:2]).shape == (2, 16 + 24)
    assert encoder.card["teacher_name"].count(" + ") == 1
    found = evaluate(
        EvaluateConfig(
            tasks=tmp_path / "sets",
            teacher_store=labelled,
            out=tmp_path / "report",
            student=(f"mine={tmp_path / 'student'}",),
            reference="teacher/beside",
        )
    )
    text = (tmp_path / "report" / "report.txt").read_text("utf-8")
    assert "teacher/beside" in text
    assert "mine" in text
    assert found["already_done"] is False
