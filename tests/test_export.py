"""distill_jobs/export.py and encoder.py: what is served is what was trained, by itself."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from distill_jobs import backends, checkpoint
from distill_jobs.backends import choose
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.export import ExportConfig, export
from distill_jobs.model_card import model_card
from distill_jobs.preflight import preflight
from distill_jobs.reader import read_group, row_groups, to_batch
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from distill_jobs.train import TrainConfig, distil
from pipelines.store.compact import CompactConfig, compact
from pipelines.store.forget import ForgetConfig, forget
from schemas.pins import pins, unpin
from schemas.store import open_store
from schemas.vectors import Decoder

FILES = [
    *("model.safetensors", "model.onnx", "model.int8.onnx", "config.json"),
    *("tokenizer.json", "idf.parquet", "preparer.json"),
]
BACKENDS = ("torch", "onnx", "onnx-int8")


@pytest.fixture(scope="module")
def training(small_store, tmp_path_factory):
    out = tmp_path_factory.mktemp("training") / "training"
    settings = {"epochs": 8, "batch_size": 32, "validation_rows": 40, "precision": "float32"}
    settings |= {"student_pooling": "idf"}
    distil(TrainConfig(store=str(small_store), out=out, embedding=8, **settings))
    return out


def test_a_student_of_a_rewritten_store_names_the_teacher_that_made_the_rows(
    small_store, tmp_path, sentences
):
    for path in small_store.parent.iterdir():
        shutil.copytree(path, tmp_path / path.name)
    copied = tmp_path / small_store.name
    forget(ForgetConfig(location=str(copied), text=(sentences[0],)))
    compact(CompactConfig(location=str(copied), rows_per_part=200))
    settings = {"epochs": 1, "batch_size": 32, "validation_rows": 40, "embedding": 8}
    distil(TrainConfig(store=str(copied), out=tmp_path / "training", **settings))
    card = export(ExportConfig(training=tmp_path / "training", out=tmp_path / "student"))
    assert (card["store_rows"], card["teacher_name"]) == (299, "tiny-bert")
    assert len(card["store_run_ids"]) == 3


@pytest.fixture(scope="module")
def exported(training, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "student"
    export(ExportConfig(training=training, out=out))
    return out


@pytest.fixture(scope="module")
def encoder(exported):
    return SentenceEncoder.load(exported)


@pytest.fixture(scope="module")
def mean_vector(training):
    """What a student answers when it knows nothing."""
    return np.array(json.loads((training / "run.json").read_text())["offset"], dtype=np.float32)


@pytest.fixture(scope="module")
def trained(training):
    """The student of the training itself, in torch."""
    run = json.loads((training / "run.json").read_text())
    student = Student(StudentConfig(**run["student"])).eval()
    path, _ = checkpoint.newest(training / "checkpoints")
    checkpoint.load_student(path, student)
    return student


def cosines(one, other, mean_vector):
    one, other = one - mean_vector, other - mean_vector
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_the_encoder_gives_the_vectors_of_training_from_the_bare_text(
    exported, trained, small_store, backend
):
    group = row_groups(open_store(small_store))[0]
    table = read_group(group, ["text", "token_ids", "weights", "vector_idf"])
    batch = to_batch(table, Decoder("idf", ("vector_idf",)), table.num_rows)
    with torch.inference_mode():
        expected = trained.vectors(batch.ids_BT, batch.weights_BT).numpy()
    found = SentenceEncoder.load(exported, backend).encode(table["text"].to_pylist())
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "tolerance"), [("torch", 1e-5), ("onnx", 1e-5), ("onnx-int8", 0.05)]
)
def test_batch_size_and_order_change_no_vector(exported, sentences, backend, tolerance):
    encoder = SentenceEncoder.load(exported, backend)
    whole = encoder.encode(sentences)
    tolerance *= float(np.linalg.norm(whole - whole.mean(axis=0), axis=1).mean())
    backwards = encoder.encode(sentences[::-1], batch_size=7)
    np.testing.assert_allclose(backwards[::-1], whole, atol=tolerance)
    np.testing.assert_allclose(encoder.encode(sentences[3:4]), whole[3:4], atol=tolerance)


def test_int8_is_as_near_as_the_card_says(exported, encoder, sentences, mean_vector):
    exact = SentenceEncoder.load(exported, "torch").encode(sentences)
    small = SentenceEncoder.load(exported, "onnx-int8").encode(sentences)
    recorded = encoder.card["backends"]["onnx-int8"]["cosine"]
    assert cosines(small, exact, mean_vector).mean() == pytest.approx(recorded, abs=1e-3)
    assert recorded > 0.99


def test_int8_is_chosen_only_if_its_vectors_are_torchs_and_their_own():
    def card(cosine, batch_effect=0.0):
        small = {"cosine": cosine, "batch_effect": batch_effect}
        return {"backends": {"onnx": {}, "onnx-int8": small}}

    assert choose(card(0.9991), "auto") == "onnx-int8"
    assert choose(card(0.9989), "auto") == "onnx"
    assert choose(card(0.9991, batch_effect=1e-4), "auto") == "onnx"
    assert choose(card(0.9989), "onnx-int8") == "onnx-int8"
    assert choose({}, "auto") == "torch"  # an export made before there were ONNX files
    with pytest.raises(ValueError, match="auto, onnx, onnx-int8, torch, got 'tensorrt'"):
        choose(card(1.0), "tensorrt")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_files_of_other_backends_may_be_left_out(exported, tmp_path, backend):
    shutil.copytree(exported, tmp_path / "student")
    for name, file in backends.FILES.items():
        if name != backend:
            (tmp_path / "student" / file).unlink()
    assert SentenceEncoder.load(tmp_path / "student", backend).encode(["今天"]).shape == (1, 16)
    other = "onnx" if backend == "torch" else "torch"
    with pytest.raises(FileNotFoundError, match=backends.FILES[other]):
        SentenceEncoder.load(tmp_path / "student", other)


def test_a_sentence_is_cleaned_before_it_is_encoded(encoder):
    clean, raw = encoder.encode(["今天北京天气怎么样？", "\ufeff 今天北京天气怎么样？\r\n"])
    np.testing.assert_array_equal(clean, raw)


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "\x07"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_text_with_nothing_to_read_gets_the_mean_vector(exported, text, backend, mean_vector):
    encoder = SentenceEncoder.load(exported, backend)
    np.testing.assert_allclose(encoder.encode([text])[0], mean_vector)
    beside = encoder.encode([text, "今天北京天气怎么样？"])
    np.testing.assert_allclose(beside[0], mean_vector)


@pytest.mark.parametrize("text", ["😀", "北" * 5000, "\ud800坏", "ҳ ي 한", "a\x00b", "[CLS]"])
def test_odd_text_gets_a_finite_vector(encoder, text):
    assert np.isfinite(encoder.encode([text])).all()


@pytest.fixture(scope="module", params=["mean", "learned"])
def wordless(small_store, tmp_path_factory, request):
    """The export of a student that needs no words."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"epochs": 4, "batch_size": 32, "validation_rows": 40, "precision": "float32"}
    settings |= {"embedding": 8, "student_pooling": request.param}
    distil(TrainConfig(store=str(small_store), out=folder / "training", **settings))
    export(ExportConfig(training=folder / "training", out=folder / "student"))
    return folder / "student"


