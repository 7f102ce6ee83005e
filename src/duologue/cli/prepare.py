"""The second word ``prepare`` of the verb ``data``: a corpus made ready for training, whatever its size."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

HELP = """Makes dialogue files of any size ready for training: clean, without duplicates, split, tokenised if asked to.

The same command again goes on where the last one was stopped. Left in DIR: clean/*.jsonl.zst, bad_rows.jsonl,
manifest.json and, with --tokenizer, tokens/. Neither the executor nor the number of workers changes a byte."""
EXAMPLES = """examples:
  duologue data prepare crawl/*.jsonl.gz --out prepared
  duologue data prepare crawl/*.jsonl.gz --out prepared --executor ray --workers 8 --tokenizer runs/small
  duologue pretrain small --data prepared/clean/*.jsonl.zst
  duologue pretrain small --data.prepared prepared
"""


def add_prepare(words: Any) -> argparse.ArgumentParser:
    """Adds the word, with all that it takes beside FILES."""
    parser: argparse.ArgumentParser = words.add_parser(
        "prepare", help="clean, without duplicates, split, tokenised: for corpora of any size",
        description=HELP, epilog=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the corpus is to lie")
    parser.add_argument("--tokenizer", metavar="MODEL", help="tokenise too, by a model's or a run's tokenizer")
    parser.add_argument("--keep-duplicates", action="store_true", help="keep rows that repeat an earlier one")
    parser.add_argument("--validation-rows", type=int, default=500, metavar="N",
                        help="rows to keep back, about (default 500)")  # fmt: skip
    parser.add_argument("--tasks", type=int, default=0, metavar="N",
                        help="parts of the work, files to leave (default: one for each 64 MB of text)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=_num_cores(), metavar="N",
                        help="tasks at once (default: one for each core)")  # fmt: skip
    parser.add_argument("--executor", choices=("local", "ray"), default="local",
                        help="processes of this machine, or Ray (RAY_ADDRESS: a cluster that is there)")  # fmt: skip
    return parser


def prepare_files(arguments: argparse.Namespace) -> object:
    """Prepares; gives the report as JSON."""
    from rich.console import Console

    from duologue.cli.step_progress import StepProgress
    from duologue.data.prepare.extra import require_extra
    from duologue.data.prepare.settings import Settings

    settings = Settings(
        tasks=arguments.tasks, keeps_duplicates=arguments.keep_duplicates, validation_rows=arguments.validation_rows,
        tokenizer=_tokenizer_folder(arguments.tokenizer), workers=arguments.workers, executor=arguments.executor,
        is_debug=arguments.debug,
    )  # fmt: skip
    require_extra(settings.executor)
    from duologue.data.prepare.preparation import prepare
    from duologue.data.prepare.report import render_preparation

    console = Console(stderr=True, highlight=False)
    report = prepare(arguments.files, arguments.out, settings, watch=StepProgress(console).watch)
    console.print(render_preparation(report))
    console.print(f"prepared: {arguments.out}", style="bold", markup=False, soft_wrap=True)
    return report.to_dict() | {"out": str(arguments.out)}


def _tokenizer_folder(name: str | None) -> Path | None:
    """The folder itself, that of a run, or the model that a name means."""
    if name is None:
        return None
    from duologue.hub.resolve import resolve_model

    folders = (folder for folder in (Path(name), Path(name) / "tokenizer") if (folder / "tokenizer.json").is_file())
    return next(folders, None) or resolve_model(name)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
