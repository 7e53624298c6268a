"""distill_jobs/st_export.py: sentence-transformers and mteb give our vectors without our code."""

import ast
import dataclasses
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from distill_jobs import checkpoint, st_folder
from distill_jobs.__main__ import main
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.export import ExportConfig, export
from distill_jobs.onnx_export import write_onnx
from distill_jobs.plain_tokenizer import cleaning, plain_tokenizer
from distill_jobs.reader import Batch
from distill_jobs.st_export import TOLERANCE, StExportConfig, export_st, st_model_card
from distill_jobs.st_folder import write_sentence_transformers
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig, preset
from distill_jobs.tokens import TokenPreparer
from distill_jobs.train import TrainConfig, distil
from schemas.fingerprint import file_digest, seal
from schemas.text import MAX_CHARACTERS, clean

ROOT = Path(__file__).parents[1]
TOKENIZER = (ROOT / "deploy" / "demo" / "teacher-zh-tiny" / "tokenizer.json").read_text("utf-8")
VOCABULARY, MAX_TOKENS, WIDTH = 8000, 32, 24
TEXTS = [
    *("今天北京天气怎么样？", "明天会下雨吗", "去机场要多久？", "有什么好吃的，推荐一下"),
    *("微信支付怎么开通不了", "我想查一下上个月的话费账单，谢谢。", "孩子三岁半了还不会说话"),
    *("開放時間是幾點？", "憂鬱的臺灣烏龜", "ＡＢＣ１２３，全角！", "ｉＰｈｏｎｅ　１５"),
    *("iPhone 15 Pro多少钱", "Hong Kong的天氣 is nice", "naïve cafe\u0301 Ångström"),
    *(
        "😀",
        "有音乐会吗🎵",
        "👨\u200d👩\u200d👧",
        "\ufeff 今天\u200b天气\t怎么样\r\n",
        "ҳ ي 한국어",
    ),
    *("", "   ", "\u3000\t\r\n", "\u200b", "\x07", "\t" * 3000 + "今天", "a\x1cb\x85c\x0bd"),
    *("北" * 5000, "今天天气" * 1250, "q" * 5000, "a b " * 1250, "x" * 2047 + "今天"),
    *("[SEP]", "今天[SEP]天气[MASK]", "[sep]", "a\x00b", "\ufffd坏", "http://例子.测试/?q=1#top"),
]
PAIRS = [
    *(("今天北京天气怎么样？", "北京今天的天气如何", 4.8), ("明天会下雨吗", "明天有雨吗", 5.0)),
    *(("去机场要多久？", "到机场需要多长时间", 4.6), ("有什么好吃的", "推荐一家餐厅", 3.5)),
    *(("微信支付怎么开通", "如何开通微信支付", 4.9), ("孩子发烧怎么办", "股票今天涨了吗", 0.1)),
    *(("iPhone 15多少钱", "苹果15的价格", 4.2), ("憂鬱的臺灣烏龜", "忧郁的台湾乌龟", 4.0)),
    *(("有地铁吗", "可以坐地铁去吗", 3.3), ("开放时间是几点", "几点开门", 4.1)),
    *(("天气很热", "我喜欢读书", 0.3), ("怎么退款", "退款流程是什么", 4.4)),
]
KINDS = {
    "bilstm": preset("bilstm", vocabulary=VOCABULARY, width=WIDTH, embedding=16, pooling="mean"),
    "bilstm-small": preset(
        "bilstm-small", vocabulary=VOCABULARY, width=WIDTH, embedding=16, pooling="mean"
    ),
    "static": preset("static", vocabulary=VOCABULARY, width=WIDTH, pooling="mean"),
    "static-narrow": preset(
        "static", vocabulary=VOCABULARY, width=WIDTH, embedding=10, pooling="mean"
    ),
    "static-learned": preset("static", vocabulary=VOCABULARY, width=WIDTH, pooling="learned"),
    "bilstm-pruned": preset(
        "bilstm", vocabulary=VOCABULARY, width=WIDTH, embedding=16, pooling="mean", kept=500
    ),
}


