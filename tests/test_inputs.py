"""Input files: known by what they hold, and looked at again before the commit."""

import json
import os
import shutil

import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from pipelines import idf, inputs, teacher
from pipelines.inputs import InputFile, check_unchanged, find_files, provenance
from pipelines.reading import plan_ranges
from schemas import store
from schemas.store import open_store

HELLO = "4e0826721642ed8e3a27e7147538ac7b7013a08fe5ae343a8ef09749b7e5790f"


class Lake(LocalFileSystem):
    """A file system with URLs: lake://user:password@/a/b is the local file /a/b."""

    @classmethod
    def scheme(cls):
        return "lake"

    def _list(self, dir_or_prefix):
        for found in super()._list(local(dir_or_prefix)):
            found.path = "lake://key:hunter2@" + found.path
            yield found

    def _path_open(self, path, *arguments, **keywords):
        return super()._path_open(local(path), *arguments, **keywords)

    def exists(self, path):
        return super().exists(local(path))

    def metadata(self, path):
        found = super().metadata(local(path))
        found.path = path
        return found


def local(path: str) -> str:
    return path.removeprefix("lake://key:hunter2@")


@pytest.fixture
def hello(tmp_path):
    path = tmp_path / "hello.txt"
    path.write_text("你好\n", encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def touch(path) -> None:
    os.utime(path, (1_800_000_000, 1_800_000_000))


def test_a_local_file_is_known_by_the_sha256_of_its_bytes(hello):
    (found,) = find_files([str(hello)])
    assert found == InputFile(str(hello), 7, 1_700_000_000.0, HELLO)
    assert found.identity == ("hello.txt", HELLO)


def test_a_url_is_known_by_name_size_and_time(hello):
    (found,) = find_files([f"lake://key:hunter2@{hello}"])
    assert found == InputFile(f"lake://key:hunter2@{hello}", 7, 1_700_000_000.0, None)
    assert found.identity == ("hello.txt", "7 bytes of 1700000000.0")


def test_a_pipe_is_not_read_for_a_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")  # nobody writes: who reads it waits for ever
    (found,) = find_files([str(tmp_path / "pipe.txt")])
    assert found.sha256 is None
    check_unchanged([found])


def test_a_file_that_may_not_be_read_is_an_input_error(hello, monkeypatch, capsys, tmp_path):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(inputs, "file_digest", denied)
    with pytest.raises(SystemExit) as ended:
        idf.main(["--corpus", str(hello), "--out", str(tmp_path / "idf")])
    assert ended.value.code == 74
    assert f"error: {hello} cannot be read: [Errno 13] Permission" in capsys.readouterr().err


def test_a_copied_and_touched_file_is_the_same_in_a_run_id(hello, tmp_path):
    (tmp_path / "other").mkdir()
    copy = shutil.copy(hello, tmp_path / "other")
    touch(copy)
    first, second = (plan_ranges([str(path)], ()).identity for path in (hello, copy))
    assert first == second


def test_a_password_in_a_url_is_no_part_of_a_run_id():
    one, other = (
        InputFile(f"s3://{secret}lake?token={secret}", 1, 1.0, None) for secret in ("a:b@", "c:d@")
    )
    assert one.identity == other.identity == ("lake", "1 bytes of 1.0")


def test_a_touched_corpus_is_counted_once(hello, tmp_path, count):
    count(hello, out=tmp_path / "idf")
    touch(hello)
    assert count(hello, out=tmp_path / "idf")["reused"]


def test_a_touched_corpus_is_embedded_once(tmp_path, embed, sentences):
    (tmp_path / "c.txt").write_text("\n".join(sentences[:5]), encoding="utf-8")
    embed(tmp_path / "c.txt", out=tmp_path / "store")
    touch(tmp_path / "c.txt")
    assert embed(tmp_path / "c.txt", out=tmp_path / "store")["already_done"]


def test_files_that_stayed_as_they_were_pass(hello):
    check_unchanged(find_files([str(hello), f"lake://key:hunter2@{hello}"]))


def test_a_file_that_was_only_touched_passes(hello):
    found = find_files([str(hello)])
    touch(hello)
    check_unchanged(found)


def longer(path):
    path.write_text("你好吗\n", encoding="utf-8")


def rewritten(path):
    path.write_text("再见\n", encoding="utf-8")


def removed(path):
    path.unlink()


@pytest.mark.parametrize("prefix", ["", "lake://key:hunter2@"], ids=["local", "url"])
@pytest.mark.parametrize("change", [longer, rewritten, removed])
def test_a_file_that_changed_is_named(hello, prefix, change):
    found = find_files([f"{prefix}{hello}"])
    change(hello)
    with pytest.raises(ValueError, match=r"hello\.txt changed during the run; run it again"):
        check_unchanged(found)


def test_a_url_of_the_same_size_and_another_time_has_changed(hello):
    found = find_files([f"lake://key:hunter2@{hello}"])
    touch(hello)
    with pytest.raises(ValueError, match="changed during the run"):
        check_unchanged(found)


@pytest.fixture
def changing(monkeypatch):
    """Function (path) after which the file changes as soon as a run has planned it."""

    def arrange(path):
        def plan(*arguments):
            planned = plan_ranges(*arguments)
            longer(path)
            return planned

        monkeypatch.setattr(idf, "plan_ranges", plan)
        monkeypatch.setattr(teacher, "plan_ranges", plan)

    return arrange


def test_a_count_whose_input_changes_meanwhile_commits_nothing_and_is_65(
    tmp_path, capsys, changing, hello
):
    changing(hello)
    with pytest.raises(SystemExit) as ended:
        idf.main(["--corpus", str(hello), "--out", str(tmp_path / "idf")])
    assert ended.value.code == 65
    assert capsys.readouterr().err == f"error: {hello} changed during the run; run it again\n"
    assert not (tmp_path / "idf").exists()


def test_a_teacher_run_whose_input_changes_meanwhile_commits_nothing(
    tmp_path, embed, changing, hello
):
    changing(hello)
    with pytest.raises(ValueError, match=f"^{hello} changed during the run; run it again$"):
        embed(hello, out=tmp_path / "store")
    assert not store.exists(tmp_path / "store")


def test_a_commit_names_its_input_files_and_the_code(hello, tmp_path, count):
    count(hello, out=tmp_path / "idf")
    summary = open_store(tmp_path / "idf").commits[0].summary
    assert summary["inputs"] == [{"file": str(hello), "bytes": 7, "sha256": HELLO}]
    assert summary["code"] == inputs.code_version()


def test_what_a_commit_says_of_a_url_has_no_password_in_it(hello):
    (found,) = provenance(find_files([f"lake://key:hunter2@{hello}"]))["inputs"]
    assert found == {"file": f"lake://{hello}", "bytes": 7, "sha256": None}


def test_a_password_in_a_url_or_the_environment_is_in_no_file_that_a_run_leaves(
    hello, tmp_path, count, embed, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    corpus = f"lake://key:hunter2@{hello}"
    told = [count(corpus, out=tmp_path / "idf"), embed(corpus, out=tmp_path / "store")]
    hello.rename(tmp_path / "c.tsv")
    with pytest.raises(ValueError, match=r"lake://key:hunter2@/.*/c\.tsv has no field text"):
        embed(f"lake://key:hunter2@{tmp_path}/c.tsv", out=tmp_path / "failed")
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"idf.runs", "store.runs", "failed.runs"} <= {path.parent.name for path in kept}
    kept["what was printed"] = json.dumps(told).encode()
    for secret in (b"hunter2", b"swordfish"):
        assert [path for path, content in kept.items() if secret in content] == []
