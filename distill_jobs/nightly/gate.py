"""Rules and facts -> whether the challenger takes the champion's place, with a reason per rule.

A pure function: everything that it judges by is in its arguments, and every number that it saw is
in its answer. A number that is NaN, or should be there and is not, fails its rule.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateRules:
    """Bounds; retention and differences are in shares of the teacher's mean value, or of 1."""

    least_retention: float = 0.9
    """Share of the teacher's mean value that a student must keep."""
    margin: float = 0.01
    """How much worse than the champion the lower end of the paired 95 % interval may be."""
    most_lost_since_best: float = 0.02
    """Retention that may be lost against the best student ever promoted on the same sets: many
    nights that each lose a little within the margin would otherwise add up."""
    most_slower: float = 1.25
    """Time of a sentence, in shares of the champion's beside it."""
    most_larger: float = 1.1
    """Bytes of the served file, in shares of the champion's."""
    most_unknown_tokens: float = 0.05
    """Share of the night's tokens that the tokenizer does not know."""
    most_unknown_words: float = 0.4
    """Share of the night's words, counted once a sentence, that the pinned IDF table lacks."""
    most_length_change: float = 0.5
    """Change of the mean tokens of a sentence, in shares of the earlier rows'."""
    most_idf_change: float = 0.5
    """Mean change of the IDF of words that came, in nats, if all nights were merged into the pinned
    table: it is then time to move it."""
    most_centroid_shift: float = 0.5
    """Distance of the night's mean teacher vector from the earlier rows', in their spread."""
    least_cosine: float = 0.5
    """Mean cosine of the challenger's vectors of new rows to the teacher's, both centred."""

    def __post_init__(self) -> None:
        """Reject bounds that mean nothing."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{field.name} must be 0 or more, got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What the gate judges by; None where there is nothing to compare with.

    Attributes:
        challenger: id of the student.
        compared: id of the champion that it was compared with.
        champion: id of the champion now.
        rolled_back: ids of students that were rolled back from.
        retention: share of the teacher's mean value that the challenger keeps.
        minus_champion: how much higher its mean value is: value, low, high of the paired interval.
        best_retention: the highest of all students promoted on the same sets.
        slower: its time of a sentence, in shares of the champion's.
        larger: its bytes, in shares of the champion's.
        faults: what is wrong with its vectors, in words.
        drift: measured on the night's rows, by the names of `distill_jobs.nightly.drift`.
    """

    challenger: str
    compared: str | None
    champion: str | None
    rolled_back: tuple[str, ...]
    retention: float | None
    minus_champion: tuple[float, float, float] | None
    best_retention: float | None
    slower: float | None
    larger: float | None
    faults: tuple[str, ...]
    drift: Mapping[str, float | None]


@dataclasses.dataclass(frozen=True)
class Ruling:
    """What one rule says.

    Attributes:
        rule: its name.
        number: that was judged, None if it is not a number or not there.
        bound: what it was held against, None for a rule without a number.
        passed: whether it is met.
        reason: the same in words.
    """

    rule: str
    number: float | None
    bound: float | None
    passed: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """Whether to promote, and why."""

    rulings: tuple[Ruling, ...]

    @property
    def promote(self) -> bool:
        """All rules are met."""
        return all(one.passed for one in self.rulings)

    @property
    def failed(self) -> list[str]:
        """The reasons of the rules that are not met."""
        return [one.reason for one in self.rulings if not one.passed]

    def plain(self) -> list[dict[str, Any]]:
        """The rulings as JSON values."""
        return [dataclasses.asdict(one) for one in self.rulings]


def judge(rules: GateRules, facts: Facts) -> Decision:
    """Decide.

    >>> facts = Facts(challenger="b", compared=None, champion=None, rolled_back=(), retention=0.8,
    ...     minus_champion=None, best_retention=None, slower=None, larger=None, faults=(), drift={})
    >>> judge(GateRules(), facts).failed
    ['it keeps 0.8 of its teacher, and must keep at least 0.9']
    """
    return Decision(
        tuple(
            [*_states(facts), *_quality(rules, facts), *_costs(rules, facts), *_drift(rules, facts)]
        )
    )


