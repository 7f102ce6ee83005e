"""The verb ``models``: what is here, pulled or trained."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

HELP = """Lists the models that are here: pulled ones, and those of finished runs under runs/.

examples:
  duologue models
  duologue models --json
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that is here; ``name`` is what other verbs take as MODEL."""

    name: str
    path: Path
    source: str
    size_bytes: int
    date: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: ``models`` has no arguments of its own."""


def run(arguments: argparse.Namespace) -> object:
    """Shows the models; gives them as JSON."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [*_pulled(), *_trained()]
    console = Console(stderr=True, highlight=False)
    if not found:
        console.print("no models here yet: duologue quickstart trains one, duologue pull smollm2-135m fetches one")
        return found
    table = Table("name", "size", "date", "source", box=None, pad_edge=False)
    for model in found:
        size = f"{model.size_bytes / 1e6:,.1f} MB"
        table.add_row(*(Text(text) for text in (model.name, size, model.date.replace("T", " ")[:16], model.source)))
    console.print(table)
    return found


def _pulled() -> Iterator[Listed]:
    from duologue.hub.cache import pulled_models

    for folder, record in pulled_models():
        yield _listed(record.name, folder, record.source)


def _trained() -> Iterator[Listed]:
    from duologue.hub.resolve import RUNS

    for config in sorted(RUNS.glob("*/model/config.json")):
        run_folder = config.parents[1]
        yield _listed(str(run_folder), config.parent, "trained here")


def _listed(name: str, folder: Path, source: str) -> Listed:
    size_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    date = datetime.fromtimestamp((folder / "config.json").stat().st_mtime).astimezone()
    return Listed(name, folder, source, size_bytes, date.isoformat(timespec="seconds"))
