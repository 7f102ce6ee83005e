"""Whether a run that is gone on with is the same run: data, tokenizer, start and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SHOWN_DIGITS = 12  # of a hash
HASH = re.compile("[0-9a-f]{64}")


def difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first thing that differs, with both values: ``"seed (1, now 2)"``; None where nothing does."""
    for key in sorted(kept.keys() | now.keys()):
        before, after = kept.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            inner = difference(before, after)
            if inner:
                return f"{key}.{inner}"
        elif before != after:
            return f"{key} ({_shown(before)}, now {_shown(after)})"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, str) and HASH.fullmatch(value):
        return value[:SHOWN_DIGITS]
    return "none" if value is None else "given" if isinstance(value, Mapping) else repr(value)