def random_student(config: StudentConfig) -> Student:
    torch.manual_seed(7)
    student = Student(config).eval()
    student.offset.copy_(0.1 * torch.randn(config.width))
    student.scale.fill_(2.5)
    if config.kept:
        student.keep(range(200, 200 + config.kept))
    return student


def write_export(folder: Path, student: Student) -> None:
    """As much of an export as `SentenceEncoder.load` reads."""
    folder.mkdir()
    checkpoint.save_tensors(student.state_dict(), folder / "model.safetensors")
    TokenPreparer(TOKENIZER, MAX_TOKENS).save(folder)
    ids, weights = torch.randint(5, VOCABULARY, (40, 9)), torch.full((40, 9), 1 / 9)
    batch = Batch(ids, weights, torch.zeros(40, WIDTH), 40, 40)
    card = {
        "model_type": "ltd_student",
        "sha256": file_digest(folder / "model.safetensors"),
        "student_config": vars(student.config),
        "backends": write_onnx(student, folder, [batch]),
    }
    (folder / "config.json").write_text(json.dumps(seal(card)), encoding="utf-8")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """For each kind an export, and a folder for sentence-transformers beside it."""
    work = tmp_path_factory.mktemp("st")
    for kind, config in KINDS.items():
        student = random_student(config)
        write_export(work / f"{kind}-export", student)
        (work / kind).mkdir()
        write_sentence_transformers(student, TOKENIZER, MAX_TOKENS, work / kind)
    return work


# Runs where there is nothing of ours.
OUTSIDE = """
import json, sys, time

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("schemas", "pipelines", "distill_jobs"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
for name in ("schemas", "pipelines", "distill_jobs"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(name)

given = json.load(open("given.json", encoding="utf-8"))
import safetensors.numpy
started = time.perf_counter()
from sentence_transformers import SentenceTransformer
seconds = {"import": time.perf_counter() - started}
vectors, models = {}, {}
for kind in given["kinds"]:
    started = time.perf_counter()
    models[kind] = SentenceTransformer(kind, device="cpu")
    seconds[kind] = time.perf_counter() - started
    for size in (1, 32):
        found = models[kind].encode(given["texts"], batch_size=size, show_progress_bar=False)
        vectors[f"{kind} {size}"] = found

import mteb
from datasets import Dataset
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

class Pairs(AbsTaskSTS):
    metadata = TaskMetadata(
        name="LocalPairs", description="Pairs of short questions.", type="STS", category="t2t",
        dataset={"path": "local", "revision": "1"}, eval_splits=["test"],
        eval_langs=["cmn-Hans"], main_score="cosine_spearman",
    )

    def load_data(self, num_proc=None, **settings):
        columns = dict(zip(("sentence1", "sentence2", "score"), zip(*given["pairs"])))
        self.dataset = {"test": Dataset.from_dict(columns)}
        self.data_loaded = True

scores = {}
for kind in ("bilstm", "static"):
    result = mteb.evaluate(models[kind], Pairs(), cache=None, show_progress_bar=False)
    scores[kind] = result.task_results[0].get_score()
safetensors.numpy.save_file(vectors, "vectors.safetensors")
json.dump({"seconds": seconds, "scores": scores}, open("found.json", "w"))
"""


@pytest.fixture(scope="module")
def outside(work):
    """Vectors, seconds and scores of a process that cannot import our packages."""
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("mteb")
    given = {"texts": TEXTS, "kinds": list(KINDS), "pairs": PAIRS}
    (work / "given.json").write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MTEB_CACHE": str(work / "mteb")}
    command = [sys.executable, "-I", "-c", OUTSIDE]
    run = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((work / "found.json").read_text())
    return {**found, "vectors": safetensors.numpy.load_file(work / "vectors.safetensors")}


