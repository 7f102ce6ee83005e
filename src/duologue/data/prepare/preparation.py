"""A corpus made ready, step by step; each step is a datatrove pipeline over the tasks, and is done once.

    measure   hash and size of every input file          a few tasks a worker
    read      rows, bad rows, signatures                 N tasks
    pairs     rows with an equal bucket of signatures    N tasks, at most one a bucket
    groups    the first row of each group of duplicates  one task
    clean     the rows that are kept, side by side       N tasks
    tokens    the same in tokens                         N tasks
    join      all tokens of a side in one folder         two tasks

Every task is a pure function of its input: where it runs, with how many others, and how often the command was killed
changes no byte. The number of tasks changes neither the rows nor their order, only how many files they lie in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from duologue.data.corpus import MOST_VALIDATION
from duologue.data.prepare.duplicate_rows import NUM_BUCKETS, FirstOfEachGroup, Pairs, Signatures, without_duplicates
from duologue.data.prepare.executors import LocalExecutor, RayExecutor, failure, local_processes, quiet, ray_running
from duologue.data.prepare.finish import finish, finished_report
from duologue.data.prepare.identity import require_same, sha256_of
from duologue.data.prepare.inputs import MeasuredFile, MeasureInputs, keep_inputs, known_inputs, read_measured
from duologue.data.prepare.read_rows import ReadRows, StoredRows
from duologue.data.prepare.report import PreparationReport
from duologue.data.prepare.settings import Settings
from duologue.data.prepare.settle import judge_rows
from duologue.data.prepare.spans import InputFile
from duologue.data.prepare.workspace import Workspace, read_json
from duologue.data.prepare.write_rows import SPLITS, JoinTokens, TokeniseRows, WriteClean
from duologue.data.quarantine import FileCount
from duologue.data.sources import Paths, checked_paths
from duologue.durable_files import new_folder, remove_leftovers
from duologue.errors import BusyError, RunFolderError
from duologue.folder_lock import locked
from duologue.tokenizer.tokenizer import Tokenizer

BYTES_PER_TASK = 64 << 20
TASKS_PER_WORKER = 2
# What is shown of each step while it runs: a context that is told which folder its tasks leave markers in.
Watch = Callable[[str, Path, int], AbstractContextManager[None]]


def prepare(
    paths: Paths, out: Path, settings: Settings, *, watch: Watch = lambda name, folder, num_tasks: nullcontext()
) -> PreparationReport:
    """Makes a corpus ready in a folder; what is done there already is not done again.

    Args:
        watch: is entered around each step.

    Raises:
        DataError: files that cannot be used, as in read_conversations.
        RunFolderError: the folder cannot be written, is another preparation's, or a task failed.
    """
    files, workspace = checked_paths(paths), Workspace(out.absolute())
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(workspace.lock))
            _remove_leftovers(workspace)
        except BusyError as error:
            remedy = "wait for it, or give another --out"
            raise RunFolderError(f"{error}, which prepares in this folder; {remedy}") from None
        except OSError as error:
            raise RunFolderError(f"{out}: cannot be written: {error.strerror or error}; give another --out") from None
        held.enter_context(quiet(is_debug=settings.is_debug))
        return _Preparation(files, workspace, settings, watch, held).run()


@dataclass
class _Preparation:
    """One preparation on its way."""

    paths: list[Path]
    workspace: Workspace
    settings: Settings
    watch: Watch
    held: ExitStack

    def run(self) -> PreparationReport:
        """All steps that are not done yet."""
        inputs = self._inputs()
        files = [InputFile(path, one.text_bytes) for path, one in zip(self.paths, inputs, strict=True)]
        num_tasks = self.settings.tasks or max(1, math.ceil(sum(file.text_bytes for file in files) / BYTES_PER_TASK))
        report = finished_report(self.workspace)
        require_same(self.workspace, inputs, self.settings, num_tasks)
        keep_inputs(self.workspace, inputs)
        if report is not None:
            return report
        counts = self._read(files, num_tasks)
        self._write(counts, num_tasks)
        return finish(self.workspace, counts, num_tasks)

    def _inputs(self) -> list[MeasuredFile]:
        known = known_inputs(self.workspace, self.paths)
        if known is None:
            # What is done is not known by markers here: a file may have changed since.
            num_tasks = min(len(self.paths), TASKS_PER_WORKER * self.settings.workers)
            self._step("measure", [MeasureInputs(self.workspace, self.paths)], num_tasks, is_kept=False)
            known = [one for number in range(len(self.paths)) if (one := read_measured(self.workspace, number))]
        return known

    def _read(self, files: list[InputFile], num_tasks: int) -> list[FileCount]:
        steps: list[Any] = [ReadRows(self.workspace, files)]
        if not self.settings.keeps_duplicates:
            steps.append(Signatures(self.workspace))
        self._step("read", steps, num_tasks)
        counts = judge_rows(self.workspace, self.paths, num_tasks)
        if not self.settings.keeps_duplicates:
            self._step("pairs", [Pairs(self.workspace)], min(num_tasks, NUM_BUCKETS))
            self._step("groups", [FirstOfEachGroup(self.workspace)], 1)
        return counts

    def _write(self, counts: list[FileCount], num_tasks: int) -> None:
        workspace, settings = self.workspace, self.settings
        duplicates = read_json(workspace.counts("duplicates", 0)) or {}
        num_rows = sum(count.num_good for count in counts) - sum(duplicates.values())
        fraction = min(MOST_VALIDATION, settings.validation_rows / max(1, num_rows))
        passes = [] if settings.keeps_duplicates else [without_duplicates(workspace)]
        self._step("clean", [StoredRows(workspace), *passes, WriteClean(workspace, fraction)], num_tasks)
        if settings.tokenizer is not None:
            self._take_tokenizer(settings.tokenizer)
            self._step("tokens", [TokeniseRows(workspace, sha256_of(workspace.identity))], num_tasks)
            self._step("join", [JoinTokens(workspace, num_tasks)], len(SPLITS))

    def _take_tokenizer(self, origin: Path) -> None:
        if not self.workspace.tokenizer.exists():
            Tokenizer.from_pretrained(origin)  # refuses what is none
            with new_folder(self.workspace.tokenizer) as folder:
                for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
                    if (origin / name).is_file():
                        (folder / name).write_bytes((origin / name).read_bytes())

    def _executor(self, pipeline: list[Any], folder: Path, num_tasks: int) -> LocalExecutor | RayExecutor:
        if self.settings.executor == "local":
            return LocalExecutor(pipeline, folder, num_tasks, self._processes)
        _ = self._ray
        return RayExecutor(pipeline, folder, num_tasks, self.settings.workers)

    @cached_property
    def _processes(self) -> ProcessPoolExecutor:
        settings = self.settings
        return self.held.enter_context(local_processes(workers=settings.workers, is_debug=settings.is_debug))

    @cached_property
    def _ray(self) -> None:
        self.held.enter_context(ray_running(workers=self.settings.workers, is_debug=self.settings.is_debug))

    def _step(self, name: str, pipeline: list[Any], num_tasks: int, *, is_kept: bool = True) -> None:
        """Runs the tasks of a step that are not done."""
        folder = self.workspace.step(name)
        executor = self._executor(pipeline, folder, num_tasks)
        executor.skip_completed = is_kept
        if not executor.get_incomplete_ranks():
            return
        _forget(folder.glob("failures/*"))
        problem: Exception | None = None
        with self.watch(name, folder / "completions", num_tasks):
            try:
                executor.run()
            except Exception as error:
                problem = error
        if problem is not None or executor.get_incomplete_ranks(skip_completed=True):
            raise failure(folder, problem) from problem


def _remove_leftovers(workspace: Workspace) -> None:
    for folder in (workspace.path, *workspace.path.glob("*/"), *workspace.work.glob("**/")):
        remove_leftovers(folder)


def _forget(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()