def test_a_student_that_needs_no_words_has_no_idf_table_and_loads_no_segmenter(wordless):
    assert not (wordless / "idf.parquet").exists()
    script = f"""
import sys
for name in ("jieba", "rjieba", "torch"):
    sys.modules[name] = None
from distill_jobs.encoder import SentenceEncoder
print(SentenceEncoder.load({str(wordless)!r}).encode(["今天北京天气怎么样？"]).shape)
"""
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False
    )
    assert run.stdout == "(1, 16)\n", run.stderr


def test_a_student_that_needs_no_words_gives_the_vectors_of_training(wordless, small_store):
    run = json.loads((wordless / "config.json").read_text())
    student = Student(StudentConfig(**run["student_config"])).eval()
    student.load_state_dict(safetensors.torch.load_file(wordless / "model.safetensors"))
    group = row_groups(open_store(small_store))[0]
    table = read_group(group, ["text", "token_ids", "weights", "vector_idf"])
    batch = to_batch(table, Decoder("idf", ("vector_idf",)), table.num_rows)
    with torch.inference_mode():
        expected = student.vectors(batch.ids_BT, batch.weights_BT).numpy()
    for backend in ("torch", "onnx"):
        found = SentenceEncoder.load(wordless, backend).encode(table["text"].to_pylist())
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("text", ["", "北" * 5000, "\ud800坏", "a\x00b", "[CLS]"])
def test_a_student_that_needs_no_words_takes_odd_text(wordless, text):
    found = SentenceEncoder.load(wordless).encode([text])
    assert found.shape == (1, 16)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["tokenizer.json", "preparer.json", "model.int8.onnx"])
