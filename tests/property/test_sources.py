"""Reading dialogue files: whatever is broken, the rest comes through unharmed, and each line number is right."""

import contextlib
import csv
import gzip
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.conversation import Conversation
from duologue.data.json_rows import json_document
from duologue.data.lines import numbered_lines
from duologue.data.quarantine import BadKind, BadRow, RowError
from duologue.data.sources import KINDS, PlainText, read_conversations
from duologue.errors import DataError

NUM_ROWS = 10_000
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)


def good_line(rng: random.Random, number: int) -> str:
    said = "".join(rng.choices("ab \u2028\u0085\ufeff\"\\{}[]\t😀你好\x1c\x7f", k=rng.randint(1, 30)))
    row = Conversation.of(f"question {number} {said}", f"{said} answer", lang=rng.choice(["en", "zh"]))
    return json.dumps(row.to_dict(), ensure_ascii=rng.random() < 0.5)


def message(content: str, role: str = '"user"', rest: str = "") -> bytes:
    return f'{{"messages": [{{"role": {role}, "content": {content}{rest}}}]}}'.encode()


BREAKERS: list[Callable[[bytes], bytes]] = [
    lambda line: line[: len(line) // 2],
    lambda line: line + b"}",
    lambda line: line.replace(b"question", b"quest\xffion"),
    lambda line: line.replace(b"question", b"quest\xed\xa0\xbdion"),
    lambda line: line.replace(b"question", b"quest\0ion"),
    lambda line: line.replace(b"question", b"quest\\u0000ion"),
    lambda line: line.replace(b"question", b"\\ud83d question"),
    lambda line: line.replace(b"question", b"question \\udc00"),
    lambda line: line.replace(b"messages", b"massages"),
    lambda line: line.replace(b'"user"', b'"robot"'),
    lambda _: message("17"),
    lambda _: message("null"),
    lambda _: message('["a"]'),
    lambda _: message('"a"', role="null"),
    lambda _: message('"a"', role='["user"]'),
    lambda _: message('"a"', rest=', "weight": 2'),
    lambda _: message('"a"', rest=', "weight": true'),
    lambda _: message('" \\n"'),
    lambda _: b'{"messages": {"role": "user"}}',
    lambda _: b'{"messages": []}',
    lambda _: b'{"messages": ["hi"]}',
    lambda _: b'{"text": ["hi"]}',
    lambda _: b"[1]",
    lambda _: b'"text"',
    lambda _: b"null",
    lambda _: b"[" * 50_000,
]


@pytest.mark.parametrize("num_broken", [97, 137])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_broken_rows_are_found_and_the_others_unharmed(num_broken: int, seed: int) -> None:
    rng = random.Random(seed)
    lines = [good_line(rng, number) for number in range(NUM_ROWS)]
    broken = sorted(rng.sample(range(NUM_ROWS), num_broken))
    raw = [line.encode() for line in lines]
    for turn, index in enumerate(broken):
        raw[index] = BREAKERS[turn % len(BREAKERS)](raw[index])
    content, line_of = _with_empty_lines(rng, raw)
    bad: list[BadRow] = []
    rows: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(content)
        reader = read_conversations(path, on_bad=bad.append)
        if num_broken <= NUM_ROWS // 100:
            rows += reader
            wanted = [json.loads(line) for index, line in enumerate(lines) if index not in set(broken)]
            assert [row.to_dict() for row in rows] == wanted
        else:
            said = rf"rows\.jsonl: \d+ of .* rows .*the first at line {line_of[broken[0]]}: .*accepted"
            with pytest.raises(DataError, match=said):
                rows += reader
    assert [one.line_number for one in bad] == [line_of[index] for index in broken][: len(bad)]
    assert len(bad) > 100 or len(bad) == num_broken


def _with_empty_lines(rng: random.Random, raw: list[bytes]) -> tuple[bytes, list[int]]:
    """The lines with empty ones, byte order mark and both line ends between them, and where each went."""
    pieces, line_of = [b"\xef\xbb\xbf"], []
    line_number = 1
    for line in raw:
        while rng.random() < 0.02:
            pieces.append(rng.choice([b"\n", b"\r\n", b"  \n"]))
            line_number += 1
        line_of.append(line_number)
        pieces += [line, rng.choice([b"\n", b"\r\n"])]
        line_number += 1
    return b"".join(pieces), line_of


ROWS = [Conversation.of(f"question {number}", f"answer {number * 7919 % 1000}") for number in range(60)]
WHOLE = "".join(row.to_json() + "\n" for row in ROWS).encode()
PACKED = {
    ".gz": gzip.compress(WHOLE, mtime=0),
    ".zst": zstandard.ZstdCompressor(level=1, write_checksum=True).compress(WHOLE),
}
FRAMES = b"".join(zstandard.compress(row.to_json().encode() + b"\n") for row in ROWS)


@pytest.mark.parametrize("suffix", PACKED)
def test_a_packed_file_cut_at_any_byte_keeps_what_came_before(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    packed = PACKED[suffix]
    for cut in range(1, len(packed)):
        path.write_bytes(packed[:cut])
        _expect_prefix_and_one_cut(path)
    path.write_bytes(packed)
    assert list(read_conversations(path)) == ROWS


@settings(deadline=None)
@given(cut=st.integers(1, len(FRAMES)))
def test_frames_are_kept_up_to_the_one_that_is_cut(cut: int) -> None:
    bad: list[BadRow] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl.zst"
        path.write_bytes(FRAMES[:cut])
        try:
            rows = list(read_conversations(path, on_bad=bad.append))
        except DataError:
            rows = []
    assert rows == ROWS[: len(rows)]
    sizes = [len(zstandard.compress(row.to_json().encode() + b"\n")) for row in ROWS]
    is_between = cut in [sum(sizes[:count]) for count in range(1, len(sizes) + 1)]
    assert [one.kind for one in bad] == ([] if is_between else [BadKind.CUT])


def _expect_prefix_and_one_cut(path: Path) -> None:
    bad: list[BadRow] = []
    rows: list[Any] = []
    with contextlib.suppress(DataError):  # where there was not one row
        rows += read_conversations(path, on_bad=bad.append)
    assert rows == ROWS[: len(rows)]
    assert [one.line_number for one in bad] == [len(rows) + 1]
    assert bad[0].kind in (BadKind.CUT, BadKind.FOREIGN)


def chunked(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield content[start : start + size]
        start += size
    yield content[start:]


SIZES = st.lists(st.integers(1, 9), max_size=60)


@given(content=st.binary(), sizes=SIZES)
def test_lines_do_not_depend_on_how_the_file_arrives(content: bytes, sizes: list[int]) -> None:
    lines = list(numbered_lines(chunked(content, sizes)))
    wanted = content.split(b"\n")
    assert lines == list(enumerate(wanted if wanted[-1] else wanted[:-1], start=1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("") | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(rows=st.lists(st.dictionaries(TEXT, JSON, max_size=4)), indent=st.none() | st.integers(0, 3),
       ascii_only=st.booleans(), sizes=SIZES)  # fmt: skip
def test_json_lists_are_taken_apart(rows: list[Any], indent: int | None, ascii_only: bool, sizes: list[int]) -> None:
    content = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
    records = list(json_document(chunked(content, sizes)))
    assert [value for _, value in records] == rows
    begun = [content[:at].count(b"\n") + 1 for at in _starts(rows, indent, ascii_only)]
    assert [line for line, _ in records] == begun


def _starts(rows: list[Any], indent: int | None, ascii_only: bool) -> Iterator[int]:
    """Where each row begins, found by writing the list up to it."""
    for count in range(1, len(rows) + 1):
        until = json.dumps([*rows[: count - 1], "HERE"], indent=indent, ensure_ascii=ascii_only)
        yield len(until[: until.rindex('"HERE"')].encode())


@given(content=st.binary() | st.text('[]{}",: \\\n01a').map(str.encode), sizes=SIZES)
def test_no_content_breaks_the_json_reader(content: bytes, sizes: list[int]) -> None:
    for line, value in json_document(chunked(content, sizes)):
        assert 1 <= line <= content.count(b"\n") + 1
        assert value is None or isinstance(value, dict | list | str | int | float | RowError)


@settings(deadline=None)
@given(cells=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), suffix=st.sampled_from([".csv", ".tsv"]))
def test_any_text_survives_a_table(cells: list[tuple[str, str]], suffix: str) -> None:
    written = io.StringIO(newline="")
    table = csv.writer(written, delimiter="," if suffix == ".csv" else "\t", quoting=csv.QUOTE_ALL)
    table.writerows([("问题", "回答"), *cells])
    rows = _read(f"cells{suffix}", written.getvalue().encode())
    assert rows == [Conversation.of(*pair) for pair in cells]


@settings(deadline=None)
@given(content=st.binary(max_size=200), kind=st.sampled_from([*KINDS, ".jsonl.gz", ".csv.zst"]))
def test_any_bytes_give_rows_or_one_clear_line(content: bytes, kind: str) -> None:
    rows, said, name = [], f"a{kind}", f"a{kind}"
    try:
        rows = _read(name, content)
    except DataError as error:
        said = str(error)
    assert all(isinstance(row, Conversation | PlainText) for row in rows)
    assert name in said
    assert "\n" not in said


def _read(name: str, content: bytes) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return list(read_conversations(path))
