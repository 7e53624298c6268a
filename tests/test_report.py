"""distill_jobs/report.py: one HTML file that says what was found and needs nothing else."""

import re
from html.parser import HTMLParser

import pytest

from distill_jobs import report
from distill_jobs.compare import compare
from distill_jobs.models import Model, tfidf
from distill_jobs.result import Result
from tests.evaluation_kit import classes_set, pairs_set, teacher_vectors

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


def test_teachers_can_be_compared_without_a_student():
    page = report.render(result_of(), "command", "abc123")
    assert "teacher/idf on labelled sets" in page


def test_a_folder_knows_which_run_wrote_its_report(found, tmp_path):
    assert report.written_by(tmp_path) is None
    report.write(tmp_path, found, "command", "abc123")
    assert report.written_by(tmp_path) == "abc123"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.txt"]
