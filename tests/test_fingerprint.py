"""Fingerprints: what differs is named; digests depend on content alone."""

import hashlib

import pytest

from schemas.fingerprint import check_same, digest, file_digest, files_digest


def test_equal_fingerprints_pass_in_any_order():
    check_same({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, of="it")


def test_every_part_that_differs_is_named_with_both_values():
    message = (
        "^the store was made under other conditions: a is '1', wanted '2'; "
        "b is None, wanted '3'; c is '4', wanted None$"
    )
    with pytest.raises(ValueError, match=message):
        check_same({"a": "1", "c": "4", "d": "5"}, {"a": "2", "b": "3", "d": "5"}, of="the store")


def test_a_digest_is_of_the_value_not_of_the_order_of_its_keys():
    assert digest({"a": 1, "b": [2, "三"]}) == digest({"b": [2, "三"], "a": 1})
    assert len(digest({})) == 16


def test_different_values_have_different_digests():
    values = [{}, [], "", None, 0, {"a": 1}, {"a": "1"}, {"a": [1]}, [["a", 1]], "三", ["a", "b"]]
    assert len({digest(value) for value in values}) == len(values)


def test_a_file_s_digest_is_its_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 100_000)
    assert file_digest(tmp_path / "f") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_the_digest_of_a_folder_covers_the_named_files_and_no_others(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    both = files_digest(tmp_path, ["a", "b", "missing"])
    assert files_digest(tmp_path, ["b", "a"]) == both
    (tmp_path / "c").write_text("3")
    assert files_digest(tmp_path, ["a", "b"]) == both
    (tmp_path / "b").write_text("1")
    (tmp_path / "a").write_text("2")
    assert files_digest(tmp_path, ["a", "b"]) != both
