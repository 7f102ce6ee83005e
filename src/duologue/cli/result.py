"""What a verb found out, as JSON on stdout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import TextIO


def write_result(result: object, stdout: TextIO, *, as_document: bool) -> None:
    """Writes an iterator as a line for each item, as it comes; anything else as one document, where that is wanted."""
    if isinstance(result, Iterator):
        for item in result:
            print(to_json(item), file=stdout, flush=True)
    elif as_document and result is not None:
        print(to_json(result), file=stdout, flush=True)
    stdout.flush()


def to_json(value: object) -> str:
    """The value as JSON on one line, Chinese as it is; dataclasses become objects, paths text, sets lists."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"a {type(value).__name__} in a result has no form in JSON")
