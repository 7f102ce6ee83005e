"""Where tasks run: processes of this machine, or Ray. Both are datatrove's executors, made quiet and mortal.

A task that has ended leaves a marker and is not run again; one that fails leaves its reason for the command to find.
No task outlives the process that started it, so that a killed command can be given again at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import loguru
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from datatrove.utils.stats import PipelineStats

from duologue import errors
from duologue.data.prepare.workspace import read_json, write_json
from duologue.errors import DuologueError, RunFolderError

CHECK_S = 0.1
QUIET_RANK = 1  # the task of local rank 0 logs to the terminal
PRELOADED = ["duologue.data.prepare.preparation"]


class _Step:
    """What both executors have in common."""

    logging_dir: Any
    folder: Path

    def _run_for_rank(self, rank: int, local_rank: int = QUIET_RANK, node_rank: int = -1) -> PipelineStats:
        _end_with_parent()
        # datatrove ends the process that a task has on Ray by SIGTERM; Ray's own handler, inherited, may wait for ever.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the tasks themselves are what runs side by side
        tempfile.tempdir = str(self.folder / "scratch")  # datatrove's Ray executor logs into one shared place
        try:
            return super()._run_for_rank(rank, QUIET_RANK, node_rank)  # type: ignore[misc]
        except Exception as error:
            write_json(self.folder / "failures" / f"{rank:05d}.json", _reason(error, rank, self.folder))
            raise


class LocalExecutor(_Step, LocalPipelineExecutor):
    """Tasks in processes of this machine, which have been started (see ``local_processes``).

    datatrove's own pool waits for ever where a task is killed, and keeps a process that outlives a killed command.
    """

    def __init__(self, pipeline: list[Any], folder: Path, tasks: int, pool: ProcessPoolExecutor) -> None:
        super().__init__(pipeline, tasks=tasks, logging_dir=str(folder))
        self.folder = folder
        self.pool: ProcessPoolExecutor | None = pool

    def run(self) -> None:
        """Runs what is not done yet."""
        pool, self.pool = self.pool, None  # no part of what the tasks are sent
        assert pool is not None
        futures = [pool.submit(self._run_for_rank, rank) for rank in self.get_incomplete_ranks(range(self.tasks))]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            running = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:  # what they have begun is done again the next time
                process.kill()
            raise


class RayExecutor(_Step, RayPipelineExecutor):
    """Tasks on Ray, which has been started (see ``ray_running``)."""

    def __init__(self, pipeline: list[Any], folder: Path, tasks: int, workers: int) -> None:
        super().__init__(pipeline, tasks=tasks, workers=workers, logging_dir=str(folder), mem_per_cpu_gb=0)
        self.folder = folder


@contextlib.contextmanager
def quiet(*, is_debug: bool) -> Iterator[None]:
    """Keeps datatrove from talking on stderr."""
    if not is_debug:
        loguru.logger.disable("datatrove")
    try:
        yield
    finally:
        loguru.logger.enable("datatrove")


@contextlib.contextmanager
def local_processes(*, workers: int, is_debug: bool) -> Iterator[ProcessPoolExecutor]:
    """Processes of this machine for the tasks of all steps."""
    context = multiprocessing.get_context(_start_method())
    if _start_method() == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(workers, context, _begin_worker, (is_debug,)) as pool:
        yield pool


@contextlib.contextmanager
def ray_running(*, workers: int, is_debug: bool) -> Iterator[None]:
    """Ray, for this command only and not to be reached from outside; or the cluster that ``RAY_ADDRESS`` names."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    is_own = not os.environ.get("RAY_ADDRESS")
    if is_own:
        # On Linux Ray else listens on all interfaces, whatever address it is given.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    options: dict[str, Any] = {} if is_debug else {"logging_level": "ERROR", "log_to_driver": False}
    # Ray's sockets lie in it, and their paths may not be long.
    place = "/tmp" if os.path.isdir("/tmp") else None
    with tempfile.TemporaryDirectory(prefix="duologue-ray-", dir=place, ignore_cleanup_errors=True) as folder:
        if is_own:
            options |= {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            options |= {"_temp_dir": folder}
        try:
            ray.init(**options)
        except Exception as error:
            raise RunFolderError(f"Ray cannot be started: {error}; use --executor local") from None
        try:
            yield
        finally:
            ray.shutdown()


def failure(folder: Path, error: BaseException | None) -> DuologueError:
    """Why a step is not done: what its tasks have left, else what its executor raised."""
    for path in sorted((folder / "failures").glob("*.json")):
        found = read_json(path)
        return getattr(errors, found["kind"])(found["message"])  # type: ignore[no-any-return]
    reason = f": {error}" if error is not None else ""
    return RunFolderError(f"{folder.name}: a task was killed{reason}; where memory is short give fewer --workers; the "
                          "same command carries on")  # fmt: skip


def _reason(error: Exception, rank: int, folder: Path) -> dict[str, str]:
    if isinstance(error, DuologueError):
        kind = next(one.__name__ for one in type(error).__mro__ if hasattr(errors, one.__name__))
        return {"kind": kind, "message": str(error)}
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or folder}: cannot be written: {error.strerror}; free space and start again"
        return {"kind": "RunFolderError", "message": text}
    log = folder / "logs" / f"task_{rank:05d}.log"
    return {"kind": "RunFolderError", "message": f"task {rank} failed: {type(error).__name__}: {error}; see {log}"}


def _start_method() -> str:
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _begin_worker(is_debug: bool) -> None:
    _end_with_parent()
    if not is_debug:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _end_with_parent() -> None:
    """Ends this process as soon as the one that wants its work has ended; once a process is enough."""
    name = "end with parent"
    if not any(thread.name == name for thread in threading.enumerate()):
        threading.Thread(target=_await_parent, args=(os.getppid(),), name=name, daemon=True).start()


def _await_parent(parent_id: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    while parent is None and os.getppid() == parent_id:  # a process of Ray
        time.sleep(CHECK_S)
    os._exit(1)