def distance(found, expected):
    """Of vectors, in shares of their length, at most."""
    return (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_sentence_transformers_alone_torch_and_onnx_give_the_same_vectors(
    work, outside, kind, size
):
    ours = SentenceEncoder.load(work / f"{kind}-export", "torch").encode(TEXTS)
    assert len(np.unique(ours.round(4), axis=0)) > len(TEXTS) / 2  # the students tell texts apart
    assert distance(outside["vectors"][f"{kind} {size}"], ours) < TOLERANCE
    onnx = SentenceEncoder.load(work / f"{kind}-export", "onnx").encode(TEXTS, batch_size=size)
    assert distance(outside["vectors"][f"{kind} {size}"], onnx) < TOLERANCE


@pytest.mark.parametrize("kind", ["bilstm", "static"])
def test_mteb_gives_the_score_of_our_own_vectors(work, outside, kind):
    one, other, labels = zip(*PAIRS, strict=True)
    encoder = SentenceEncoder.load(work / f"{kind}-export", "torch")
    one, other = encoder.encode(one), encoder.encode(other)
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    expected = spearmanr(cosines, labels).statistic
    assert outside["scores"][kind] == pytest.approx(expected, abs=1e-4)


def test_a_text_with_nothing_to_read_gets_the_mean_vector_there_too(work, outside):
    empty = [i for i, text in enumerate(TEXTS) if not clean(text[:MAX_CHARACTERS])]
    assert len(empty) == 6
    for kind in KINDS:
        weights = safetensors.numpy.load_file(work / f"{kind}-export" / "model.safetensors")
        for size in (1, 32):
            found = outside["vectors"][f"{kind} {size}"][empty]
            np.testing.assert_array_equal(found, np.tile(weights["offset"], (6, 1)))


def test_the_folder_has_no_pickle_and_no_code(work):
    for kind in KINDS:
        names = {path.suffix for path in (work / kind).rglob("*") if path.is_file()}
        assert names == {".json", ".safetensors"}
        for module in json.loads((work / kind / "modules.json").read_text()):
            assert module["type"].startswith("sentence_transformers.")


def test_every_character_is_cleaned_as_by_our_code():
    cleaner = normalizers.Sequence(cleaning())
    characters = [chr(one) for one in range(sys.maxunicode + 1) if not 0xD800 <= one < 0xE000]
    for start in range(0, len(characters), 500):
        text = "".join(f"a{one}b" for one in characters[start : start + 500])
        assert cleaner.normalize_str(text) == clean(text), hex(ord(characters[start]))


def unigram() -> str:
    """A tokenizer to which white space matters, without a normalizer of its own."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("▁", -2.0), ("今天", -3.0), ("天", -4.0), ("a", -4.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer.to_str()


@functools.cache
def both(tokenizer_json: str) -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer as the teacher has it, and the one that does everything itself; of 12 tokens."""
    teacher = Tokenizer.from_str(tokenizer_json)
    teacher.enable_truncation(12)
    return teacher, Tokenizer.from_str(plain_tokenizer(tokenizer_json, 12))


ODD = "今天a北É é\u0301\u0327가각\t\x0b\x1c\x85\xa0\u3000\u200b\u200d\ufeff\x07\0"
PIECES = st.sampled_from([*ODD, "[SEP]"]) | st.characters(codec="utf-8")


@pytest.mark.parametrize("tokenizer_json", [TOKENIZER, unigram()], ids=["wordpiece", "unigram"])
@given(text=st.lists(PIECES, max_size=60).map("".join))
@example(text=" " * (MAX_CHARACTERS - 1) + "今天")
def test_the_same_tokens_remain_of_any_text(tokenizer_json, text):
    teacher, plain = both(tokenizer_json)
    whole = teacher.encode(clean(text[:MAX_CHARACTERS]))
    content = zip(whole.ids, whole.special_tokens_mask, strict=True)
    assert plain.encode(text).ids == [one for one, special in content if not special]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kind": "bilstm", "pooling": "idf"}, "pool by idf weights, .*--student-pooling mean"),
        ({"kind": "static", "pooling": "idf"}, "pool by idf weights, .*--student-pooling mean"),
        ({"kind": "bilstm", "pooling": "learned"}, "by learned weights, .*--student-pooling mean"),
        ({"kind": "mini-transformer", "pooling": "mean"}, "a mini-transformer student cannot be"),
    ],
)
def test_what_sentence_transformers_cannot_express_is_refused(tmp_path, settings, complaint):
    student = Student(preset(vocabulary=VOCABULARY, width=WIDTH, **settings))
    with pytest.raises(ValueError, match=complaint):
        write_sentence_transformers(student, TOKENIZER, MAX_TOKENS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_job_refuses_with_a_status_and_leaves_nothing_behind(tmp_path, capsys):
    shape = preset("static", vocabulary=VOCABULARY, width=WIDTH, pooling="idf")
    write_export(tmp_path / "student", random_student(shape))
    flags = ["--student", str(tmp_path / "student"), "--out", str(tmp_path / "st")]
    with pytest.raises(SystemExit) as ended:
        main(["sentence-transformers", *flags])
    assert ended.value.code == 65
    assert "--student-pooling mean" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["sentence-transformers", "--student", str(tmp_path / "none"), *flags[2:]])
    assert ended.value.code == 74
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


