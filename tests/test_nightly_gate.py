"""distill_jobs/nightly/gate.py: one bad number is enough to keep the champion."""

import dataclasses
import math

import pytest

from distill_jobs.nightly.gate import Facts, GateRules, judge

GOOD = Facts(
    challenger="2026-11-21-00000002",
    compared="2026-11-20-00000001",
    champion="2026-11-20-00000001",
    rolled_back=(),
    retention=0.97,
    minus_champion=(0.001, -0.004, 0.006),
    best_retention=0.975,
    slower=1.02,
    larger=1.0,
    faults=(),
    drift={
        "unknown_tokens": 0.01,
        "unknown_words": 0.1,
        "length_change": 0.05,
        "idf_change": 0.2,
        "centroid_shift": 0.1,
        "cosine": 0.8,
    },
)


def spoiled(**changes):
    drift = {name: changes.pop(name) for name in GOOD.drift if name in changes}
    return dataclasses.replace(GOOD, drift={**GOOD.drift, **drift}, **changes)


def failed(facts, **rules):
    found = judge(GateRules(**rules), facts)
    return [one.rule for one in found.rulings if not one.passed]


def test_a_sound_challenger_that_is_no_worse_is_promoted():
    decision = judge(GateRules(), GOOD)
    assert decision.promote
    assert decision.failed == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"champion": "2026-11-19-00000000"}, "champion unchanged"),
        ({"champion": None}, "champion unchanged"),
        ({"rolled_back": ("2026-11-21-00000002",)}, "not rolled back"),
        ({"faults": ("3 of 9 vectors hold NaN or infinity",)}, "sound vectors"),
        ({"retention": 0.89, "best_retention": 0.9}, "retention"),
        ({"retention": 0.95}, "best so far"),
        ({"minus_champion": (-0.004, -0.011, 0.003)}, "not worse by more than the margin"),
        ({"minus_champion": (-0.004, -0.006, -0.001)}, "not shown to be worse"),
        ({"slower": 1.3}, "latency"),
        ({"larger": 1.2}, "size"),
        ({"unknown_tokens": 0.06}, "unknown tokens"),
        ({"unknown_words": 0.5}, "unknown words"),
        ({"length_change": 0.6}, "length change"),
        ({"idf_change": 0.8}, "idf change"),
        ({"centroid_shift": 0.6}, "centroid shift"),
        ({"cosine": 0.4}, "cosine on new rows"),
    ],
)
def test_each_rule_alone_keeps_the_champion(changes, rule):
    assert failed(spoiled(**changes)) == [rule]


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"retention": math.nan}, ["retention", "best so far"]),
        ({"retention": None}, ["retention", "best so far"]),
        ({"minus_champion": None}, ["not worse by more than the margin", "not shown to be worse"]),
        ({"slower": math.nan}, ["latency"]),
        ({"larger": None}, ["size"]),
        ({"centroid_shift": math.nan}, ["centroid shift"]),
    ],
)
def test_a_number_that_is_none_fails_its_rule_and_is_told_as_not_known(changes, rules):
    facts = spoiled(**changes)
    assert failed(facts) == rules
    assert all(one.number is None for one in judge(GateRules(), facts).rulings if not one.passed)
    assert "not known" in judge(GateRules(), facts).failed[0]


def test_without_a_champion_only_what_needs_none_is_judged():
    first = dataclasses.replace(
        GOOD,
        compared=None,
        champion=None,
        minus_champion=None,
        best_retention=None,
        slower=None,
        larger=None,
        drift={"cosine": 0.8},
    )
    rules = [one.rule for one in judge(GateRules(), first).rulings]
    assert rules == [
        *("champion unchanged", "not rolled back", "sound vectors", "retention"),
        "cosine on new rows",
    ]
    assert judge(GateRules(), first).promote


def test_a_bound_is_met_by_the_very_number():
    assert failed(spoiled(retention=0.95, best_retention=0.97), most_lost_since_best=0.02) == []
    assert failed(spoiled(minus_champion=(-0.01, -0.01, 0.0)), margin=0.01) == []


def test_nights_that_each_lose_within_the_margin_do_not_add_up():
    """Ten nights, each 0.009 worse than the last champion: two are promoted."""
    retention, best, promoted = 0.98, 0.98, 0
    for _ in range(10):
        challenger = round(retention - 0.009, 4)
        facts = spoiled(
            retention=challenger, best_retention=best, minus_champion=(-0.009, -0.0095, 0.001)
        )
        if judge(GateRules(), facts).promote:
            retention, promoted = challenger, promoted + 1
    assert (promoted, round(best - retention, 4)) == (2, 0.018)


def test_the_reasons_have_the_number_and_the_bound():
    found = judge(GateRules(least_retention=0.95), spoiled(retention=0.9, best_retention=None))
    assert found.failed == ["it keeps 0.9 of its teacher, and must keep at least 0.95"]


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_a_bound_that_means_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="margin must be 0 or more, got"):
        GateRules(margin=bad)
