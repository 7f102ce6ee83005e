"""Looks into dialogue files before anything is trained on them, makes large ones ready for it, and any of them harder.

Examples:
  duologue data check my.jsonl more.csv
  duologue data check my.jsonl --json
  duologue data show my.jsonl --index 3
  duologue data prepare crawl/*.jsonl.gz --out prepared
  duologue data augment my.jsonl --preview 5
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

from duologue.cli.augment import add_augment, augment_files
from duologue.cli.prepare import add_prepare, prepare_files
from duologue.errors import DataError, UsageError

HELP = __doc__


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the second words."""
    words = parser.add_subparsers(dest="word", metavar="check | show | prepare | augment", required=True)
    check = words.add_parser("check", help="format, counts, duplicates, bad lines")
    show = words.add_parser("show", help="one row with its loss mask painted")
    for one in (check, show, add_prepare(words), add_augment(words)):
        one.add_argument("files", nargs="+", metavar="FILES", help=".jsonl, .json, .csv, .tsv, .txt; also packed")
    show.add_argument("--index", type=int, default=0, metavar="N", help="which row, counted from 0 (default 0)")
    show.add_argument("--model", metavar="MODEL", help="a model folder: paint by its tokens")


def run(arguments: argparse.Namespace) -> object:
    """Checks, shows, prepares or augments; gives the report or the row as JSON."""
    words = {"check": _check, "show": _show, "prepare": prepare_files, "augment": augment_files}
    return words[arguments.word](arguments)


def _check(arguments: argparse.Namespace) -> object:
    from rich.console import Console

    from duologue.data.check import check
    from duologue.data.report import render_report

    report = check(arguments.files)
    if report.problem is None or not arguments.json:
        Console(stderr=True).print(render_report(report))
    if report.problem is None:
        return report.to_dict()
    if arguments.json:
        return _then_fail(report.to_dict(), report.problem)
    raise DataError(report.problem)


def _then_fail(result: object, problem: str) -> Iterator[object]:
    """The result for whoever reads JSON, and exit code 1 all the same."""
    yield result
    raise DataError(problem)


def _show(arguments: argparse.Namespace) -> object:
    from rich.console import Console

    from duologue.data.loss_mask import spans_by_message, spans_by_token
    from duologue.data.quarantine import Quarantine
    from duologue.data.report import render_spans
    from duologue.data.sources import checked_paths, read_numbered_rows
    from duologue.tokenizer.tokenizer import Tokenizer

    if arguments.index < 0:
        raise UsageError(f"--index is {arguments.index}; expected 0 or more")
    rows = read_numbered_rows(checked_paths(arguments.files), Quarantine())
    found = next(itertools.islice(rows, arguments.index, None), None)
    if found is None:
        raise UsageError(f"--index is {arguments.index}, but there are not so many rows; see duologue data check")
    tokenizer = Tokenizer.from_pretrained(arguments.model) if arguments.model else None
    spans = spans_by_message(found.row) if tokenizer is None else spans_by_token(found.row, tokenizer)
    console = Console(stderr=True, highlight=False)
    console.print(f"{found.path}:{found.line_number}", style="bold", markup=False)
    console.print(render_spans(spans), soft_wrap=True)
    return {"path": found.path, "line": found.line_number, "spans": spans}
