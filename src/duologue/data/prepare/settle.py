"""What can only be said once all tasks have read: too many bad rows, how many rows there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from duologue.data.prepare.read_rows import file_count
from duologue.data.prepare.row_files import new_line_file
from duologue.data.prepare.workspace import Workspace, read_json
from duologue.data.quarantine import FileCount, Quarantine
from duologue.data.sources import require_known_format, require_rows


def judge_rows(workspace: Workspace, paths: Sequence[Path], num_tasks: int) -> list[FileCount]:
    """What was read of each file.

    Raises:
        DataError: a file has too many bad rows (see quarantine) or no known format, or there is no row to use at all.
    """
    tasks = task_counts(workspace, "read", num_tasks)
    quarantine = Quarantine(files=[file_count(path, number, tasks) for number, path in enumerate(paths)])
    for count in quarantine.files:
        require_known_format(count)
        quarantine.judge(count)
    require_rows(quarantine)
    return quarantine.files


def write_bad_rows(workspace: Workspace, paths: Sequence[Path], num_tasks: int) -> None:
    """The bad rows of all tasks, with their lines counted from the beginning of the file."""
    tasks = task_counts(workspace, "read", num_tasks)
    with new_line_file(workspace.bad_rows) as write:
        for task, lines_before in zip(range(num_tasks), _lines_before(tasks), strict=True):
            for line in workspace.bad_rows_of(task).read_text(encoding="utf-8").splitlines():
                number, line_number, kind, reason = json.loads(line)
                fields = {"file": paths[number].name, "line": lines_before.get(number, 0) + line_number}
                write(json.dumps(fields | {"kind": kind, "reason": reason}, ensure_ascii=False))


def task_counts(workspace: Workspace, step: str, num_tasks: int) -> list[dict[str, Any]]:
    """What each task of a step has counted."""
    return [read_json(workspace.counts(step, rank)) for rank in range(num_tasks)]


def _lines_before(tasks: Sequence[dict[str, Any]]) -> Iterator[dict[int, int]]:
    """For each task how many lines of each file earlier tasks have read."""
    so_far: dict[int, int] = {}
    for task in tasks:
        yield dict(so_far)
        for span in task["spans"]:
            so_far[span["file"]] = so_far.get(span["file"], 0) + span["num_lines"]
