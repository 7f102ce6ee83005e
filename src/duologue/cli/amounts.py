"""Numbers as people write them on a command line: 350m, 1b, 1.5t."""

from __future__ import annotations

import argparse
import math

LETTERS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def amount(text: str) -> int:
    """A whole number of 1 or more; the letters k, m, b and t stand for thousands up to trillions.

    Raises:
        ArgumentTypeError: it is none.
    """
    letter = text[-1:].lower()
    number, factor = (text[:-1], LETTERS[letter]) if letter in LETTERS else (text, 1)
    try:
        value = float(number) * factor
    except ValueError:
        value = math.nan
    if not 1 <= value <= 1e18 or value != round(value):
        raise argparse.ArgumentTypeError(f"is {text}; expected a whole number such as 64, 350m, 1b or 1.5t")
    return round(value)


def positive(text: str) -> float:
    """A number above 0.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"is {text}; expected a number above 0")
    return value
