"""Files cut for tasks: every row falls to one task, in order, with its line, however the files are cut."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
import zstandard

from duologue.data.prepare.spans import InputFile, Span, chunks_of, spans_of_task
from duologue.data.quarantine import RowError

pytest.importorskip("datatrove")

from duologue.data.prepare.inputs import MeasuredFile
from duologue.data.prepare.read_rows import SpanReader, file_count

PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def text_of_lines(rng: random.Random) -> bytes:
    lines = [b"x" * rng.choice((0, 0, 1, 5, 40)) for _ in range(rng.randrange(12))]
    return b"\n".join(lines) + rng.choice((b"", b"\n"))


def write(path: Path, content: bytes) -> InputFile:
    path.write_bytes(PACKERS["" if path.suffix == ".jsonl" else path.suffix](content))
    return InputFile(path, len(content))


@pytest.mark.parametrize("end", PACKERS)
def test_tasks_read_each_line_once(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    for number in range(60):
        for module in ("spans", "../lines"):
            name = "duologue.data.lines" if "/" in module else f"duologue.data.prepare.{module}"
            monkeypatch.setattr(f"{name}.CHUNK_BYTES", rng.choice((1, 3, 1 << 18)))
        texts = [text_of_lines(rng) for _ in range(rng.randrange(1, 4))]
        files = [write(tmp_path / f"{number}-{i}.jsonl{end}", text) for i, text in enumerate(texts)]
        num_tasks = rng.randrange(1, 9)
        spans = [span for rank in range(num_tasks) for span in spans_of_task(files, rank, num_tasks)]
        for i, text in enumerate(texts):
            parts = [b"".join(chunks_of(span)) for span in spans if span.number == i]
            assert b"".join(parts) == text
            *firsts, _ = [part for part in parts if part] or [b""]
            assert all(part.endswith(b"\n") for part in firsts)


def test_files_that_are_not_lines_fall_to_one_task_each(tmp_path: Path) -> None:
    sizes = [0, 10, 300, 0, 5, 0]
    files = [InputFile(tmp_path / f"{i}.csv", size) for i, size in enumerate(sizes)]
    for num_tasks in (1, 2, 5, 40):
        spans = [span for rank in range(num_tasks) for span in spans_of_task(files, rank, num_tasks)]
        assert [span.number for span in spans] == list(range(len(files)))


def test_nothing_but_empty_files() -> None:
    files = [InputFile(Path("a.csv"), 0), InputFile(Path("b.jsonl"), 0)]
    spans = [span for rank in range(3) for span in spans_of_task(files, rank, 3)]
    assert [span.number for span in spans] == [0]


@pytest.mark.parametrize("end", [".gz", ".zst"])
def test_a_file_that_is_cut_short_gives_one_bad_row_to_one_task(tmp_path: Path, end: str) -> None:
    rng = random.Random(4)
    for number in range(40):
        rows = [b'{"text": "%d"}\n' % rng.randrange(10**30) for _ in range(200)]
        packed = PACKERS[end](b"".join(rows))
        path = tmp_path / f"{number}.jsonl{end}"
        path.write_bytes(packed[: rng.randrange(20, len(packed) - 9)])
        file = InputFile(path, MeasuredFile.of(path).text_bytes)
        found = []
        for num_tasks in (1, 5):
            tasks, texts = [], []
            for rank in range(num_tasks):
                readers = [SpanReader(span, None) for span in spans_of_task([file], rank, num_tasks)]
                texts += [numbered.row.text for reader in readers for numbered in reader]
                tasks.append({"spans": [reader.counts() for reader in readers]})
            count = file_count(path, 0, tasks)
            found.append((texts, count.num_rows, count.num_bad, count.first_bad))
        assert found[0] == found[1]
        assert found[0][2] == 1


def test_a_span_that_begins_after_the_cut_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"one\ntwo")[:-10])
    file = InputFile(path, 8)
    with pytest.raises(RowError):
        list(chunks_of(Span(0, file, 0, 8)))
    assert list(chunks_of(Span(0, file, 6, 8))) == []
