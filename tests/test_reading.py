"""Reading: ranges of any size together are the file; each kind of file gives its records."""

import bz2
import dataclasses
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.reading import Broken, plan_ranges, read_records
from schemas.text import MAX_LINE_BYTES

LINES = ["你好", "", "今天天气怎么样？", "a", "😊😊", "hello world", " "]


def all_records(path, fields=("text",), size=16 << 20):
    inputs = plan_ranges([str(path)], fields, size)
    return [record for piece in inputs.ranges for record in read_records(piece)]


def lines_of(content: bytes) -> list[tuple[int, bytes]]:
    """Offset and line, in the obvious way."""
    found, at = [], 0
    for line in content.split(b"\n"):
        found.append((at, line + b"\n"))
        at += len(line) + 1
    if found[-1][1] == b"\n":
        found.pop()  # after the last line end there is no line
    elif not content.endswith(b"\n"):
        found[-1] = (found[-1][0], found[-1][1][:-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reading")


CONTENT = st.tuples(
    st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["\n", "\r\n"])), max_size=8),
    st.sampled_from(["", "最后", "end"]),
).map(lambda made: ("".join(line + end for line, end in made[0]) + made[1]).encode())


@settings(max_examples=150)
@given(content=CONTENT, size=st.integers(1, 40))
@example(content="你好\n世界".encode(), size=1)
@example(content="你好\r\n世界\r\n".encode(), size=7)
@example(content=b"\n\n\n", size=1)
@example(content=b"ab\ncd\n", size=3)
def test_ranges_of_any_size_together_are_the_lines_of_the_file(folder, content, size):
    (folder / "c.txt").write_bytes(content)
    assert all_records(folder / "c.txt", size=size) == (lines_of(content) if content else [])


@pytest.mark.parametrize("size", [1, 1000, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 10**7])
def test_an_over_long_line_is_one_record_cut_above_the_limit_whatever_the_ranges(folder, size):
    long = "好".encode() * 30_000
    content = b"a\n" + long + b"\nb\n" + long
    (folder / "long.txt").write_bytes(content)
    size = max(size, 100)
    records = all_records(folder / "long.txt", size=size)
    assert [offset for offset, _ in records] == [0, 2, 3 + len(long), 5 + len(long)]
    assert [len(line) for _, line in records] == [2, MAX_LINE_BYTES + 2, 2, MAX_LINE_BYTES + 2]


def test_an_empty_file_has_no_ranges(folder):
    (folder / "empty.txt").write_bytes(b"")
    assert plan_ranges([str(folder / "empty.txt")], ("text",)).ranges == []


PACKED = [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]


@pytest.mark.parametrize(("suffix", "pack"), PACKED)
def test_a_compressed_file_is_one_range_with_offsets_after_unpacking(folder, suffix, pack):
    content = "\n".join(LINES).encode()
    (folder / f"c.txt.{suffix}").write_bytes(pack(content))
    inputs = plan_ranges([str(folder / f"c.txt.{suffix}")], ("text",), size=10)
    assert len(inputs.ranges) == 1
    assert list(read_records(inputs.ranges[0])) == lines_of(content)


@pytest.mark.parametrize(("suffix", "pack"), PACKED)
@pytest.mark.parametrize("damage", ["cut", "flipped", "replaced"])
def test_a_damaged_compressed_file_is_an_input_error_that_names_it(folder, suffix, pack, damage):
    whole = pack(b"".join(b"%d\n" % (n * n) for n in range(9999)))
    half = len(whole) // 2
    spoiled = {
        "cut": whole[:half],
        "flipped": whole[:half] + bytes([whole[half] ^ 255]) * 9 + whole[half + 9 :],
        "replaced": b"no such thing\n" * 99,
    }
    (folder / f"bad.txt.{suffix}").write_bytes(spoiled[damage])
    with pytest.raises(OSError, match=rf"bad\.txt\.{suffix} cannot be read: .+"):
        all_records(folder / f"bad.txt.{suffix}")


def test_a_compression_that_cannot_be_read_is_refused_before_the_run(folder):
    (folder / "c.txt.zst").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"c\.txt\.zst: of compressed files only \.gz, \.bz2 and"):
        plan_ranges([str(folder / "c.txt.zst")], ())


def test_a_gzip_of_several_members_is_read_to_its_end(folder):
    (folder / "members.txt.gz").write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert all_records(folder / "members.txt.gz") == [(0, b"a\n"), (2, b"b\n")]


@pytest.mark.parametrize("size", [1, 9, 1 << 20])
def test_json_lines_give_the_named_field_with_the_offset_of_the_line(folder, size):
    lines = [json.dumps({"id": n, "text": text}) for n, text in enumerate(LINES)]
    content = "\n".join(lines).encode()
    (folder / "c.jsonl").write_bytes(content)
    starts = [offset for offset, _ in lines_of(content)]
    assert all_records(folder / "c.jsonl", size=size) == list(zip(starts, LINES, strict=True))


def test_several_fields_of_a_line_are_several_records(folder):
    rows = [{"q": "问", "a": "答"}, {"q": "只问"}, {"a": None}]
    (folder / "qa.jsonl").write_text("\n".join(map(json.dumps, rows)))
    texts = [text for _, text in all_records(folder / "qa.jsonl", ("q", "a"))]
    assert texts == ["问", "答", "只问", ""]


