"""evaluation/report.py: one HTML file that says what was found and needs nothing else."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from distill_jobs.evaluation import plots, report, report_tables, scoreboard
from distill_jobs.evaluation.compare import compare
from distill_jobs.evaluation.models import Model, tfidf
from distill_jobs.evaluation.result import Result
from tests.evaluation_kit import classes_set, pairs_set, teacher_vectors

MINE = Model("mine", lambda texts: teacher_vectors(texts) + 1)
CONSTANT = Model("constant", lambda texts: np.ones((len(texts), 8)))
CARD = {"file_bytes": 5_000_000, "teacher_bytes": 20_000_000, "teacher_sentences_per_second": 1.0}


def result_of(*students: Model) -> Result:
    compared = [Model("teacher/idf", teacher_vectors), *students, tfidf(0)]
    return compare(compared, [pairs_set(), classes_set()], budgets=(4,), seed=0)


@pytest.fixture(scope="module")
def found() -> Result:
    return result_of(
        Model("mine", lambda texts: teacher_vectors(texts) + 1, CARD),
        Model("<b>odd</b>", lambda texts: teacher_vectors(texts)[:, 4:]),
    )


@pytest.fixture(scope="module")
def page(found) -> str:
    return report.render(found, "python -m distill_jobs evaluate --tasks sets", "abc123")


class Balance(HTMLParser):
    """Counts open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_element_is_closed(page):
    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_nothing_is_loaded_from_elsewhere(page):
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)", page)
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_the_headline_is_of_the_student_that_keeps_most(page):
    assert "What mine keeps of its teacher" in page
    assert "1/4.0" in page


def test_every_value_of_the_table_is_there(found, page):
    for column in found.columns():
        for model in found.models:
            score = found.score(model, column)
            assert score is None or f"{score.value:.3f}" in page


def test_a_name_cannot_become_markup(page):
    assert "<b>odd</b>" not in page
    assert "&lt;b&gt;odd&lt;/b&gt;" in page


def test_the_same_result_gives_the_same_page(found, page):
    assert report.render(found, "python -m distill_jobs evaluate --tasks sets", "abc123") == page


def test_the_story_is_told_before_any_table(page):
    assert page.index("<dt>How close</dt>") < page.index("<table>")
    assert "<dt>What to choose</dt>" in page


def test_nothing_is_red_when_nothing_is_wrong():
    page = report.render(result_of(MINE), "command", "abc123")
    assert "does not stand in for its teacher" not in page
    assert '<section class="bad"' not in page


def test_a_bad_student_is_red_at_the_very_top():
    page = report.render(result_of(MINE, CONSTANT), "command", "abc123")
    said = "<b>constant does not stand in for its teacher:</b> its vectors are the same for every"
    assert page.index('<section class="bad"') < page.index(said) < page.index("<h1>")
    assert "What mine keeps of its teacher" in page


def test_own_documents_and_the_teacher_s_stand_side_by_side(found, page):
    tasks, lines = report_tables.asymmetric(found)
    assert tasks == ["same"]
    assert [name for name, _ in lines] == ["teacher/idf", "mine"]  # the other is narrower
    own, index = (found.score("mine", ("same", f"{way}ndcg@10")) for way in ("", "index_"))
    ((shown_own, shown_index),) = lines[1][1]
    assert shown_own == f"{own.value:.3f}"
    assert shown_index == f"{index.value:.3f} · {found.retention(index).value:.1%}"
    assert f"index {shown_index}" in page


def test_the_worst_disagreements_are_readable(found, page):
    for one in found.disagreements["mine"]:
        assert f"{one.first}<br>{one.second}" in page


@pytest.fixture(scope="module")
def crowd() -> Result:
    def noisy(number):
        def encode(texts):
            own = np.random.default_rng(number).normal(size=(len(texts), 8))
            return teacher_vectors(texts) + number * own / 8

        return encode

    card = {**CARD, "train_seconds": 1.0}
    many = [Model(f"student-{n}", noisy(n), {**card, "file_bytes": 10**6 + n}) for n in range(25)]
    return result_of(*many)


def test_with_many_students_pictures_show_the_best_and_tables_all(crowd):
    assert len(crowd.shown()) == 9
    assert crowd.shown()[0] == "teacher/idf"
    assert crowd.shown()[-1] == "baseline/tfidf"
    means = [crowd.mean(name).value for name in crowd.students]
    assert {crowd.mean(n).value for n in crowd.shown()[1:-1]} <= set(sorted(means)[-9:])
    page = report.render(crowd, "command", "abc123")
    assert "18 other students" in page
    for name in crowd.students:
        assert page.count(name) >= 5  # glance, tasks, lengths, sets, cards
    assert max(map(len, scoreboard.text(crowd).splitlines()[-9:])) < 160


def test_names_beside_points_keep_their_distance(crowd):
    levels = sorted(np.random.default_rng(0).random(12) ** 3)
    found = np.array(plots.spread(levels, 0.062))
    assert (np.diff(found) > 0.0619).all()
    assert found[-1] <= 1


def test_teachers_can_be_compared_without_a_student():
    page = report.render(result_of(), "command", "abc123")
    assert "teacher/idf on labelled sets" in page


def test_a_folder_knows_which_run_wrote_its_report(found, tmp_path):
    assert report.written_by(tmp_path) is None
    report.write(tmp_path, found, "command", "abc123")
    assert report.written_by(tmp_path) == ("abc123", 0.8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.txt"]