def test_a_changed_byte_in_an_export_without_words_is_noticed(wordless, tmp_path, name):
    spoilt = tmp_path / "student"
    shutil.copytree(wordless, spoilt)
    content = bytearray((spoilt / name).read_bytes())
    content[len(content) * 2 // 3] ^= 1
    (spoilt / name).write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        SentenceEncoder.load(spoilt)


def test_no_sentences_give_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [("今天", "list of sentences, got the string '今天'"), ([None], "got NoneType: None")],
)
def test_what_is_no_list_of_strings_is_refused(encoder, texts, complaint):
    with pytest.raises(ValueError, match=complaint):
        encoder.encode(texts)


def test_an_export_serves_where_beam_ray_transformers_and_torch_are_not_installed(
    exported, tmp_path
):
    script = f"""
import sys
for name in ("apache_beam", "ray", "transformers", "torch", "onnx"):
    sys.modules[name] = None
from distill_jobs.encoder import SentenceEncoder
print(SentenceEncoder.load({str(tmp_path / "moved")!r}).encode(["今天北京天气怎么样？"]).shape)
"""
    shutil.copytree(exported, tmp_path / "moved")
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False
    )
    assert run.stdout == "(1, 16)\n", run.stderr


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_in_an_export_is_noticed(exported, tmp_path, name):
    spoilt = tmp_path / "student"
    shutil.copytree(exported, spoilt)
    content = bytearray((spoilt / name).read_bytes())
    at = content.index(b"sha256") + 12 if name == "config.json" else len(content) * 2 // 3
    content[at] ^= 1
    (spoilt / name).write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        SentenceEncoder.load(spoilt)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_export_is_noticed(exported, tmp_path, name):
    spoilt = tmp_path / "student"
    shutil.copytree(exported, spoilt)
    content = (spoilt / name).read_bytes()
    (spoilt / name).write_bytes(content[: len(content) // 2])
    with pytest.raises((ValueError, OSError)):
        SentenceEncoder.load(spoilt)


def test_exporting_again_says_that_nothing_was_done(training, exported):
    card = export(ExportConfig(training=training, out=exported))
    assert card["reused"]


def test_an_export_that_ended_before_it_pinned_pins_when_it_is_run_again(
    small_store, training, tmp_path
):
    config = ExportConfig(training=training, out=tmp_path / "student")
    assert export(config)["store_pinned"]
    (one,) = [one for one in pins(str(small_store)) if one.by == str(config.out)]
    unpin(str(small_store), one)
    again = export(config)
    assert (again["reused"], again["store_pinned"]) == (True, True)
    assert one in pins(str(small_store))
    unpin(str(small_store), one)


def test_an_export_that_has_changed_is_not_reused(training, exported, tmp_path):
    config = ExportConfig(training=training, out=tmp_path / "student")
    shutil.copytree(exported, config.out)
    (config.out / "model.safetensors").unlink()
    assert export(config)["reused"]
    (config.out / "model.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match=rf"model\.onnx has changed .*: delete {config.out}"):
        export(config)
    for name in ("model.onnx", "model.int8.onnx"):
        (config.out / name).unlink()
    with pytest.raises(ValueError, match=f"has none of its weights .*: delete {config.out}"):
        export(config)


@pytest.mark.parametrize(
    ("objective", "space"),
    [
        ("mse", "the teacher's space"),
        ("cosine=1,relational=20", "the teacher's space"),
        ("relational", "a space of their own"),
        ("gram_kl=0..2, order@64=3", "a space of their own"),
    ],
)
def test_the_model_card_says_whose_space_the_objective_leads_to(exported, objective, space):
    card = json.loads((exported / "config.json").read_text())
    assert f"its vectors lie in {space}." in model_card({**card, "objective": objective})


def test_an_export_into_a_folder_with_something_else_is_refused(training, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="something else"):
        export(ExportConfig(training=training, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_is_no_training_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no training"):
        export(ExportConfig(training=tmp_path, out=tmp_path / "student"))


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not an exported student"):
        SentenceEncoder.load(tmp_path)


def test_the_model_card_has_the_numbers_of_this_student(exported):
    card = json.loads((exported / "config.json").read_text())
    text = (exported / "README.md").read_text()
    assert card["file_bytes"] == (exported / "model.safetensors").stat().st_size
    assert f"{card['parameters']:,}" in text
    for name, facts in card["backends"].items():
        assert facts["file_bytes"] == (exported / backends.FILES[name]).stat().st_size
        assert f"{facts['file_bytes']:,} | {facts['cosine']:.6f}" in text
    assert f"{card['store_rows']:,}" in text
    assert f"{card['validation']['spearman']:.3f}" in text


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "shape", [{"vocabulary": 30}, {"student": "mini-transformer", "layers": 1, "hidden": 32}]
)
def test_a_student_of_another_shape_is_trained_exported_and_served(
    small_store, tmp_path, sentences, shape, backend
):
    settings = {"epochs": 1, "batch_size": 32, "validation_rows": 40, "precision": "float32"}
    shape = {"embedding": 8, "student_pooling": "learned", **shape}
    config = TrainConfig(store=str(small_store), out=tmp_path / "training", **shape, **settings)
    found = distil(config)
    card = export(ExportConfig(training=config.out, out=tmp_path / "student"))
    unknown = [found["unknown_rate"], card["unknown_rate"]]
    assert all(0 < rate < 0.6 for rate in unknown) if "vocabulary" in shape else unknown == [0, 0]
    encoder = SentenceEncoder.load(tmp_path / "student", backend)
    exact = SentenceEncoder.load(tmp_path / "student", "torch")
    together, alone = encoder.encode(sentences[:20]), exact.encode(sentences[:20], batch_size=1)
    apart = np.linalg.norm(together - alone, axis=1) / np.linalg.norm(alone, axis=1)
    assert apart.max() < (0.02 if backend == "onnx-int8" else 1e-5)
    assert ("30 tokens apart" in (tmp_path / "student/README.md").read_text()) == (
        "vocabulary" in shape
    )


def test_the_unknown_rate_that_training_tells_is_that_of_the_corpus(small_store, tmp_path):
    """Counted again from the rows: their words are those of the IDF table."""
    settings = {"store": str(small_store), "out": tmp_path / "training", "validation_rows": 40}
    rates = [
        preflight(TrainConfig(**settings, vocabulary=kept))[1]["unknown_rate"]
        for kept in (5, 20, 50)
    ]
    assert rates == sorted(rates, reverse=True)
    run, *_ = preflight(TrainConfig(**settings, vocabulary=20))
    opened = open_store(small_store)
    groups = row_groups(opened)
    tokens = [
        read_group(group, ["token_ids"])["token_ids"].combine_chunks().flatten().to_numpy()
        for group in groups
    ]
    tokens = np.concatenate(tokens)
    content = tokens[~np.isin(tokens, (2, 3))]  # without [CLS] and [SEP]
    assert 1 - np.isin(content, run.kept).mean() == pytest.approx(rates[1], abs=0.05)


def test_a_warm_start_goes_on_with_its_own_tokens(small_store, tmp_path):
    settings = {"store": str(small_store), "validation_rows": 40, "vocabulary": 20}
    begun = TrainConfig(**settings, out=tmp_path / "begun", batch_size=32, epochs=1, embedding=8)
    distil(begun)
    path = tmp_path / "begun" / "run.json"
    run = json.loads(path.read_text())
    run["kept"] = list(range(30, 50))  # as if the IDF table had moved since
    path.write_text(json.dumps(run))
    again = dataclasses.replace(begun, out=tmp_path / "again", warm_start=tmp_path / "begun")
    found, facts, _ = preflight(again)
    assert list(found.kept) == run["kept"]
    assert facts["unknown_rate"] > preflight(begun)[1]["unknown_rate"]


def test_a_vocabulary_that_leaves_nothing_out_is_refused(small_store, tmp_path):
    config = TrainConfig(store=str(small_store), out=tmp_path / "training", vocabulary=10**6)
    with pytest.raises(ValueError, match=r"vocabulary must be 1 to \d+ tokens, got 1000000"):
        preflight(config)
