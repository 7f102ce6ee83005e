"""A stranger's text made fit for one line on a terminal."""

from __future__ import annotations

import re

EXCERPT_CHARACTERS = 80

CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def excerpt(text: str, length: int = EXCERPT_CHARACTERS) -> str:
    """The beginning of a text on one line, with ``…`` where it was shortened."""
    head = " ".join(text[: length + 1].split())
    return printable(head if len(text) <= length else head[:length] + "…")


def printable(text: str) -> str:
    """The text with control characters spelled out, so that none of them reaches the terminal."""
    return CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)
