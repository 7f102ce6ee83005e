"""What a reply could have been: the likeliest tokens at each of its places, and the other replies of its search."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from duologue.chat.reply_so_far import ReplySoFar
from duologue.data.excerpt import printable
from duologue.tokenizer.tokenizer import Tokenizer

WIDEST = 12  # characters of a token that are shown


def token_table(reply: ReplySoFar) -> Table:
    """A row for each token: the token with its probability, then the likeliest ones; the token itself is bold there."""
    table = Table("token", Column("p", justify="right", no_wrap=True), "likeliest", box=None, padding=(0, 1, 0, 0))
    for token in reply.tokens:
        cells = []
        for token_id, logprob in token.top:
            style = "bold" if token_id == token.token_id else ""
            cells.append(Text(f"{_shown(reply.tokenizer, token_id)} {_percent(logprob)}", style, no_wrap=True))
        chosen = Text(_shown(reply.tokenizer, token.token_id), "bold", no_wrap=True)
        table.add_row(chosen, _percent(token.logprob), *cells)
    return table


def tokens_to_json(reply: ReplySoFar) -> list[dict[str, Any]]:
    """The same as JSON, in the names of OpenAI's API: ``token``, ``logprob``, ``top_logprobs``."""
    return [
        _to_json(reply.tokenizer, token.token_id, token.logprob)
        | {"top_logprobs": [_to_json(reply.tokenizer, *each) for each in token.top]}
        for token in reply.tokens
    ]


def reply_table(reply: ReplySoFar) -> Table:
    """The best replies that the search came to, the best first, with what they are ranked by."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column("reply", overflow="fold")
    for found in reply.found():
        text = printable(reply.tokenizer.decode(found.token_ids))
        table.add_row(f"{found.score:.3f}", str(found.reason), Text(text))
    return table


def _to_json(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    text = _bytes(tokenizer, token_id).decode("utf-8", errors="replace")
    return {"token": text, "token_id": token_id, "logprob": logprob}


def _shown(tokenizer: Tokenizer, token_id: int) -> str:
    """A token for the eye: its spaces can be seen, and a part of a character is told by its bytes."""
    raw = _bytes(tokenizer, token_id)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = f"<{raw.hex()}>"
    text = printable(text).replace(" ", "␣").replace("\n", "\\n").replace("\t", "\\t") or f"#{token_id}"
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _bytes(tokenizer: Tokenizer, token_id: int) -> bytes:
    """What a token stands for; nothing where the model's table is longer than its tokenizer's."""
    return tokenizer.token_bytes(token_id) if token_id < tokenizer.vocab_size else b""


def _percent(logprob: float) -> str:
    share = math.exp(logprob)
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"
