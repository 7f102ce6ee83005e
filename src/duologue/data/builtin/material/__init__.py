"""The tables of the built-in corpus: what is known, what is asked for, and how people put it, in TOML."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Any


@functools.cache
def read_table(path: str) -> dict[str, Any]:
    """A table by its path in this folder: ``read_table("en/facts.toml")``. Callers share it and leave it as it is."""
    return tomllib.loads(resources.files(__name__).joinpath(path).read_text(encoding="utf-8"))
