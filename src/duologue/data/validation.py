"""Which rows are kept back from training to see when it no longer helps."""

from __future__ import annotations

import hashlib

from duologue.config import require
from duologue.conversation import Role
from duologue.data.formats import PlainText, Row


def is_validation(row: Row, *, fraction: float) -> bool:
    """Whether a row is kept back: a pure function of its first user turn, so that equal questions stay together.

    A row that is kept back at one fraction is kept back at any greater one.
    """
    require(0 <= fraction < 1, "validation fraction", fraction, "at least 0 and less than 1")
    digest = hashlib.blake2b(_prompt(row).encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _prompt(row: Row) -> str:
    """What the row asks: its first user turn; where it has none, its first turn; of a plain text, all."""
    if isinstance(row, PlainText):
        return row.text.strip()
    contents = [message.content for message in row.messages if message.role is Role.USER]
    return next(iter(contents or [message.content for message in row.messages]), "").strip()
