"""The last steps: rows that are kept go to their side, clean and, with a tokenizer, in tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from duologue.data.corpus import Split
from duologue.data.prepare.row_files import new_row_file, read_row_file
from duologue.data.prepare.workspace import Workspace, write_json
from duologue.data.shards import MANIFEST, Manifest, Shards, write_shards
from duologue.data.validation import is_validation
from duologue.durable_files import new_folder
from duologue.sealed_folder import seal
from duologue.tokenizer.tokenizer import Tokenizer

SPLITS = tuple(split.value for split in Split)
COPIED_BYTES = 1 << 20


class WriteClean(PipelineStep):
    """Writes each row into the task's file of its side; a side with no rows gets no file."""

    type, name = "💽 - WRITER", "clean rows"

    def __init__(self, workspace: Workspace, validation_fraction: float) -> None:
        """Opens nothing yet."""
        super().__init__()
        self.workspace, self.validation_fraction = workspace, validation_fraction

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> None:
        """Takes all rows of a task."""
        counts = dict.fromkeys(SPLITS, 0)
        text_bytes = 0
        with ExitStack() as files:
            writers: dict[str, Any] = {}
            for document in data:
                row = document.metadata["row"]
                split = Split.VALID if is_validation(row, fraction=self.validation_fraction) else Split.TRAIN
                if split not in writers:
                    writers[split] = files.enter_context(new_row_file(self.workspace.clean(split, rank)))
                writers[split](row)
                counts[split] += 1
                text_bytes += len(document.text.encode("utf-8"))
        write_json(self.workspace.counts("clean", rank), {"rows": counts, "text_bytes": text_bytes})


class TokeniseRows(PipelineStep):
    """Tokenises the clean rows of a task, side by side, into a shard folder each."""

    type, name = "✂️ - TOKENIZER", "tokens"

    def __init__(self, workspace: Workspace, fingerprint: str) -> None:
        """Takes the tokenizer that lies in the workspace; ``fingerprint`` goes into the shards."""
        super().__init__()
        self.workspace, self.fingerprint = workspace, fingerprint

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes a shard folder for each side that has rows."""
        tokenizer = Tokenizer.from_pretrained(self.workspace.tokenizer)
        for split in SPLITS:
            path = self.workspace.clean(split, rank)
            if path.is_file():
                folder = self.workspace.tokens_of(split, rank)
                write_shards(read_row_file(path), tokenizer, folder, fingerprint=self.fingerprint)


class JoinTokens(PipelineStep):
    """Puts all tasks' shards of one side together: what would come of tokenising all rows at once."""

    type, name = "🫶 - MERGER", "tokens"

    def __init__(self, workspace: Workspace, num_tasks: int) -> None:
        """Task 0 joins what is to be learned from, task 1 what is kept back."""
        super().__init__()
        self.workspace, self.num_tasks = workspace, num_tasks

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes the folder of one side, unless that has no rows."""
        parts = [self.workspace.tokens_of(SPLITS[rank], task) for task in range(self.num_tasks)]
        if parts := [part for part in parts if (part / MANIFEST).is_file()]:
            with new_folder(self.workspace.tokens(SPLITS[rank])) as folder:
                _join([Shards.open(part) for part in parts], parts, folder)


def _join(shards: Sequence[Shards], parts: Sequence[Path], folder: Path) -> None:
    for name in ("tokens.bin", "learned.bin"):
        with (folder / name).open("wb") as whole:
            for part in parts:
                _append(part / name, whole)
    lengths = np.concatenate([np.diff(shard.offsets) for shard in shards])
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    manifests = [shard.manifest for shard in shards]
    sums = {name: sum(getattr(one, name) for one in manifests)
            for name in ("num_documents", "num_tokens", "num_learned", "num_bytes")}  # fmt: skip
    manifest = Manifest(**sums, dtype=manifests[0].dtype, tokenizer=manifests[0].tokenizer)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    seal(folder)


def _append(path: Path, whole: IO[bytes]) -> None:
    with path.open("rb") as part:
        while chunk := part.read(COPIED_BYTES):
            whole.write(chunk)
