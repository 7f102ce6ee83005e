"""Dialogue files made harder, as files for any trainer: the same bytes with any number of workers."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
from duologue.data.formats import Row
from duologue.data.prepare.row_files import new_line_file, to_json
from duologue.data.sources import read_conversations
from duologue.errors import ConfigError, DataError

MATERIAL_ROWS = 5_000  # from which exchanges for the noise are taken
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
    policy, report = policy_for(files, config), AugmentReport()
    try:
        with new_line_file(out) as write:
            for line, families in _lines(policy, read_conversations(files), copies, workers):
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
    """The policy of a table, with material from the beginning of some files."""
    rows = itertools.islice(read_conversations(files), MATERIAL_ROWS)
    return Policy.of(config, (row for row in rows if isinstance(row, Conversation)))


def harder_rows(policy: Policy, rows: Iterable[Row]) -> Iterator[HarderDialogue]:
    """The dialogues among some rows that come out harder."""
    for row in rows:
        if isinstance(row, Conversation):
            harder = policy.harden(row)
            if harder.changes:
                yield harder


Line = tuple[str, tuple[str, ...]]
_policy: Policy | None = None  # of a worker process, set once when it starts


def _lines(policy: Policy, rows: Iterable[Row], copies: int, workers: int) -> Iterator[Line]:
    if workers == 1:
        for row in rows:
            yield from _copies(policy, row, copies)
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


def _work(rows: list[Row], copies: int) -> list[Line]:
    assert _policy is not None
    return [line for row in rows for line in _copies(_policy, row, copies)]


def _copies(policy: Policy, row: Row, copies: int) -> Iterator[Line]:
    for epoch in range(copies):
        if isinstance(row, Conversation):
            harder = policy.harden(row, epoch=epoch)
            yield json.dumps(harder.to_dict(), ensure_ascii=False), harder.families if harder.changes else ()
        elif epoch == 0:
            yield to_json(row), ()
