"""The card of an export, compressed or not -> its README, the model card."""

import re
from collections.abc import Mapping
from typing import Any

from distill_jobs.backends import FILES
from distill_jobs.objectives import RELATIONS


def model_card(card: Mapping[str, Any]) -> str:
    """The README of an export, compressed or not, with the numbers of this very student."""
    scores = card["validation"]
    return f"""---
language: zh
pipeline_tag: sentence-similarity
base_model: {card["teacher_name"]}
---

# {card["student"]} student of {card["teacher_name"]}

Chinese sentence vectors of {card["hidden"]} numbers, distilled as in LTD-BERT (Tencent QQ): the
student learned the {card["pooling"]}-pooled vectors of its teacher on {_sentences(card):,}
sentences, objective `{card["objective"]}`. It stands in for the teacher in matching,
classification, clustering and retrieval, and its vectors lie in {_space(card)}.

| | student | teacher |
|---|---|---|
| parameters | {card["parameters"]:,} | {card["teacher_parameters"]:,} |
| bytes of weights | {card["file_bytes"]:,} | {card["teacher_bytes"]:,} |

{_files(card)}
On held-out sentences of its corpus: Spearman of pair similarities against the teacher's
{scores["spearman"]:.3f}, mean cosine to the teacher's vector {scores["cosine"]:.3f}, share of
variance missed {scores["unexplained"]:.3f}. Its quality on labelled sets is in the evaluation
report, not here.

```python
from distill_jobs.encoder import SentenceEncoder

encoder = SentenceEncoder.load("this folder")
vectors = encoder.encode(["今天天气怎么样", "明天会下雨吗"])
```

{_needs(card)} {_knows(card)}Sentences longer than the teacher's limit are cut. The
vectors carry whatever bias the corpus and the teacher have.
{_compressed(card)}"""


def _sentences(card: Mapping[str, Any]) -> int:
    """How many were learned; an older export knows only how many its store had."""
    return int(card.get("train_rows", card["store_rows"]))


def _space(card: Mapping[str, Any]) -> str:
    """Whose vectors the student's can be compared with, for the model card."""
    learned = {re.split("[@=]", term.strip())[0] for term in card["objective"].split(",")}
    shortened = any(step["verb"] == "dimensions" for step in card.get("compressed", []))
    # Relations compare sentences with each other, and leave open how the whole is turned.
    if shortened or learned <= set(RELATIONS):
        return "a space of their own"
    target = card.get("target", "teacher")
    return "the teacher's space" if target == "teacher" else f"the space of target {target}"


def _compressed(card: Mapping[str, Any]) -> str:
    return f"\n{_section(card)}" if card.get("compressed") else ""


def _files(card: Mapping[str, Any]) -> str:
    """The weights, for the model card."""
    lines = ["| file | bytes | cosine to torch's vectors, mean and least |", "|---|---|---|"]
    if "onnx-int8" in card["backends"]:  # else it was compressed until only one file was left
        lines += [f"| {FILES['torch']} | {card['file_bytes']:,} | |"]
    for name, facts in card["backends"].items():
        cosines = f"{facts['cosine']:.6f}, {facts['least_cosine']:.6f}"
        lines += [f"| {FILES[name]} | {facts['file_bytes']:,} | {cosines} |"]
    return "\n".join(lines) + "\n"


def _knows(card: Mapping[str, Any]) -> str:
    """What a student of fewer tokens does not tell apart, for the model card."""
    kept = card["student_config"].get("kept")
    if not kept:
        return ""
    return (
        f"It tells {kept:,} tokens apart;\n{card['unknown_rate']:.2%} of those in the held-out "
        "sentences are none of them.\n"
    )


def _needs(card: Mapping[str, Any]) -> str:
    """What the student needs beside its weights, for the model card."""
    pooling = card["student_config"].get("pooling", "idf")
    if pooling != "idf":
        return f"It pools by {pooling} weights: it needs its tokenizer, and no words."
    words, sentences = card["idf_words"], card["idf_sentences"]
    return (
        f"The tokenizer, the IDF table ({words:,} words of {sentences:,} sentences)\n"
        "and the segmenter settings are in the folder."
    )


def _section(card: Mapping[str, Any]) -> str:
    """The last section of the model card, with what every step did."""
    lines = [
        "## Compressed",
        "",
        "By `python -m distill_jobs compress`, step by step; nothing was trained after it. What is",
        "said above of held-out sentences was measured before. Cosines are to the student of the",
        "step before, neighbours the share of the 10 nearest sentences that stayed the same.",
        "",
        "| step | settings | bytes before | bytes after | cosine, mean and least | neighbours |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(step) for step in card["compressed"]]
    if any(step["verb"] == "dimensions" for step in card["compressed"]):
        lines += ["", "Its vectors are shorter than the teacher's and lie in a space of their own."]
    return "\n".join(lines) + "\n"


def _row(step: Mapping[str, Any]) -> str:
    told = {name: value for name, value in step["settings"].items() if name != "sentences"}
    settings = ", ".join(f"{name} {value}" for name, value in told.items())
    sizes = [", ".join(_sizes(step[when])) for when in ("bytes_before", "bytes_after")]
    alike = ["", ""]
    if "cosine" in step:
        cosines = f"{step['cosine']:.4f}, {step['least_cosine']:.4f}"
        alike = [cosines, f"{step['neighbours']:.3f}"]
    return f"| {' | '.join([step['verb'], settings, *sizes, *alike])} |"


def _sizes(files: Mapping[str, int]) -> list[str]:
    return [f"{name} {size:,}" for name, size in files.items()]
