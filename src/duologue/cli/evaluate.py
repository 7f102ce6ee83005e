"""The verb ``evaluate``: bits per byte of a model on held-out dialogues, and right answers where they are known."""

from __future__ import annotations

import argparse
from itertools import islice

from duologue.cli.model_arguments import add_model_arguments, load_engine
from duologue.config import require

HELP = """Measures a model on dialogue files: bits per byte, and right answers where rows have "answers".

examples:
  duologue evaluate runs/quickstart --data held-out.jsonl
  duologue evaluate runs/quickstart --data en.jsonl zh.jsonl --limit 500 --json
  with rows such as {"messages": [...]}, {"text": "..."} or, for right answers,
  {"messages": [{"role": "user", "content": "2 + 2?"}], "answers": ["4", "four"], "skill": "sums", "lang": "en"}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``evaluate``."""
    add_model_arguments(parser)
    what = ".jsonl, .json, .csv, .tsv or .txt; .gz or .zst of it"
    parser.add_argument("--data", nargs="+", required=True, metavar="FILES", help=what)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows")


def run(arguments: argparse.Namespace) -> object:
    """Measures and shows; gives the result as JSON."""
    from rich.console import Console

    from duologue.data.quarantine import Quarantine
    from duologue.data.sources import checked_paths

    limit = arguments.limit
    require(limit is None or limit >= 1, "--limit", limit, "1 or more")
    paths, quarantine = checked_paths(arguments.data), Quarantine()  # before the model is loaded
    engine = load_engine(arguments)
    from duologue.evaluation.evaluation import evaluate
    from duologue.evaluation.items import read_rows
    from duologue.evaluation.report import render_evaluation

    console = Console(stderr=True, highlight=False)
    with console.status("reading") as status:
        rows = islice(read_rows(paths, quarantine), limit)
        found = evaluate(engine, rows, on_progress=lambda what, number: status.update(f"{what}: {number:,}"))
    console.print(render_evaluation(found))
    if quarantine.num_bad:
        bad = f"rows left out: {quarantine.num_bad:,}, the first: {quarantine.kept[0]}"
        console.print(bad, style="yellow", markup=False, soft_wrap=True)
    return found.to_dict()
