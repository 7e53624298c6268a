"""What the tests share: a random teacher of 8,000 parameters, a corpus, its IDF table, its store.

All of it is made by the real jobs, once a session. Tests read these; what they write to, they make.
"""

import itertools
import os

# Before torch is imported: threads that wait must sleep, the machines of CI are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

# The same examples each time, and no limit on the time of one: machines are shared.
hypothesis_settings.register_profile("house", deadline=None, derandomize=True)
hypothesis_settings.load_profile("house")

DATE = "2026-01-01"
ROWS_PER_PART = 32  # of the corpus below: 5 parts

_DAYS = ["今天", "明天", "后天", "周末", "下个月"]
_CITIES = ["北京", "上海", "广州", "深圳", "成都", "hong kong"]
_QUESTIONS = [
    "天气怎么样？",
    "会下雨吗",
    "有什么好吃的",
    "去机场要多久？",
    "的机票贵不贵",
    "有音乐会吗🎵",
    "气温是25度吗",
    "可以坐地铁ABC吗",
    "的博物馆開放嗎",
    "有地铁吗，到几点？",
]


def small_sentences() -> list[str]:
    """300 different everyday sentences with Latin, digits, traditional script and emoji."""
    return ["".join(one) for one in itertools.product(_DAYS, _CITIES, _QUESTIONS)]


def write_teacher(folder: Path, *, model_vocabulary: int | None = None) -> Path:
    """Save a BERT of 2 layers of width 16 with seeded random weights, and its tokenizer."""
    import tokenizers
    import torch
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), "北", "？", "，", "hong", "kong"]
    seen = sorted({c for text in small_sentences() for c in text if not c.isascii()} - {"🎵"})
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*specials, *pieces, *seen]))}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=model_vocabulary or len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder, safe_serialization=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"})
    )
    return folder


@pytest.fixture(scope="session")
def make_teacher():
    """Function that writes a teacher of its own into a folder, for tests that spoil it."""
    return write_teacher


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "tiny-bert")


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return small_sentences()


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory, sentences) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "small.txt"
    path.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def count():
    """Function (corpus, out, **settings of IdfConfig) that runs the IDF job."""
    from pipelines.idf import IdfConfig, count_idf

    def run(*corpus, out, **settings):
        return count_idf(IdfConfig(corpus=tuple(map(str, corpus)), out=str(out), **settings))

    return run


@pytest.fixture(scope="session")
def embed(tiny_teacher, small_idf):
    """Function (corpus, out, **settings of TeacherConfig) that runs the teacher job in float32."""
    from pipelines.teacher import TeacherConfig, embed_corpus

    defaults = {
        "idf": str(small_idf),
        "teacher": str(tiny_teacher),
        "date": DATE,
        "dtype": "float32",
        "rows_per_part": ROWS_PER_PART,
    }

    def run(*corpus, out, **settings):
        settings = {**defaults, **settings}
        return embed_corpus(TeacherConfig(corpus=tuple(map(str, corpus)), out=str(out), **settings))

    return run


@pytest.fixture(scope="session")
def small_idf(tmp_path_factory, small_corpus, count) -> Path:
    out = tmp_path_factory.mktemp("idf") / "idf"
    count(small_corpus, out=out)
    return out


@pytest.fixture(scope="session")
def small_store(tmp_path_factory, small_corpus, embed) -> Path:
    """Store of the small corpus with all three poolings, in 5 parts; not to be written to."""
    out = tmp_path_factory.mktemp("store") / "store"
    embed(small_corpus, out=out, pooling=("idf", "mean", "cls"))
    return out
