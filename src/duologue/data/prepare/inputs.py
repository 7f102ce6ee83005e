"""The input files: hashed and measured once, known again by name, size and time of change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from duologue.data.lines import read_chunks
from duologue.data.prepare.spans import InputFile
from duologue.data.prepare.workspace import Workspace, read_json, write_json
from duologue.data.quarantine import RowError
from duologue.errors import DataError

HASHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """What is known of an input file.

    Attributes:
        text_bytes: its size, unpacked; one more where it is cut short, so that the cut belongs to the last task.
    """

    name: str
    size_bytes: int
    changed_ns: int
    sha256: str
    text_bytes: int

    def is_still(self, path: Path) -> bool:
        """Whether the file has not changed since, by the looks of it."""
        state = _state(path)
        return (self.name, self.size_bytes, self.changed_ns) == (path.name, state.st_size, state.st_mtime_ns)

    @classmethod
    def of(cls, path: Path) -> MeasuredFile:
        """Reads the file once for its hash and, where it is packed, once more for its size."""
        before = _state(path)
        try:
            digest, is_packed = hashlib.sha256(), InputFile(path, 0).is_packed
            with path.open("rb") as file:
                while chunk := file.read(HASHED_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        text_bytes = sum(_sizes(path)) if is_packed else before.st_size
        return cls(path.name, before.st_size, before.st_mtime_ns, digest.hexdigest(), text_bytes)


class MeasureInputs(PipelineStep):
    """Measures files, one in so many for each task, unless that is done and the file the same."""

    type, name = "📖 - READER", "measure"

    def __init__(self, workspace: Workspace, paths: Sequence[Path]) -> None:
        """Takes all files."""
        super().__init__()
        self.workspace, self.paths = workspace, [path.absolute() for path in paths]

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes what it finds to the workspace."""
        for number in range(rank, len(self.paths), world_size):
            known = read_measured(self.workspace, number)
            if known is None or not known.is_still(self.paths[number]):
                write_json(self.workspace.measured(number), asdict(MeasuredFile.of(self.paths[number])))


def read_measured(workspace: Workspace, number: int) -> MeasuredFile | None:
    """What the step has found of one file, if it has come to it."""
    found = read_json(workspace.measured(number))
    return None if found is None else MeasuredFile(**found)


def known_inputs(workspace: Workspace, paths: Sequence[Path]) -> list[MeasuredFile] | None:
    """What was found earlier, where it is of the same files and none has changed."""
    found = [MeasuredFile(**fields) for fields in read_json(workspace.inputs) or []]
    is_same = len(found) == len(paths) and all(one.is_still(path) for one, path in zip(found, paths, strict=True))
    return found if is_same else None


def keep_inputs(workspace: Workspace, inputs: Sequence[MeasuredFile]) -> None:
    """Takes note of what was found, unless that is known."""
    fields = [asdict(one) for one in inputs]
    if read_json(workspace.inputs) != fields:
        write_json(workspace.inputs, fields)


def _sizes(path: Path) -> Iterator[int]:
    try:
        yield from map(len, read_chunks(path))
    except RowError:
        yield 1
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _state(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
