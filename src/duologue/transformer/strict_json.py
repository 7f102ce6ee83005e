"""JSON from strangers: its shape is counted before anything is built from it, and a key stands once.

Nested deeply, JSON overruns the stack of whoever reads it; made of a million empty lists, it takes thirty times its
size in memory. Both show in the brackets and commas alone, which are counted in pieces, without building anything.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from duologue.errors import ModelFolderError

MAX_DEPTH = 32
MAX_ITEMS = 1_000_000
CHUNK_BYTES = 256 * 1024
MAX_SHOWN = 80
MAX_DIGITS = 100
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def parse_object(data: bytes, *, where: str) -> dict[str, Any]:
    """The JSON object that ``data`` holds.

    Raises:
        ModelFolderError: it holds anything else, is nested deeply, repeats a key, or is made of very many parts.
    """
    check_json_shape((data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)), where=where)
    try:
        text = data.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_object, parse_int=_whole, parse_float=_finite,
                           parse_constant=_no_number)  # fmt: skip
    except UnicodeDecodeError:
        raise ModelFolderError(f"{where}: is not UTF-8 text; ask for the file again") from None
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{where}: not valid JSON: {error}; ask for the file again") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"{where}: holds {shown(found)}; expected a JSON object")
    return found


def check_json_shape(chunks: Iterable[bytes], *, where: str, max_items: int = MAX_ITEMS) -> None:
    """Lets JSON pass whose brackets are balanced and not nested deeply, and whose parts are not too many."""
    depth = num_items = 0
    for outside in _outside_texts(chunks, where):
        brackets = outside.translate(None, delete=NOT_BRACKETS)
        num_items += len(brackets) + outside.count(b",")
        if num_items > max_items:
            raise ModelFolderError(f"{where}: has more than {max_items:,} parts; no model's file needs so many")
        depths = list(itertools.accumulate(map(STEP.__getitem__, brackets), initial=depth))
        if max(depths) > MAX_DEPTH:
            raise ModelFolderError(f"{where}: is nested more than {MAX_DEPTH} levels deep; no model's file needs that")
        if min(depths) < 0:
            raise ModelFolderError(f"{where}: not valid JSON: closes a bracket that is not open; ask for it again")
        depth = depths[-1]
    if depth:
        raise ModelFolderError(f"{where}: not valid JSON: ends with {depth} brackets open; ask for the file again")


def shown(value: object) -> str:
    """A value that a file holds, for a message: on one line and not long."""
    # Of a long text or list only the beginning is written out.
    text = repr(value[:MAX_SHOWN] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _outside_texts(chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """What stands outside quotes, piece by piece."""
    carried = b""
    for chunk in chunks:
        data = carried + chunk
        is_escape_cut = (len(data) - len(data.rstrip(b"\\"))) % 2 == 1
        whole = data[:-1] if is_escape_cut else data
        parts = whole.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[::2])
        carried = (b'"' if len(parts) % 2 == 0 else b"") + (b"\\" if is_escape_cut else b"")
    if carried:
        raise ModelFolderError(f"{where}: not valid JSON: ends inside a text; ask for the file again")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(twice)} stands twice")
    return fields


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{shown(digits)} is too large a number")
    return number


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")
