"""The end of a preparation: the report, and a manifest over every file that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from duologue.data.prepare.report import FileReport, PreparationReport
from duologue.data.prepare.settle import task_counts, write_bad_rows
from duologue.data.prepare.workspace import Workspace, read_json, write_json
from duologue.data.prepare.write_rows import SPLITS
from duologue.data.quarantine import FileCount
from duologue.data.shards import MANIFEST
from duologue.durable_files import fingerprint, remove_folder
from duologue.errors import RunFolderError


def finish(workspace: Workspace, counts: Sequence[FileCount], num_tasks: int) -> PreparationReport:
    """Writes bad rows and manifest, and takes away what was only needed on the way."""
    write_bad_rows(workspace, [count.path for count in counts], num_tasks)
    report = _report(workspace, counts, num_tasks)
    write_json(workspace.manifest, {"report": report.to_dict(), "files": _hashes(workspace)})
    remove_work(workspace)
    return report


def finished_report(workspace: Workspace) -> PreparationReport | None:
    """The report of a preparation that has ended; None where it has not.

    Raises:
        RunFolderError: a file of it is missing or has another size.
    """
    manifest = read_json(workspace.manifest)
    if manifest is None:
        return None
    for name, found in manifest["files"].items():
        path = workspace.path / name
        if not path.is_file() or path.stat().st_size != found["size_bytes"]:
            raise RunFolderError(f"{path}: is not what {workspace.manifest.name} says; delete {workspace.path} and "
                                 "prepare anew")  # fmt: skip
    remove_work(workspace)
    return PreparationReport.from_dict(manifest["report"])


def remove_work(workspace: Workspace) -> None:
    """Takes away what the steps have left for each other."""
    if workspace.work.exists():
        remove_folder(workspace.work)


def _report(workspace: Workspace, counts: Sequence[FileCount], num_tasks: int) -> PreparationReport:
    files = tuple(FileReport(one.path.name, one.format, one.num_rows, one.num_bad) for one in counts)
    duplicates = read_json(workspace.counts("duplicates", 0)) or {"num_exact": 0, "num_near": 0}
    clean = task_counts(workspace, "clean", num_tasks)
    train, valid = (sum(one["rows"][split] for one in clean) for split in SPLITS)
    tokens = [found for split in SPLITS if (found := read_json(workspace.tokens(split) / MANIFEST))]
    return PreparationReport(
        files=files,
        num_rows=sum(one.num_rows for one in files),
        num_bad=sum(one.num_bad for one in files),
        **duplicates,
        num_train=train,
        num_valid=valid,
        text_bytes=sum(one["text_bytes"] for one in clean),
        num_tokens=sum(one["num_tokens"] for one in tokens) if tokens else None,
        learned_tokens=sum(one["num_learned"] for one in tokens) if tokens else None,
    )


def _hashes(workspace: Workspace) -> dict[str, Any]:
    """Size and SHA-256 of each file that stays, by its name in the folder."""
    kept = (workspace.path / name for name in ("clean", "tokens", "tokenizer"))
    files = [workspace.bad_rows, workspace.identity, *(path for folder in kept for path in sorted(folder.rglob("*")))]
    return {
        path.relative_to(workspace.path).as_posix(): asdict(fingerprint(path)) for path in files if path.is_file()
    }  # fmt: skip
