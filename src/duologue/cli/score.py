"""The verb ``score``: candidate replies, ranked by their probability."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from duologue.cli.json_lines import located, read_json_lines
from duologue.cli.model_arguments import add_model_arguments, load_engine
from duologue.conversation import Conversation
from duologue.errors import DataError

if TYPE_CHECKING:
    from duologue.generation.engine import Engine

HELP = """Ranks candidate replies by their log-probability (content and end of turn), a JSON line for each conversation.

examples:
  duologue score runs/quickstart --input questions.jsonl
  with rows such as
  {"messages": [{"role": "user", "content": "2 + 2?"}], "candidates": ["4", "5", "a fish"]}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``score``."""
    add_model_arguments(parser)
    what = 'rows {"messages": [...], "candidates": ["...", ...]}; - reads stdin'
    parser.add_argument("--input", required=True, metavar="FILE", help=what)


def run(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The ranked candidates, a row for each conversation, in order."""
    return _rankings(load_engine(arguments), arguments.input)


def _rankings(engine: Engine, name: str) -> Iterator[dict[str, Any]]:
    for place, row in read_json_lines(name):
        with located(place):
            candidates = _candidates(row)
            scores = engine.score(Conversation.from_dict(row), candidates)
        yield {
            "candidates": [
                {"text": candidates[score.index], "index": score.index, "sum_logprob": score.sum_logprob,
                 "token_ids": score.token_ids, "token_logprobs": score.token_logprobs}
                for score in scores
            ]
        }  # fmt: skip


def _candidates(row: dict[str, Any]) -> list[str]:
    candidates = row.get("candidates")
    if not isinstance(candidates, list) or not candidates or not all(isinstance(one, str) for one in candidates):
        raise DataError('candidates: expected a list of at least one text, such as ["yes", "no"]')
    return candidates
