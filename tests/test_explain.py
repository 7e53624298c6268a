"""Explain: what a sentence becomes, said with words, tokens and weights."""

import json
import math

import pytest

from pipelines import explain
from schemas.idf import IdfTable


def told(capsys, *flags) -> dict[str, object]:
    explain.main(list(map(str, flags)))
    return json.loads(capsys.readouterr().out)


def test_a_sentence_is_shown_with_its_words_tokens_and_weights(capsys, small_idf, tiny_teacher):
    flags = ("--sentence", " 今天 北京ABC\n", "--idf", small_idf, "--teacher", tiny_teacher)
    found = told(capsys, *flags)
    assert found["text"] == "今天 北京ABC"
    table = IdfTable.load(small_idf)
    lookup = table.lookup()
    assert found["words"]["北京"] == pytest.approx(lookup["北京"], abs=1e-3)
    assert found["words"]["ABC"] == pytest.approx(math.log(301 / 31), abs=1e-3)
    assert found["words"][" "] == pytest.approx(lookup.get(" ", table.unseen_idf), abs=1e-3)
    tokens = [token for token, _ in found["tokens"]]
    assert tokens == ["[CLS]", "今", "天", "北", "京", "a", "##b", "##c", "[SEP]"]
    weights = [weight for _, weight in found["tokens"]]
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert weights[0] == weights[-1] == 0


def test_a_table_of_another_segmenter_cannot_explain(tmp_path, capsys, small_idf, tiny_teacher):
    (tmp_path / "user.txt").write_text("天气怎么样 100 n\n", encoding="utf-8")
    flags = ("--sentence", "今天", "--idf", small_idf, "--teacher", tiny_teacher)
    with pytest.raises(SystemExit) as ended:
        told(capsys, *flags, "--user-dictionary", tmp_path / "user.txt")
    assert ended.value.code == 65
    assert "the IDF table was made with segmenter" in capsys.readouterr().err
