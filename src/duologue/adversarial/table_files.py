"""The tables of noise: tab-separated files beside this one, each with where it comes from at its head."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Iterable, Sequence
from functools import cache


@cache
def read_table(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of ``tables/<name>.tsv``, without its comments."""
    lines = _text(name).splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line and not line.startswith("#"))


def each_to_others(rows: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """To each member of a row, in lower case, all others of it; of several rows together."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        for word in row:
            found[word.lower()] = found.get(word.lower(), ()) + tuple(other for other in row if other != word)
    return {word: others for word, others in found.items() if others}


@cache
def tables_version() -> str:
    """Twelve digits that stand for the contents of all tables."""
    folder = importlib.resources.files("duologue.adversarial") / "tables"
    names = sorted(path.name.removesuffix(".tsv") for path in folder.iterdir() if path.name.endswith(".tsv"))
    return hashlib.sha256("\n".join(_text(name) for name in names).encode()).hexdigest()[:12]


def _text(name: str) -> str:
    return (importlib.resources.files("duologue.adversarial") / "tables" / f"{name}.tsv").read_text("utf-8")
