"""What a compressing run leaves: the export that it names, whole, its store pinned, once."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from distill_jobs.backends import FILES
from distill_jobs.compress.bits import BitsConfig, store_in_bits
from distill_jobs.compress.dimensions import DimensionsConfig, shorten
from distill_jobs.compress.rank import RankConfig, factorise
from distill_jobs.compress.vocabulary import VocabularyConfig, prune
from distill_jobs.st_export import st_model_card
from schemas.fingerprint import file_digest, seal
from schemas.pins import Pin, pins
from schemas.prepare import load_preparer
from tests.compress_kit import idf_table, make_student, write_export


@pytest.fixture(scope="module")
def tokenizer_json(tiny_teacher):
    return (tiny_teacher / "tokenizer.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tokenizer_json, sentences):
    folder = tmp_path_factory.mktemp("exports") / "student"
    return write_export(folder, make_student(vocabulary=200), tokenizer_json, sentences)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory, exported):
    """A compressed export, not to be written to."""
    out = tmp_path_factory.mktemp("ranked") / "small"
    rank(exported, out)
    return out


def rank(student, out, **settings):
    return factorise(RankConfig(student=student, out=out, rank=4, **settings))


def resealed(path, **changed):
    """Rewrite a sealed file as somebody would who knows the format."""
    content = json.loads(path.read_text())
    content = {name: value for name, value in content.items() if name != "digest"}
    path.write_text(json.dumps(seal({**content, **changed})))


@pytest.mark.parametrize("name", ["../../payload.txt", "..", "notes.txt", "/etc/hostname"])
def test_a_preparer_that_names_another_file_is_not_copied(exported, tmp_path, name):
    student = tmp_path / "a" / "b" / "student"
    shutil.copytree(exported, student)
    (tmp_path / "a" / "payload.txt").write_text("theirs")
    (student / "notes.txt").write_text("theirs")
    sha256 = json.loads((student / "preparer.json").read_text())["sha256"]
    resealed(student / "preparer.json", sha256={**sha256, name: "0"})
    out = tmp_path / "c" / "d" / "small"
    with pytest.raises(ValueError, match=f"names '{name}', which is no file of a preparer"):
        rank(student, out)
    assert [path.name for path in (tmp_path / "c").rglob("*")] == ["d"]


def test_a_preparer_that_names_another_file_is_not_served(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "student")
    (tmp_path / "payload.txt").write_text("theirs")
    path = tmp_path / "student" / "preparer.json"
    sha256 = json.loads(path.read_text())["sha256"]
    theirs = {"../payload.txt": file_digest(tmp_path / "payload.txt")}
    resealed(path, sha256={**sha256, **theirs})
    with pytest.raises(ValueError, match=r"names '\.\./payload\.txt', no file of a preparer"):
        load_preparer(path.parent)


@pytest.mark.parametrize("name", ["config.json", *FILES.values()])
def test_a_result_that_has_changed_is_not_reused(exported, ranked, tmp_path, name):
    out = tmp_path / "small"
    shutil.copytree(ranked, out)
    if name == "config.json":
        (out / name).write_text((out / name).read_text().replace('"mse"', '"l2"'))
    else:
        (out / name).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"has changed .*: delete {out}"):
        rank(exported, out)


def test_a_result_is_reused_until_all_its_weights_are_gone(exported, ranked, tmp_path):
    out = tmp_path / "small"
    shutil.copytree(ranked, out)
    for name in ("model.safetensors", "model.int8.onnx"):
        (out / name).unlink()
        assert rank(exported, out)["reused"]
    (out / "model.onnx").unlink()
    with pytest.raises(ValueError, match=f"has none of its weights .*: delete {out}"):
        rank(exported, out)


def test_weights_that_the_card_does_not_name_are_none_of_a_result(exported, tmp_path):
    config = BitsConfig(student=exported, out=tmp_path / "small", bits="8")
    store_in_bits(config)
    (config.out / "model.onnx").rename(config.out / "model.int8.onnx")
    with pytest.raises(ValueError, match="has none of its weights"):
        store_in_bits(config)


@pytest.mark.parametrize("content", ["[]", "no card", '{"export_id": "1"}'])
def test_a_folder_of_somebody_else_is_never_one_to_delete(exported, tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(FileExistsError, match="something else"):
        rank(exported, tmp_path)


def test_another_idf_table_at_the_same_place_is_another_step(exported, tmp_path, sentences):
    table = tmp_path / "idf.parquet"
    shutil.copy(exported / "idf.parquet", table)
    settings = {"student": exported, "keep": 60, "idf": str(table)}
    config = VocabularyConfig(out=tmp_path / "small", **settings)
    step = prune(config)
    assert step["settings"]["idf"] == idf_table(sentences).digest()
    assert prune(config)["reused"]
    pq.write_table(idf_table(sentences[:100]).to_arrow(), table)
    with pytest.raises(FileExistsError, match="something else"):
        prune(config)


@pytest.fixture
def of_store(exported, small_store, tmp_path):
    """An export whose store is in reach."""
    shutil.copytree(small_store, tmp_path / "store")
    shutil.copytree(exported, tmp_path / "student")
    resealed(tmp_path / "student" / "config.json", store=str(tmp_path / "store"))
    return tmp_path / "student"


def test_a_run_that_ended_before_it_pinned_pins_when_it_is_run_again(of_store, tmp_path):
    store, out = str(tmp_path / "store"), tmp_path / "small"
    assert rank(of_store, out)["store_pinned"]
    wanted = [Pin(0, str(out))]
    assert pins(store) == wanted
    shutil.rmtree(f"{store}.pins")
    again = rank(of_store, out)
    assert (again["reused"], again["store_pinned"]) == (True, True)
    assert pins(store) == wanted


def test_a_store_that_cannot_be_pinned_is_told(exported, of_store, tmp_path):
    (tmp_path / "store.pins").write_text("in the way")
    assert not rank(of_store, tmp_path / "small")["store_pinned"]
    assert not rank(exported, tmp_path / "far")["store_pinned"]
    assert not (exported / "no store.pins").exists()


@pytest.mark.parametrize("keep", [16, 17])
def test_vectors_as_wide_as_before_are_refused(exported, tmp_path, keep):
    config = DimensionsConfig(student=exported, out=tmp_path / "small", keep=keep, by="random")
    with pytest.raises(ValueError, match=f"keep must be 1 to 15 numbers, .* got {keep}"):
        shorten(config)


def test_the_model_card_says_whose_space_the_vectors_lie_in(exported, tmp_path):
    def card(out):
        return (out / "README.md").read_text("utf-8")

    rank(exported, tmp_path / "rank")
    assert "its vectors lie in the teacher's space" in card(tmp_path / "rank")
    shorten(DimensionsConfig(student=exported, out=tmp_path / "short", keep=6, by="random"))
    assert "its vectors lie in a space of their own" in card(tmp_path / "short")
    assert "the teacher's space" not in card(tmp_path / "short")
    assert card(tmp_path / "short").count("## Compressed") == 1


def test_the_card_for_sentence_transformers_names_the_steps(exported, ranked):
    compressed, plain = (
        st_model_card(json.loads((folder / "config.json").read_text()))
        for folder in (ranked, exported)
    )
    assert "## Compressed" in compressed
    assert "| rank | rank 4" in compressed
    assert "## Compressed" not in plain


def test_the_preparer_s_files_are_copied_as_they_are(exported, ranked):
    for name in ("tokenizer.json", "idf.parquet", "preparer.json"):
        assert (ranked / name).read_bytes() == (exported / name).read_bytes()
