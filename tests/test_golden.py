"""What became of 40 awkward sentences: text, words, token ids, weights, pinned in golden.json.

A change here changes every store that will be made: it needs another `CLEANING`, or another
tokenizer or segmenter in the fingerprint. If that is meant, write the file again and read the diff:

    python -m tests.test_golden
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from pipelines.idf import IdfConfig, count_idf
from pipelines.teacher import TeacherConfig, embed_corpus
from schemas import parts
from schemas.fingerprint import file_digest
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.store import open_store
from schemas.text import read_line, sentence_id
from schemas.words import segmenter

GOLDEN = Path(__file__).with_name("golden.json")
TEACHER = Path(__file__).parents[1] / "deploy" / "demo" / "teacher-zh-tiny"

CORPUS = [
    "我来到北京清华大学",
    "今天天气怎么样？",
    "今天北京会下雨吗",
    "帮我订一张去上海的机票",
    "明天的会议改到下午三点",
    "这个手机多少钱",
    "怎么用WiFi上网",
    "《红楼梦》的作者是谁",
    "我想听周杰伦的歌",
    "打开客厅的灯，谢谢",
    "北京到上海的高铁要多久",
    "请问附近有没有好吃的火锅店",
]
AWKWARD = [
    "今天天气怎么样？",
    "我来到北京清华大学",
    "北京北京北京",
    "好",
    "？",
    "？！……——",
    "。",
    "a",
    "7",
    "LTD-BERT",
    "用LTD-BERT v1.2.3跑GPU",
    "iPhone15ProMax多少钱",
    "unbelievableness",
    "Café Zürich naïve",
    "Cafe\u0301",
    "ＷｉＦｉ密码是１２３４",
    "WiFi密码是1234",
    "价格是3.14元，打8.5折",
    "2026年1月1日08:30",
    "100%  off\t C++/C#",
    "https://example.com/a?b=c&d=中文#x",
    "发到 someone@example.com 吧",
    "周末去公园😊😊",
    "👨\u200d👩\u200d👧一家人👍🏽",
    "🇨🇳加油❤\ufe0f",
    "博物館開放嗎",
    "請問臺灣的天氣怎麼樣",
    "𠮷野家在哪里",
    "㐀㒨䶵",
    "龘靐齉爩",
    "[CLS]今天[SEP]天气[PAD]",
    "[MASK]是首都 [UNK]",
    "##好 ##ing",
    "  前后  都有　空格  ",
    "\ufeff开头有标记\u200b中间看不见",
    "Привет мир",
    "안녕하세요 こんにちは",
    "สวัสดี مرحبا",
    "ⅣⅧ①②㈱℃½²",
    "（全角）“引号”‘单’、；：",
    "哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈",
    "从前有座山，山里有座庙，庙里有个老和尚讲故事，讲的是：" * 8,
    "a" * 300,
    "1" * 150 + "号",
]


def golden_rows(idf: IdfTable) -> list[dict[str, object]]:
    """What `prepare` makes of the sentences."""
    texts = [read_line(sentence.encode())[0] for sentence in AWKWARD]
    preparer = Preparer(read_tokenizer(TEACHER), segmenter(), idf)
    return [
        {
            "sentence": sentence,
            "text": one.text,
            "words": one.words,
            "token_ids": one.token_ids.tolist(),
            "weights": [round(float(weight), 6) for weight in one.weights],
        }
        for sentence, one in zip(AWKWARD, preparer.prepare(texts), strict=True)
    ]


def make_idf(folder: Path, corpus: list[str]) -> Path:
    """Count the corpus with the real job."""
    path = folder / "corpus.txt"
    path.write_text("\n".join(corpus), encoding="utf-8")
    count_idf(IdfConfig(corpus=(str(path),), out=str(folder / "idf")))
    return folder / "idf"


def assert_same(row, text, token_ids, weights):
    assert text == row["text"]
    assert list(token_ids) == row["token_ids"], text
    assert np.abs(np.array(weights) - np.array(row["weights"])).max() <= 1.01e-6, text


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text("utf-8"))


@pytest.fixture(scope="module")
def golden_idf(tmp_path_factory, golden):
    return make_idf(tmp_path_factory.mktemp("golden"), golden["corpus"])


def test_the_file_is_about_these_sentences_and_this_tokenizer(golden):
    assert golden["corpus"] == CORPUS
    assert [row["sentence"] for row in golden["rows"]] == AWKWARD
    assert golden["tokenizer_sha256"] == file_digest(TEACHER / "tokenizer.json")
    assert golden["segmenter"] == segmenter().name


def test_prepare_gives_what_is_pinned(golden, golden_idf):
    found = golden_rows(IdfTable.load(golden_idf))
    for row, one in zip(golden["rows"], found, strict=True):
        assert one["words"] == row["words"]
        assert_same(row, one["text"], one["token_ids"], one["weights"])


def test_what_is_pinned_is_plausible(golden):
    for row in golden["rows"]:
        assert "".join(row["words"]) == row["text"]
        assert sum(row["weights"]) == pytest.approx(1, abs=1e-4)
        assert row["weights"][0] == row["weights"][-1] == 0
        assert min(row["weights"][1:-1]) > 0
        assert 3 <= len(row["token_ids"]) <= 128
    assert max(len(row["token_ids"]) for row in golden["rows"]) == 128


def test_the_store_holds_what_is_pinned(tmp_path, golden, golden_idf):
    (tmp_path / "awkward.txt").write_text("\n".join(AWKWARD), encoding="utf-8", newline="")
    config = TeacherConfig(
        corpus=(str(tmp_path / "awkward.txt"),),
        idf=str(golden_idf),
        teacher=str(TEACHER),
        out=str(tmp_path / "store"),
        date="2026-01-01",
        dtype="float32",
    )
    embed_corpus(config)
    opened = open_store(config.out)
    held = [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]
    by_id = {row["sentence_id"]: row for row in held}
    assert len(by_id) == len(held) == len({row["text"] for row in golden["rows"]})
    for row in golden["rows"]:
        found = by_id[sentence_id(row["text"])]
        assert_same(row, found["text"], found["token_ids"], found["weights"])


def test_the_encoder_reads_what_is_pinned(tmp_path, golden, golden_idf):
    from distill_jobs.encoder import SentenceEncoder
    from distill_jobs.student import Student
    from distill_jobs.student_config import StudentConfig

    config = StudentConfig(kind="static", vocabulary=8000, width=2)
    folder = tmp_path / "student"
    idf = IdfTable.load(golden_idf)
    Preparer(read_tokenizer(TEACHER), segmenter(), idf).save(folder)
    safetensors.torch.save_file(Student(config).state_dict(), folder / "model.safetensors")
    card = {
        "model_type": "ltd_student",
        "student_config": dataclasses.asdict(config),
        "sha256": file_digest(folder / "model.safetensors"),
    }
    (folder / "config.json").write_text(json.dumps(card))
    encoder = SentenceEncoder.load(folder)
    seen = []
    prepare = encoder._preparer.prepare
    encoder._preparer.prepare = lambda texts: seen.extend(prepare(texts)) or seen
    encoder.encode(AWKWARD)
    for row, one in zip(golden["rows"], seen, strict=True):
        assert_same(row, one.text, one.token_ids, one.weights)


def regenerate() -> None:
    """Write golden.json anew."""
    with tempfile.TemporaryDirectory() as folder:
        idf = IdfTable.load(make_idf(Path(folder), CORPUS))
    rows = [json.dumps(row, ensure_ascii=False) for row in golden_rows(idf)]
    about = {
        "corpus": CORPUS,
        "segmenter": segmenter().name,
        "tokenizer_sha256": file_digest(TEACHER / "tokenizer.json"),
    }
    head = json.dumps(about, ensure_ascii=False, indent=1).removesuffix("\n}")
    body = ",\n  ".join(rows)
    GOLDEN.write_text(f'{head},\n "rows": [\n  {body}\n ]\n}}\n', encoding="utf-8")
    sys.stdout.write(f"{GOLDEN}: {len(rows)} sentences\n")


if __name__ == "__main__":
    regenerate()
