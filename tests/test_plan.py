"""What a run would cost: counts that are true, rates that extrapolate, and nothing written."""

import pytest

from pipelines.plan import probe, rest
from pipelines.reading import plan_ranges


def planned(embed, *corpus, out, **settings):
    return embed(*corpus, out=out, plan=True, **settings)


def test_the_plan_counts_the_corpus_and_guesses_size_and_time(
    tmp_path, embed, small_corpus, small_store
):
    told = planned(embed, small_corpus, out=tmp_path / "s", pooling=("idf", "mean", "cls"))
    assert (told["corpus_sentences"], told["probe_sentences"]) == (300, 300)
    assert (told["share_in_store"], told["new_sentences"]) == (0.0, 300)
    real = sum(path.stat().st_size for path in small_store.rglob("*.parquet"))
    assert 0.3 < told["store_bytes"] / real < 3
    assert told["teacher_sentences_per_second"] > 0
    assert told["teacher_hours"] >= 0
    assert (told["device"], told["dtype"]) == ("cpu", "float32")
    assert list(tmp_path.iterdir()) == []


def test_the_plan_subtracts_what_the_store_has(tmp_path, embed, sentences):
    (tmp_path / "half.txt").write_text("\n".join(sentences[:150]), encoding="utf-8")
    (tmp_path / "all.txt").write_text("\n".join(sentences), encoding="utf-8")
    embed(tmp_path / "half.txt", out=tmp_path / "store")
    before = sorted(tmp_path.rglob("*"))
    told = planned(embed, tmp_path / "all.txt", out=tmp_path / "store", date="2026-01-02")
    assert (told["share_in_store"], told["new_sentences"]) == (0.5, 150)
    assert sorted(tmp_path.rglob("*")) == before


def test_of_a_large_corpus_1000_sentences_are_probed(tmp_path, embed):
    lines = [f"今天{n}度" for n in range(1500)]
    (tmp_path / "large.txt").write_text("\n".join(lines), encoding="utf-8")
    told = planned(embed, tmp_path / "large.txt", out=tmp_path / "s")
    assert (told["probe_sentences"], told["corpus_sentences"]) == (1000, 1500)


def test_a_probe_takes_as_much_from_the_start_of_every_range(tmp_path):
    for name in "ab":
        lines = "".join(f"{name}{number}\n" for number in range(9))
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    ranges = plan_ranges([f"{tmp_path}/*.txt"], ("text",)).ranges
    assert probe(ranges, 4) == ["a0", "a1", "b0", "b1"]
    assert probe(ranges, 4) == probe(ranges, 4)
    assert len(probe(ranges, 100)) == 18


def test_a_corpus_in_which_the_tokenizer_sees_nothing_has_no_plan(tmp_path, embed):
    (tmp_path / "accents.txt").write_text("\u0301\n\u0302\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the tokenizer sees nothing in"):
        planned(embed, tmp_path / "accents.txt", out=tmp_path / "s")


def test_the_rest_is_extrapolated_from_the_run_itself():
    assert rest(left=0, done=10, seconds=5.0, size=100) == {"rest_hours": 0.0, "rest_bytes": 0}
    assert rest(left=20, done=10, seconds=1800.0, size=100) == {
        "rest_hours": 1.0,
        "rest_bytes": 200,
    }
    assert rest(left=20, done=0, seconds=0.0, size=0) == {"rest_hours": 0.0, "rest_bytes": 0}
