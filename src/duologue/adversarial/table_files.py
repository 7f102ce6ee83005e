"""The tables of noise: tab-separated files beside this one, each with where it comes from at its head."""

from __future__ import annotations

import hashlib
import importlib.resources
from functools import cache


@cache
def read_table(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of ``tables/<name>.tsv``, without its comments."""
    lines = _text(name).splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line and not line.startswith("#"))


@cache
def tables_version() -> str:
    """Twelve digits that stand for the contents of all tables."""
    folder = importlib.resources.files("duologue.adversarial") / "tables"
    names = sorted(path.name.removesuffix(".tsv") for path in folder.iterdir() if path.name.endswith(".tsv"))
    return hashlib.sha256("\n".join(_text(name) for name in names).encode()).hexdigest()[:12]


def _text(name: str) -> str:
    return (importlib.resources.files("duologue.adversarial") / "tables" / f"{name}.tsv").read_text("utf-8")