@pytest.fixture(scope="module")
def place(small_store, tmp_path_factory):
    """A folder in which work/student is a real export, and work/student-st is made by the job."""
    place = tmp_path_factory.mktemp("serving")
    settings = {"epochs": 2, "batch_size": 32, "validation_rows": 40, "precision": "float32"}
    settings |= {"embedding": 8, "student_pooling": "mean"}
    distil(TrainConfig(store=str(small_store), out=place / "training", **settings))
    export(ExportConfig(training=place / "training", out=place / "work" / "student"))
    config = StExportConfig(student=place / "work" / "student", out=place / "work" / "student-st")
    return place, config, export_st(config)


def test_the_job_compares_its_vectors_with_ours_and_does_nothing_twice(place, tmp_path):
    pytest.importorskip("sentence_transformers")
    folder, config, summary = place
    assert 0 <= summary["distance"] < TOLERANCE
    assert not summary["reused"]
    assert export_st(config) == {**summary, "reused": True}
    assert not [path for path in (folder / "work").iterdir() if path.name.startswith(".")]
    shutil.copytree(config.out, tmp_path / "spoilt")
    (tmp_path / "spoilt" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"model\.safetensors has changed"):
        export_st(dataclasses.replace(config, out=tmp_path / "spoilt"))
    with pytest.raises(FileExistsError, match="something else"):
        export_st(dataclasses.replace(config, out=tmp_path))


@pytest.mark.parametrize("name", ["../payload.txt", "/etc/hostname", "a/../../payload.txt"])
def test_a_card_that_names_a_file_outside_its_folder_is_refused(place, tmp_path, name):
    _, config, _ = place
    shutil.copytree(config.out, tmp_path / "st")
    path = tmp_path / "st" / "ltd_student.json"
    card = {key: one for key, one in json.loads(path.read_text()).items() if key != "digest"}
    card["sha256"][name] = "0"
    path.write_text(json.dumps(seal(card)))
    with pytest.raises(ValueError, match=f"names '{name}', which is not in the folder"):
        export_st(dataclasses.replace(config, out=tmp_path / "st"))


def test_the_job_does_without_sentence_transformers(place, tmp_path, monkeypatch):
    _, config, summary = place
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = export_st(dataclasses.replace(config, out=tmp_path / "st"))
    assert found == {**summary, "distance": None, "reused": False}


