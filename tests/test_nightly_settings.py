"""distill_jobs/nightly: the settings file, and logical dates."""

import datetime
import zoneinfo
from pathlib import Path

import pytest

from distill_jobs.nightly import catch_up, dates
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.job import NightlyConfig
from distill_jobs.nightly.partition import find
from distill_jobs.nightly.rollback import RollbackConfig
from distill_jobs.nightly.settings import read_settings

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
WHOLE = """
home = "home"
corpus = ["texts/{date}.txt.gz", "s3://lake/{date}/part-*.parquet"]
teacher = "hub/name"
idf = "idf"
store = "store"
tasks = "/sets"
labelled = "s3://lake/labelled"
"""


def settings_of(folder, text):
    path = folder / "nightly.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def test_paths_are_relative_to_the_file_and_urls_and_hub_names_stay(tmp_path):
    found = settings_of(tmp_path, WHOLE)
    assert found.home == tmp_path / "home"
    local, remote = found.corpus
    assert local == str(tmp_path / "texts" / "{date}.txt.gz")
    assert remote == "s3://lake/{date}/part-*.parquet"
    assert (found.teacher, found.labelled) == ("hub/name", "s3://lake/labelled")
    assert found.tasks == Path("/sets")


def test_flags_of_the_first_night_stand_beside_those_of_all(tmp_path):
    text = f"{WHOLE}[train]\nepochs = 1\nlearning_rate = 1\n[first]\nepochs = 9\n"
    found = settings_of(tmp_path, text)
    assert found.train == {"epochs": 1, "learning_rate": 1.0}
    assert found.first == {"epochs": 9}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("home = 'a'", "corpus is missing"),
        (f"hom = 1{WHOLE}", "has no setting 'hom'; it has corpus, "),
        (f"{WHOLE}keep = 1", "keep must be at least 2, for rollback, got 1"),
        (f"{WHOLE}keep = '3'", "keep must be int, got '3'"),
        (f"{WHOLE}timezone = 'Mars/Base'", "timezone must be an IANA name .* got 'Mars/Base'"),
        (f"{WHOLE}timezone = '../../etc/passwd'", "timezone must be an IANA name"),
        (f"{WHOLE}late_hours = -1", "late_hours must be 0 or more, got -1.0"),
        (f"{WHOLE}max_bad_fraction = 2", "max_bad_fraction must be 0 to 1, got 2.0"),
        (f"{WHOLE}gate = 3", "gate must be a table, got 3"),
        (f"{WHOLE}[gate]\nmargins = 1", r"\[gate\] has no setting 'margins'; it has least_cosine"),
        (f"{WHOLE}[gate]\nmargin = 'a'", "margin must be float, got 'a'"),
        (f"{WHOLE}[gate]\nmargin = -0.1", r"\[gate\]: margin must be 0 or more, got -0.1"),
        (f"{WHOLE}[train]\nstore = 'a'", r"\[train\] has no setting 'store'"),
        (f"{WHOLE}[train]\nepochs = 0", r"\[train\]: epochs must be at least 1, got 0"),
        (f"{WHOLE}[first]\nobjective = 'mes'", r"\[first\]: "),
        (f"{WHOLE}[evaluate]\nbudgets = ['a']", "budgets must be int, got 'a'"),
        (WHOLE.replace("{date}", "today"), "corpus must have {date} in it"),
        (WHOLE.replace("texts/{date}", "*/{date}"), "only the last name of corpus may have wild"),
        ("home = [", "is not TOML"),
    ],
)
def test_a_setting_that_cannot_work_is_named_with_its_value(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        settings_of(tmp_path, text)


@pytest.mark.parametrize("bad", ["../../x", "2026-1-1", "2026-02-30", "20261121", "", "2026-W01-1"])
def test_only_a_date_becomes_a_folder(tmp_path, bad):
    with pytest.raises(ValueError, match="a date must be written YYYY-MM-DD, got"):
        Home(tmp_path).night(bad)
    with pytest.raises(ValueError, match="a date must be written YYYY-MM-DD, got"):
        NightlyConfig(settings=tmp_path, date=bad)


@pytest.mark.parametrize("bad", ["../../x", "2026-11-21", "2026-11-21-0a1b2c3d/..", ".removed"])
def test_only_an_id_becomes_a_student_s_folder(tmp_path, bad):
    with pytest.raises(ValueError, match="a student's id is like"):
        Home(tmp_path).student(bad)
    with pytest.raises(ValueError, match="a student's id is like"):
        RollbackConfig(settings=tmp_path, to=bad)


def utc(*numbers):
    return datetime.datetime(*numbers, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        # Clocks in Berlin go from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC: 23 hours.
        (utc(2026, 3, 29, 22, 30), "2026-03-29"),  # 00:30 on the 30th: 24 h before is the 28th
        (utc(2026, 3, 28, 23, 30), "2026-03-28"),  # 00:30 on the 29th
        (utc(2026, 3, 29, 21, 59), "2026-03-28"),  # 23:59 on the 29th
        # and from 03:00 to 02:00 on 25 October, at 01:00 UTC: 25 hours.
        (utc(2026, 10, 25, 22, 30), "2026-10-24"),  # 23:30 on the 25th: 24 h before is the 24th
        (utc(2026, 10, 25, 23, 30), "2026-10-25"),  # 00:30 on the 26th
        (utc(2026, 10, 24, 22, 30), "2026-10-24"),  # 00:30 on the 25th
    ],
)
def test_yesterday_is_the_day_before_whatever_the_clocks_do(now, expected):
    assert dates.yesterday(now, BERLIN) == expected


