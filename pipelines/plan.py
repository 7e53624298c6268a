"""What a teacher run would cost, from a probe, before anybody pays for it."""

import itertools
import time
from typing import TYPE_CHECKING

from pipelines.embedding import Teacher, embed, token_budget
from pipelines.reading import Inputs, Range, read_records
from pipelines.sentences import clean_records
from schemas import store, vectors
from schemas.prepare import Preparer
from schemas.text import sentence_id

if TYPE_CHECKING:
    from pipelines.teacher import TeacherConfig

PROBE = 1000  # sentences


def rest(left: int, done: int, seconds: float, size: int) -> dict[str, float]:
    """Hours and bytes for the sentences that a run has left, at its own rates.

    >>> rest(left=3600, done=100, seconds=100.0, size=5000)
    {'rest_hours': 1.0, 'rest_bytes': 180000}
    """
    share = left / done if done else 0.0
    return {"rest_hours": round(seconds * share / 3600, 3), "rest_bytes": round(size * share)}


def estimate(
    inputs: Inputs, preparer: Preparer, teacher: Teacher, config: "TeacherConfig", dtype: str
) -> dict[str, object]:
    """Embed up to 1,000 sentences spread over the corpus, and extrapolate.

    Returns:
        Sentences, share already in the store, hours of one worker like this one, and bytes.
    """
    texts = probe(inputs.ranges, PROBE)
    count = sum(1 for piece in inputs.ranges for _ in read_records(piece))
    known = _share_known(texts, config.out)
    began = time.monotonic()
    prepared = [one for one in preparer.prepare(texts) if one.weights.any()]
    prepare_seconds = time.monotonic() - began
    if not prepared:
        raise ValueError(
            f"the tokenizer sees nothing in {len(texts)} sentences: no characters of it"
        )
    ids, weights = [one.token_ids for one in prepared], [one.weights for one in prepared]
    budget = token_budget(teacher, config.token_budget)
    embed(teacher, ids[:64], weights[:64], config.pooling, budget)  # warm up
    began = time.monotonic()
    embedded = embed(teacher, ids, weights, config.pooling, budget)
    seconds = time.monotonic() - began
    width = next(iter(embedded.vectors.values())).shape[1]
    vector_bytes = vectors.bytes_per_vector(config.pca or width, config.vector_dtype)
    row_bytes = len(config.pooling) * vector_bytes + 8 * embedded.tokens / len(ids) + 70
    new = round(count * (1 - known))
    return {
        "teacher": config.teacher,
        "device": teacher.device.type,
        "dtype": dtype,
        "probe_sentences": len(texts),
        "corpus_sentences": count,
        "share_in_store": round(known, 3),
        "new_sentences": new,
        "tokens_per_sentence": round(embedded.tokens / len(ids), 1),
        "teacher_sentences_per_second": round(len(ids) / seconds, 1),
        "teacher_hours": round(new * seconds / len(ids) / 3600, 3),
        "prepare_hours": round(new * prepare_seconds / len(ids) / 3600, 3),
        "store_bytes": round(new * row_bytes),
    }


def probe(ranges: list[Range], size: int) -> list[str]:
    """Up to `size` sentences from the starts of all ranges; the same for the same corpus.

    Raises:
        ValueError: if there are none.
    """
    each = -(-size // max(1, len(ranges)))
    texts: list[str] = []
    for piece in ranges:
        records = clean_records(read_records(piece))
        texts += [text for text, reason, _ in itertools.islice(records, each) if reason is None]
    if not texts:
        raise ValueError("the corpus is empty: no sentence at the start of any file")
    return texts[:size]


def _share_known(texts: list[str], location: str) -> float:
    """Share of the sentences that the store already has."""
    if not store.exists(location):
        return 0.0
    ids = sorted({sentence_id(text) for text in texts})
    opened = store.open_store(location)
    known = {key.as_py() for keys in opened.keys(ids[0], ids[-1]) for key in keys}
    return sum(one in known for one in ids) / len(ids)