@pytest.mark.parametrize(
    "line", ["{", "[1]", "7", "null", '"text"', '{"x": 1}', '{"text": 7}', "[" * 9000]
)
def test_a_json_line_without_a_text_goes_on_marked_as_broken(folder, line):
    (folder / "bad.jsonl").write_text(line + "\n")
    ((offset, record),) = all_records(folder / "bad.jsonl")
    assert (offset, record) == (0, line.encode() + b"\n")
    assert isinstance(record, Broken)


def test_tsv_columns_are_found_by_name_and_quotes_mean_nothing(folder):
    content = 'label\ttext\r\n1\t他说"你好\r\n2\t好\tx\r\n3\r\n'
    (folder / "c.tsv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    records = all_records(folder / "c.tsv")
    assert [record for _, record in records] == ['他说"你好'.encode(), "好".encode(), b"3\r\n"]
    assert [isinstance(record, Broken) for _, record in records] == [False, False, True]
    whole = b"\xef\xbb\xbf" + content.encode()
    assert [offset for offset, _ in records] == [
        whole.index(b"1\t"),
        whole.index(b"2\t"),
        whole.index(b"3\r"),
    ]


def test_a_tsv_column_may_be_the_first_one_after_a_byte_order_mark(folder):
    (folder / "bom.tsv").write_bytes(b"\xef\xbb\xbftext\tlabel\n" + "好\t1\n".encode())
    assert [record for _, record in all_records(folder / "bom.tsv")] == ["好".encode()]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_gives_a_range_per_row_group_and_the_row_as_offset(folder, kind):
    texts = [f"第{n}句" for n in range(25)]
    table = pa.table({"n": range(25), "text": pa.array(texts).cast(kind)})
    pq.write_table(table, folder / "c.parquet", row_group_size=10)
    assert len(plan_ranges([str(folder / "c.parquet")], ("text",)).ranges) == 3
    expected = [(n, text.encode()) for n, text in enumerate(texts)]
    assert all_records(folder / "c.parquet") == expected


def test_a_null_in_parquet_is_a_blank_record(folder):
    pq.write_table(pa.table({"text": ["a", None]}), folder / "null.parquet")
    assert all_records(folder / "null.parquet") == [(0, b"a"), (1, b"")]


@pytest.mark.parametrize("name", ["f.tsv", "f.parquet"])
def test_a_file_with_none_of_the_fields_names_those_that_it_has(folder, name):
    if name.endswith("tsv"):
        (folder / name).write_text("question\tanswer\na\tb\n")
    else:
        pq.write_table(pa.table({"question": ["a"], "answer": ["b"]}), folder / name)
    message = rf"{name} has no field text or body; it has question, answer; .* with --fields"
    with pytest.raises(ValueError, match=message):
        all_records(folder / name, ("text", "body"))


def test_a_file_with_some_of_the_fields_gives_those(folder):
    (folder / "some.tsv").write_text("question\tanswer\na\tb\n")
    assert [record for _, record in all_records(folder / "some.tsv", ("text", "answer"))] == [b"b"]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file matches"):
        plan_ranges([str(tmp_path / "*.txt")], ("text",))


def test_patterns_that_overlap_read_a_file_once(tmp_path):
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_text("x\n")
    inputs = plan_ranges([f"{tmp_path}/*.txt", f"{tmp_path}/a.txt"], ("text",))
    assert [piece.path for piece in inputs.ranges] == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]
    assert [name for name, _ in inputs.identity] == ["a.txt", "b.txt"]


def test_the_identity_of_the_inputs_does_not_depend_on_their_folders(tmp_path):
    for path in ("one/a.txt", "two/b.txt", "moved/x/b.txt", "moved/y/a.txt"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(path[-5:])
    before = plan_ranges([f"{tmp_path}/one/*", f"{tmp_path}/two/*"], ()).identity
    assert before == plan_ranges([f"{tmp_path}/moved/*/*"], ()).identity


@pytest.mark.parametrize(
    ("name", "kind", "source"),
    [
        ("a.txt", "text", "a"),
        ("a.TXT", "text", "a"),
        ("part-0001", "text", "part-0001"),
        ("a.jsonl", "jsonl", "a"),
        ("a.ndjson", "jsonl", "a"),
        ("news.2024.tsv", "tsv", "news"),
        ("a.txt.gz", "text", "a"),
        ("a.jsonl.gz", "jsonl", "a"),
    ],
)
def test_the_kind_is_told_by_the_name(tmp_path, name, kind, source):
    content = b"text\nx\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (piece,) = plan_ranges([str(tmp_path / name)], ("text",)).ranges
    assert (piece.kind, piece.source) == (kind, source)


def test_the_guess_at_the_number_of_sentences_is_of_the_right_size(small_corpus):
    assert 100 < plan_ranges([str(small_corpus)], ()).sentences < 900


def test_a_range_can_be_compared_and_kept():
    (piece,) = plan_ranges([__file__], ("text",)).ranges
    assert dataclasses.replace(piece) == piece
    assert len({piece, dataclasses.replace(piece)}) == 1
