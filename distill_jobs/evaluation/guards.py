"""What is known of a student -> what is wrong with it, in words; nothing is wrong with most."""

import math
from collections.abc import Mapping

from distill_jobs.evaluation.likeness import Likeness

LEAST_KEPT = 0.8  # share of the reference's mean value, unless another is asked for
LEAST_SPREAD = 0.01  # of the reference's; spread is 1 - the mean cosine of two texts
LEAST_GAIN = 0.05  # of the way from permuted texts (0) to the reference itself (1)
LEAST_AGREEMENT = 0.05  # Spearman of random pairs
_SAME_SPACE = ("mse", "l2", "cosine", "infonce")  # objectives that compare vectors themselves


def broken(mine: Likeness, reference: Likeness, card: Mapping[str, object]) -> list[str]:
    """What is wrong with a student's vectors, whatever they score.

    Args:
        mine: the student's likeness to the reference.
        reference: the reference's own.
        card: the student's; one that was trained on relations alone has a space of its own, and is
            judged by its cosines of pairs.
    """
    found = []
    if mine.flawed:
        found.append(
            f"{mine.flawed:,} of {mine.texts:,} vectors hold NaN or infinity (zeros stood for them)"
        )
    if mine.flawed == mine.texts:
        return found
    if math.isnan(mine.first_component):
        found.append("its vectors are the same for every text")
    elif 1 - mine.pair_cosine < LEAST_SPREAD * (1 - reference.pair_cosine):
        found.append(
            "its vectors are nearly the same for every text: two texts have a mean cosine of "
            f"{mine.pair_cosine:.4f}, its teacher's {reference.pair_cosine:.4f}"
        )
    elif not _aligned(mine, card):
        found.append(_misaligned(mine, card))
    return found


def kept_too_little(kept: float | None, least: float) -> list[str]:
    """What to say of a share of the reference's mean value, to 4 digits as summaries give it.

    >>> kept_too_little(0.93, 0.95), kept_too_little(0.95, 0.95)
    (['it keeps 93.0%, less than 95.0%'], [])
    """
    if kept is not None and round(kept, 4) >= least:
        return []
    shown = "-" if kept is None or math.isnan(kept) else f"{kept:.1%}"
    return [f"it keeps {shown}, less than {least:.1%}"]


def _aligned(mine: Likeness, card: Mapping[str, object]) -> bool:
    """Whether texts are nearer to their own teacher vector than to others', beyond chance."""
    if mine.gain is None or mine.permuted is None or not _shares_space(card):
        return mine.agreement.low > 0 and mine.agreement.value >= LEAST_AGREEMENT
    return mine.gain.low > 0 and mine.gain.value >= LEAST_GAIN * (1 - mine.permuted)


def _misaligned(mine: Likeness, card: Mapping[str, object]) -> str:
    if mine.gain is None or mine.permuted is None or not _shares_space(card):
        return (
            "its cosines of random pairs have nothing to do with its teacher's: Spearman "
            f"{mine.agreement.value:.3f} ({mine.agreement.low:.3f} to {mine.agreement.high:.3f})"
        )
    own = mine.permuted + mine.gain.value
    return (
        "its vectors are no nearer to its teacher's than if the texts were permuted: cosine "
        f"{own:.3f}, permuted {mine.permuted:.3f}"
    )


def _shares_space(card: Mapping[str, object]) -> bool:
    objective = str(card.get("objective", _SAME_SPACE[0]))
    names = [term.strip().partition("=")[0].partition("@")[0] for term in objective.split(",")]
    return any(name in _SAME_SPACE for name in names)