def _states(facts: Facts) -> Iterator[Ruling]:
    """Rules without a number."""
    same = facts.champion == facts.compared
    moved = f"it was compared with {facts.compared or 'none'}, but {facts.champion} serves now"
    still = f"{facts.champion or 'none'} still serves, with which it was compared"
    yield Ruling("champion unchanged", None, None, same, still if same else moved)
    back = facts.challenger in facts.rolled_back
    said = f"{facts.challenger} was rolled back from"
    never = f"{facts.challenger} was never rolled back from"
    yield Ruling("not rolled back", None, None, not back, said if back else never)
    found = "; ".join(facts.faults)
    yield Ruling("sound vectors", len(facts.faults), 0, not facts.faults, found or "no fault found")


def _quality(rules: GateRules, facts: Facts) -> Iterator[Ruling]:
    yield _least("retention", facts.retention, rules.least_retention, "it keeps", " of its teacher")
    if facts.compared is not None:
        _, low, high = facts.minus_champion or (math.nan,) * 3
        what = "the lower end of its difference to the champion is"
        yield _least("not worse by more than the margin", low, -rules.margin, what)
        what = "the upper end of its difference to the champion is"
        yield _least("not shown to be worse", high, 0.0, what)
    if facts.best_retention is not None:
        least = round(facts.best_retention - rules.most_lost_since_best, 4)
        what = f"against the best so far ({facts.best_retention:.4g}) it keeps"
        yield _least("best so far", facts.retention, least, what)


def _costs(rules: GateRules, facts: Facts) -> Iterator[Ruling]:
    if facts.compared is not None:
        what = "of the champion's time of a sentence it takes"
        yield _most("latency", facts.slower, rules.most_slower, what)
        yield _most("size", facts.larger, rules.most_larger, "of the champion's bytes it has")


def _drift(rules: GateRules, facts: Facts) -> Iterator[Ruling]:
    bounds = {
        "unknown_tokens": (rules.most_unknown_tokens, "the share of unknown tokens is"),
        "unknown_words": (rules.most_unknown_words, "the share of words without an IDF is"),
        "length_change": (rules.most_length_change, "the mean length changed by a share of"),
        "idf_change": (
            rules.most_idf_change,
            "words that came would change their IDF by a mean of",
        ),
        "centroid_shift": (rules.most_centroid_shift, "the mean teacher vector moved by"),
    }
    for name, (bound, what) in bounds.items():
        number = facts.drift.get(name)
        if number is not None:
            yield _most(name.replace("_", " "), number, bound, what)
    number = facts.drift.get("cosine")
    if number is not None:
        what = "on the night's rows its mean cosine to the teacher is"
        yield _least("cosine on new rows", number, rules.least_cosine, what)


def _least(rule: str, number: float | None, bound: float, what: str, tail: str = "") -> Ruling:
    passed = number is not None and number >= bound  # NaN is not
    wanted = "which is" if passed else "and must be"
    if tail:
        wanted = "which is" if passed else "and must keep"
    return Ruling(
        rule,
        _finite(number),
        bound,
        passed,
        f"{what} {_shown(number)}{tail}, {wanted} at least {bound:.4g}",
    )


def _most(rule: str, number: float | None, bound: float, what: str) -> Ruling:
    passed = number is not None and number <= bound
    wanted = "which is" if passed else "and must be"
    return Ruling(
        rule,
        _finite(number),
        bound,
        passed,
        f"{what} {_shown(number)}, {wanted} at most {bound:.4g}",
    )


def _finite(number: float | None) -> float | None:
    """JSON has no NaN."""
    return number if number is not None and math.isfinite(number) else None


def _shown(number: float | None) -> str:
    return "not known" if _finite(number) is None else f"{number:.4g}"
