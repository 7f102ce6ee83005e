"""Where the parts of a preparation lie in its folder.

While it goes on, ``work/`` holds what one step leaves for the next, with datatrove's logs and its markers of finished
tasks; at the end it is taken away, and there is

    clean/train-00000.jsonl.zst ...    the rows to learn from; those of all files, one after the other, in input order
    clean/valid-00000.jsonl.zst ...    the rows kept back
    tokenizer/, tokens/train, tokens/valid    with a tokenizer: it, and the rows in its tokens (see data/shards.py)
    bad_rows.jsonl                     what could not be used: file, line, kind, reason
    identity.json                      inputs and settings that all of this was made from
    manifest.json                      the report, and size and SHA-256 of every file; written last
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.durable_files import replace_file


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of one preparation."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held while a process prepares here."""
        return self.path / ".lock"

    @property
    def inputs(self) -> Path:
        """What was measured of the input files, so that they are not read again to see that they are the same."""
        return self.path / ".inputs.json"

    @property
    def identity(self) -> Path:
        """What everything here is made from."""
        return self.path / "identity.json"

    @property
    def manifest(self) -> Path:
        """Report and hashes."""
        return self.path / "manifest.json"

    @property
    def bad_rows(self) -> Path:
        """Rows that could not be used."""
        return self.path / "bad_rows.jsonl"

    @property
    def work(self) -> Path:
        """What is taken away at the end."""
        return self.path / "work"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer of the tokens."""
        return self.path / "tokenizer"

    def step(self, name: str) -> Path:
        """Logs and completion markers of one step."""
        return self.work / "steps" / name

    def measured(self, number: int) -> Path:
        """Size and hash of an input file."""
        return self.work / "inputs" / f"{number:05d}.json"

    def rows(self, rank: int) -> Path:
        """The rows of a task, as read."""
        return self.work / "rows" / f"{rank:05d}.jsonl.zst"

    def bad_rows_of(self, rank: int) -> Path:
        """The bad rows of a task."""
        return self.work / "bad_rows" / f"{rank:05d}.jsonl"

    def counts(self, step: str, rank: int) -> Path:
        """What a task counted."""
        return self.work / "counts" / step / f"{rank:05d}.json"

    def exact_hashes(self, rank: int) -> Path:
        """The 64-bit hash of each row of a task."""
        return self.work / "exact_hashes" / f"{rank:05d}.bin"

    @property
    def signatures(self) -> Path:
        """MinHash signatures by bucket and task."""
        return self.work / "signatures"

    @property
    def pairs(self) -> Path:
        """Pairs of rows with an equal bucket."""
        return self.work / "pairs"

    @property
    def removed(self) -> Path:
        """Which rows of each task are duplicates."""
        return self.work / "removed"

    def clean(self, split: str, rank: int) -> Path:
        """The rows of a task on one side."""
        return self.path / "clean" / f"{split}-{rank:05d}.jsonl.zst"

    def tokens_of(self, split: str, rank: int) -> Path:
        """The same in tokens."""
        return self.work / "tokens" / f"{split}-{rank:05d}"

    def tokens(self, split: str) -> Path:
        """All tokens of one side."""
        return self.path / "tokens" / split


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file that appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


def read_json(path: Path) -> Any:
    """A JSON file, or None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
