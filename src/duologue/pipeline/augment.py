"""Dialogue files made harder, as files for any trainer: the same bytes with any number of workers."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from duologue.adversarial.config import AdversarialConfig
from duologue.adversarial.dialogue import HarderDialogue
from duologue.adversarial.policy import Policy
from duologue.adversarial.table_files import tables_version
from duologue.conversation import Conversation
from duologue.data.fields_beside import FieldsBeside
from duologue.data.formats import Row
from duologue.data.prepare.row_files import new_line_file, to_json
from duologue.data.quarantine import Quarantine
from duologue.data.sources import checked_paths, read_conversations, read_numbered_rows
from duologue.errors import ConfigError, DataError

BATCH = 500  # rows that a worker gets at once
SUFFIXES = (".jsonl", ".jsonl.zst")


@dataclass
class AugmentReport:
    """What came out.

    Attributes:
        num_rows: rows written, copies counted apart.
        num_harder: rows with noise in them.
        families: how many rows each family is in.
        tables: the version of the tables of noise.
    """

    num_rows: int = 0
    num_harder: int = 0
    families: Counter[str] = field(default_factory=Counter)
    tables: str = field(default_factory=tables_version)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, the commonest family first."""
        return asdict(self) | {"families": dict(self.families.most_common())}


def augment(
    files: list[str],
    out: Path,
    config: AdversarialConfig,
    *,
    copies: int = 1,
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda number: None,
) -> AugmentReport:
    """Writes the dialogues of some files made harder; every copy has noise of its own.

    Raises:
        ConfigError: the name of the new file is of another kind, or a family is not known.
        DataError: a file cannot be used.
    """
    if not out.name.endswith(SUFFIXES):
        raise ConfigError(f"--out: is {out}; expected a name that ends in {' or '.join(SUFFIXES)}")
    if any(out.resolve() == Path(file).resolve() for file in files):
        raise ConfigError(f"--out: is {out}, which is read from; expected another name")
    policy, report = policy_for(files, config), AugmentReport()
    try:
        with new_line_file(out) as write:
            for line, families in _lines(policy, _rows_with_fields(files), copies, workers):
                write(line)
                report.num_rows += 1
                report.num_harder += bool(families)
                report.families.update(families)
                if report.num_rows % 1000 == 0:
                    on_progress(report.num_rows)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from None
    on_progress(report.num_rows)
    return report


def policy_for(files: list[str], config: AdversarialConfig) -> Policy:
    """The policy of a table, with material from all of some files, whatever the order of their rows."""
    return Policy.of(config, (row for row in read_conversations(files) if isinstance(row, Conversation)))


def harder_rows(policy: Policy, rows: Iterable[Row]) -> Iterator[HarderDialogue]:
    """The dialogues among some rows that come out harder."""
    for row in rows:
        if isinstance(row, Conversation):
            harder = policy.harden(row)
            if harder.changes:
                yield harder


Line = tuple[str, tuple[str, ...]]
Beside = Mapping[str, Any]  # fields of a row that are none of the dialogue
OWN = ("messages", "id", "source", "lang", "text")
_policy: Policy | None = None  # of a worker process, set once when it starts


def _rows_with_fields(files: list[str]) -> Iterator[tuple[Row, Beside]]:
    beside = FieldsBeside()
    for numbered in read_numbered_rows(checked_paths(files), Quarantine()):
        fields = beside.fields_of(numbered)
        if "adversarial" in fields:
            where = f"{numbered.path}:{numbered.line_number}"
            raise DataError(f"{where}: has noise in it already; give the file that it was made from")
        is_ours = "messages" in fields or "text" in fields
        yield numbered.row, {name: one for name, one in fields.items() if is_ours and name not in OWN}


def _lines(policy: Policy, rows: Iterable[tuple[Row, Beside]], copies: int, workers: int) -> Iterator[Line]:
    if workers == 1:
        for row, beside in rows:
            yield from _copies(policy, row, beside, copies)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (policy,)) as pool:
        source = iter(rows)
        batches = iter(lambda: list(itertools.islice(source, BATCH)), [])
        while wave := list(itertools.islice(batches, 4 * workers)):  # so that memory does not grow with the files
            for lines in pool.map(_work, wave, itertools.repeat(copies)):
                yield from lines


def _start_worker(policy: Policy) -> None:
    global _policy
    _policy = policy


def _work(rows: list[tuple[Row, Beside]], copies: int) -> list[Line]:
    assert _policy is not None
    return [line for row, beside in rows for line in _copies(_policy, row, beside, copies)]


def _copies(policy: Policy, row: Row, beside: Beside, copies: int) -> Iterator[Line]:
    for epoch in range(copies):
        if isinstance(row, Conversation):
            harder = policy.harden(row, epoch=epoch)
            line = json.dumps(harder.to_dict() | dict(beside), ensure_ascii=False)
            yield line, harder.families if harder.changes else ()
        elif epoch == 0:
            yield to_json(row), ()
