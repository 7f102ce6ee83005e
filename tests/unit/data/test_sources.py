"""Files as they come: packed, cut short, broken in places, too large for memory, or not there at all."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from duologue.conversation import Conversation
from duologue.data.lines import MAX_LINE_BYTES
from duologue.data.quarantine import BadKind, BadRow
from duologue.data.sources import PlainText, read_conversations
from duologue.errors import DataError


def line(number: int) -> bytes:
    return Conversation.of(f"question {number}", f"回答 {number}").to_json().encode()


def lines(count: int) -> bytes:
    return b"".join(line(number) + b"\n" for number in range(count))


def read(path: Path) -> tuple[list[Conversation | PlainText], list[BadRow]]:
    bad: list[BadRow] = []
    rows = list(read_conversations(path, on_bad=bad.append))
    return rows, bad


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def to(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return to


Write = Callable[[str, bytes], Path]


@pytest.mark.parametrize("name", ["a.jsonl", "A.JSONL.GZ", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.json.gz", "a.txt"])
def test_rows_are_the_same_however_the_file_is_packed(write: Write, name: str) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "st": zstandard.compress}
    pack = packers.get(name[-2:].lower(), bytes)
    rows, bad = read(write(name, pack(lines(50))))
    assert rows == [Conversation.of(f"question {n}", f"回答 {n}") for n in range(50)]
    assert bad == []


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_files_one_after_the_other_are_one_file(write: Write, pack: Callable[[bytes], bytes]) -> None:
    name = "a.jsonl.gz" if pack is gzip.compress else "a.jsonl.zst"
    rows, bad = read(write(name, pack(lines(3)) + pack(lines(2))))
    assert (len(rows), bad) == (5, [])


def test_byte_order_mark_windows_lines_and_empty_lines_do_no_harm(write: Write) -> None:
    content = b"\xef\xbb\xbf" + line(1) + b"\r\n\r\n  \r\n" + line(2) + b"\r\n" + line(3)
    rows, bad = read(write("a.jsonl", content))
    assert (len(rows), bad) == (3, [])


def test_a_line_separator_inside_a_text_ends_no_line(write: Write) -> None:
    said = "one\u2028two\u0085three\x0bfour\rfive"
    content = json.dumps({"messages": [{"role": "user", "content": said}]}, ensure_ascii=False)
    rows, _ = read(write("a.jsonl", content.replace("\x0b", "\\u000b").encode()))
    assert rows == [Conversation.of(said)]


BROKEN = {
    b'{"messages": [{"role": "user", "content": "cut': BadKind.JSON,
    b"[" * 100_000: BadKind.JSON,
    b'{"id": ' + b"1" * 5000 + b"}": BadKind.JSON,
    b'{"text": "\xff\xfe"}': BadKind.UTF8,
    b'{"text": "\xed\xa0\x80"}': BadKind.UTF8,
    b'{"text": "a\0b"}': BadKind.NUL,
    b'{"text": "a\\u0000b"}': BadKind.NUL,
    b'{"text": 5}': BadKind.FIELD,
    b'{"text": "half a pair \\ud83d"}': BadKind.FIELD,
    b'{"text": "fine", "id": "\\ud83d"}': BadKind.FIELD,
    b'{"messages": [{"role": "user", "content": "\\udc00"}]}': BadKind.FIELD,
    b'{"messages": "hello"}': BadKind.FIELD,
    b'{"messages": []}': BadKind.FIELD,
    b'{"messages": [{"role": "robot", "content": "a"}]}': BadKind.FIELD,
    b'{"messages": [{"role": "' + b"robot" * 100_000 + b'"}]}': BadKind.FIELD,
    b'{"messages": [{"role": "user", "content": null}]}': BadKind.FIELD,
    b'{"messages": [{"role": "user", "content": "a", "weight": 0.5}]}': BadKind.FIELD,
    b'{"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": ""}]}': BadKind.EMPTY,
    b'{"foo": "bar"}': BadKind.SHAPE,
    b'["text"]': BadKind.SHAPE,
    b"12": BadKind.SHAPE,
}


@pytest.mark.parametrize(("broken", "kind"), BROKEN.items(), ids=lambda value: str(value)[:30])
def test_a_broken_row_is_put_aside_with_its_line_and_kind(write: Write, broken: bytes, kind: BadKind) -> None:
    path = write("a.jsonl", line(1) + b"\n\n" + broken + b"\n" + line(2) + b"\n")
    rows, bad = read(path)
    assert rows == [Conversation.of(f"question {n}", f"回答 {n}") for n in (1, 2)]
    assert [(one.path, one.line_number, one.kind) for one in bad] == [(path, 3, kind)]
    assert "\n" not in str(bad[0])
    assert len(bad[0].reason) <= 201
    str(bad[0]).encode("utf-8")


def test_weight_unknown_fields_and_double_keys_are_read(write: Write) -> None:
    row = b'{"messages": [{"role": "user", "role": "assistant", "content": "a", "weight": 0, "name": "x"}], "z": 1}'
    rows, bad = read(write("a.jsonl", row))
    assert bad == []
    (only,) = rows
    assert isinstance(only, Conversation)
    assert not only.messages[0].is_learned


def test_turns_stay_as_they_are(write: Write) -> None:
    messages = [{"role": "user", "content": text} for text in ("a", "", " b ")]
    rows, _ = read(write("a.jsonl", json.dumps({"messages": messages}).encode()))
    assert [row.to_dict()["messages"] for row in rows if isinstance(row, Conversation)] == [messages]


def test_a_line_too_long_is_skipped_without_being_held(write: Write) -> None:
    path = write("a.jsonl", b"")
    with path.open("wb") as file:
        file.write(line(1) + b'\n{"text": "')
        for _ in range(50):
            file.write(b"a" * (1 << 20))
        file.write(b'"}\n' + line(2))
    tracemalloc.start()
    rows, bad = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows) == 2
    assert [(one.line_number, one.kind) for one in bad] == [(2, BadKind.LONG)]
    assert peak < MAX_LINE_BYTES + (4 << 20)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.json"])
def test_memory_stays_flat(tmp_path: Path, name: str) -> None:
    row = Conversation.of("q" * 1000, "a" * 1000).to_json().encode() + b",\n"
    path = tmp_path / name
    content = row.replace(b",\n", b"\n") * 10_000 if ".jsonl" in name else b"[" + (row * 10_000)[:-2] + b"]"
    path.write_bytes(zstandard.compress(content) if name.endswith("zst") else content)
    tracemalloc.start()
    count = sum(1 for _ in read_conversations(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 3 << 20


@pytest.mark.parametrize(("num_bad", "num_rows"), [(1, 50), (2, 3), (3, 300), (100, 10_000)])
def test_few_bad_rows_pass(write: Write, num_bad: int, num_rows: int) -> None:
    rows, bad = read(write("a.jsonl", b"{\n" * num_bad + lines(num_rows - num_bad)))
    assert (len(rows), len(bad)) == (num_rows - num_bad, num_bad)


@pytest.mark.parametrize(("num_bad", "num_rows"), [(3, 299), (101, 10_000), (150, 10_050)])
def test_too_many_bad_rows_stop_with_one_line(write: Write, num_bad: int, num_rows: int) -> None:
    path = write("a.jsonl", lines(1) + b"{\n" * num_bad + lines(num_rows - num_bad - 1))
    with pytest.raises(DataError, match=rf"{num_bad} of .* rows .*first at line 2: is not JSON.*accepted") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_file_is_judged_on_its_own(write: Write) -> None:
    good, bad = write("good.jsonl", lines(1000)), write("bad.jsonl", b"{\n" * 3 + lines(10))
    with pytest.raises(DataError, match=r"bad\.jsonl: 3 of 13 rows"):
        list(read_conversations([good, bad]))


def test_other_bytes_after_a_gz_are_one_bad_row(write: Write) -> None:
    rows, bad = read(write("a.jsonl.gz", gzip.compress(lines(5)) + b"other"))
    assert len(rows) == 5
    assert [(one.line_number, one.kind) for one in bad] == [(6, BadKind.FOREIGN)]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_damaged_file_is_refused_for_what_it_gave_may_be_wrong(write: Write, name: str) -> None:
    pack = gzip.compress if name.endswith("gz") else zstandard.ZstdCompressor(write_checksum=True).compress
    packed = bytearray(pack(lines(500)))
    packed[-6] ^= 0xFF
    assert "is damaged" in refusal(write(name, bytes(packed)))


def refusal(path: Path | list[Path]) -> str:
    with pytest.raises(DataError) as caught:
        list(read_conversations(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_dialogue_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    (tmp_path / "a.jsonl").touch()
    cases = {"none.jsonl": "no such file", "": "is a folder", "a.parquet": "is of no known kind.*jsonl"}
    for name, said in cases.items():
        with pytest.raises(DataError, match=said):
            read_conversations([tmp_path / "a.jsonl", tmp_path / name])
    with pytest.raises(DataError, match="no dialogue files were given"):
        read_conversations([])


def test_an_empty_corpus_is_refused(write: Write) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.csv", "a.txt"):
        assert "no rows; expected at least one dialogue" in refusal(write(name, b""))
    assert "no row can be used; the first bad one" in refusal(write("b.jsonl", b"{\n"))
    assert "is UTF-16" in refusal(write("c.jsonl", "{}\n".encode("utf-16")))


def test_an_empty_file_among_others_is_none_of_our_business(write: Write) -> None:
    assert len(list(read_conversations([write("a.jsonl", b""), write("b.jsonl", lines(2))]))) == 2


def test_an_unknown_format_is_refused_with_its_first_line_and_what_is_accepted(write: Write) -> None:
    odd = b'{"speaker": "me", "utterance": "hi"}\n' * 200
    files = {"a.jsonl": b"\n" + odd, "a.csv": b"\nwho,what\na,b\n", "a.txt": b"\nOnce upon a time\n"}
    for name, content in files.items():
        message = refusal(write(name, content))
        assert "no known format: line 2" in message
        for shape in ("messages", '{"text"}', "ShareGPT", "Alpaca", "CSV", "User:"):
            assert shape in message


def test_a_file_that_may_not_be_read_is_one_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.jsonl", lines(1))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == f"{path}: cannot be read: Permission denied"


def test_the_reader_counts_while_it_reads(write: Write) -> None:
    reader = read_conversations(str(write("a.jsonl", line(1) + b"\n{\n" + line(2))))
    next(reader)
    assert reader.quarantine.num_bad == 0
    next(reader)
    assert (reader.quarantine.num_bad, reader.quarantine.files[0].format) == (1, "messages")
