"""The steps of a compressed student -> what its model card says of them."""

from collections.abc import Mapping
from typing import Any


def section(card: Mapping[str, Any]) -> str:
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