def test_a_year_of_half_hours_has_each_yesterday_as_long_as_its_day():
    start = utc(2026, 1, 1)
    counts: dict[str, int] = {}
    for half_hour in range(2 * 24 * 365):
        day = dates.yesterday(start + datetime.timedelta(minutes=30 * half_hour), BERLIN)
        counts[day] = counts.get(day, 0) + 1
    assert len(counts) == 366
    assert {day: n for day, n in counts.items() if n not in (2, 46, 48)} == {"2026-10-24": 50} | {
        day: n for day, n in counts.items() if n not in (2, 46, 48, 50)
    }
    assert counts["2026-03-28"] == 46  # it is yesterday during the short day


@pytest.mark.parametrize(
    ("date", "end"),
    [
        ("2026-03-28", utc(2026, 3, 28, 23)),
        ("2026-03-29", utc(2026, 3, 29, 22)),
        ("2026-10-25", utc(2026, 10, 25, 23)),
    ],
)
def test_a_day_ends_at_midnight_of_its_zone(date, end):
    assert dates.end_of(date, BERLIN) == end


def test_missed_nights_lie_between_the_first_and_this_one_and_have_a_partition():
    there = {"2026-11-18", "2026-11-21", "2026-11-23", "2026-11-24"}
    decided = ["2026-11-20", "2026-11-22"]
    assert catch_up.missed("2026-11-24", decided, there.__contains__) == [
        "2026-11-21",
        "2026-11-23",
    ]
    assert catch_up.missed("2026-11-24", [], there.__contains__) == []


def test_a_partition_has_all_patterns_or_is_missing(tmp_path):
    (tmp_path / "2026-11-21").mkdir()
    patterns = [f"{tmp_path}/{{date}}/part-*.txt", f"{tmp_path}/{{date}}/more.txt"]
    assert find(patterns, "2026-11-21").missing == f"{tmp_path}/2026-11-21/part-*.txt"
    for name in ("part-1.txt", "part-0.txt", "other.txt"):
        (tmp_path / "2026-11-21" / name).write_text(f"{name}\n")
    found = find(patterns, "2026-11-21")
    assert (found.missing, found.paths) == (f"{tmp_path}/2026-11-21/more.txt", ())
    (tmp_path / "2026-11-21" / "more.txt").write_text("")
    found = find(patterns, "2026-11-21")
    names = [path.rsplit("/", 1)[1] for path in found.paths]
    assert names == ["more.txt", "part-0.txt", "part-1.txt"]
    assert (found.missing, found.empty) == (None, f"{tmp_path}/2026-11-21/more.txt")
    assert find(patterns, "2026-11-22").missing == f"{tmp_path}/2026-11-22/part-*.txt"


def test_a_partition_that_was_only_copied_is_the_same(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "2026-11-21.txt").write_text("今天天气\n", encoding="utf-8")
    one, other = (
        find([f"{tmp_path}/{place}/{{date}}.txt"], "2026-11-21").identity for place in "ab"
    )
    assert one == other
    (tmp_path / "b" / "2026-11-21.txt").write_text("明天天气\n", encoding="utf-8")
    assert find([f"{tmp_path}/b/{{date}}.txt"], "2026-11-21").identity != one