def test_a_folder_with_other_vectors_is_not_kept(place, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    _, config, _ = place
    monkeypatch.setattr(st_folder, "content_tokens", lambda *_: 3)
    with pytest.raises(ValueError, match="vectors differ from ours by"):
        export_st(dataclasses.replace(config, out=tmp_path / "st"))
    assert list(tmp_path.iterdir()) == []


def test_the_model_card_is_the_export_s_with_another_way_to_load(place):
    _, config, _ = place
    text = (config.out / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["language"], front["library_name"]) == ("zh", "sentence-transformers")
    assert (front["pipeline_tag"], front["base_model"]) == ("sentence-similarity", "tiny-bert")
    assert "sentence-transformers" in front["tags"]
    card = json.loads((config.student / "config.json").read_text())
    assert f"{card['validation']['spearman']:.3f}" in text
    assert 'SentenceTransformer("this folder")' in text
    assert not re.search("SentenceEncoder|onnx|work/", text)
    with pytest.raises(ValueError, match="export again"):
        st_model_card({name: one for name, one in card.items() if name != "backends"})


def test_sentence_transformers_is_imported_only_to_compare():
    found = {}
    for path in (ROOT / "distill_jobs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and "sentence_transformers" in str(node.module):
                found[path.name] = node.col_offset
    assert found == {"st_export.py": 4}  # inside a function


PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def run(place, monkeypatch):
    """Function that runs the page's Python block which holds a word, and gives its variables."""
    monkeypatch.chdir(place[0])

    def run(word):
        (block,) = [text for language, text in BLOCKS if language == "python" and word in text]
        variables: dict[str, object] = {}
        exec(block, variables)
        return variables

    return run


def test_the_page_has_the_blocks_that_are_run_here():
    assert [language for language, _ in BLOCKS] == ["bash", *["python"] * 5]


def test_the_page_s_command_is_the_job(place, monkeypatch, capsys):
    monkeypatch.chdir(place[0])
    (command,) = [text for language, text in BLOCKS if language == "bash"]
    *start, job = shlex.split(command)[:4]
    assert start == ["python", "-m", "distill_jobs"]
    main([job, *shlex.split(command)[4:]])
    assert json.loads(capsys.readouterr().out)["reused"]


def test_the_page_s_three_ways_to_encode_agree(place, run):
    pytest.importorskip("sentence_transformers")
    ours = SentenceEncoder.load(place[1].student, "torch").encode(
        ["今天天气怎么样", "明天会下雨吗"]
    )
    for word in ('backend="onnx"', "import onnxruntime", "vectors = model.encode"):
        assert distance(run(word)["vectors"], ours) < TOLERANCE


def test_what_the_page_says_differs_does(place, run):
    pytest.importorskip("sentence_transformers")
    model = run("vectors = model.encode")["model"]
    ours = SentenceEncoder.load(place[1].student, "torch")
    assert np.isfinite(ours.encode(["\ud800坏"])).all()
    with pytest.raises((TypeError, UnicodeError)):
        model.encode(["\ud800坏"])
    spelt = ["今天[S\u200bEP]"]
    assert distance(model.encode(spelt), ours.encode(spelt)) > 100 * TOLERANCE


def test_the_page_s_onnxruntime_code_takes_any_text(place, run):
    ours = SentenceEncoder.load(place[1].student, "onnx").encode(TEXTS)
    assert distance(run("import onnxruntime")["encode"](TEXTS), ours) < TOLERANCE


def test_the_page_s_mteb_task_scores_our_vectors(place, run):
    pytest.importorskip("mteb")
    found = run("import mteb")
    one, other = (
        SentenceEncoder.load(place[1].student, "torch").encode(found["PAIRS"][name])
        for name in ("sentence1", "sentence2")
    )
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    expected = spearmanr(cosines, found["PAIRS"]["score"]).statistic
    assert found["score"] == pytest.approx(expected, abs=1e-4)


def test_the_page_s_service_answers(place, run):
    pytest.importorskip("httpx2")
    client = pytest.importorskip("fastapi.testclient").TestClient(run("import FastAPI")["app"])
    answer = client.post("/vectors", json={"texts": ["今天天气怎么样", ""]})
    expected = SentenceEncoder.load(place[1].student).encode(["今天天气怎么样", ""])
    np.testing.assert_allclose(answer.json(), expected, rtol=1e-6)
    assert client.post("/vectors", json={"texts": "今天"}).status_code == 422
    assert client.post("/vectors", json={"texts": ["今"] * 1001}).status_code == 422
