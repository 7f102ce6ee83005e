"""The verb ``generate``: a reply to each conversation of a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from duologue.cli.json_lines import in_groups, located, read_json_lines
from duologue.cli.model_arguments import add_generation_flags, add_model_arguments, generation_config, load_engine
from duologue.config import require
from duologue.conversation import Conversation
from duologue.generation.config import GenerationConfig

if TYPE_CHECKING:
    from duologue.generation.engine import Engine

HELP = """Replies to each conversation of a JSON Lines file, a JSON line each; a last assistant turn is continued.

examples:
  duologue generate runs/quickstart --input chats.jsonl
  duologue generate runs/quickstart --input chats.jsonl --temperature 0.8 --num-return-sequences 3 --seed 1
  echo '{"messages": [{"role": "user", "content": "hello"}]}' | duologue generate runs/quickstart --input - --turns 6
"""
ROWS_AT_ONCE = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``generate``."""
    add_model_arguments(parser)
    parser.add_argument("--input", required=True, metavar="FILE", help='rows {"messages": [...]}; - reads stdin')
    what = "turns to generate: above 1 the model carries both sides on (default: 1)"
    parser.add_argument("--turns", type=int, default=1, metavar="N", help=what)
    add_generation_flags(parser)


def run(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The replies, a row each, in order."""
    require(arguments.turns >= 1, "--turns", arguments.turns, "1 or more")
    engine = load_engine(arguments)
    config = generation_config(arguments, engine.generation_config)
    if arguments.turns > 1:
        return _dialogues(engine, config, arguments.input, arguments.turns)
    return _replies(engine, config, arguments.input, at_once=1 if arguments.input == "-" else ROWS_AT_ONCE)


def _replies(engine: Engine, config: GenerationConfig, name: str, *, at_once: int) -> Iterator[dict[str, Any]]:
    for group in in_groups(_conversations(engine, config, name), at_once):
        yield from (output.to_dict() for output in engine.generate_batch(group, config))


def _conversations(engine: Engine, config: GenerationConfig, name: str) -> Iterator[Conversation]:
    for place, fields in read_json_lines(name):
        with located(place):
            row = Conversation.from_dict(fields)
            engine.check(row, config)
        yield row


def _dialogues(engine: Engine, config: GenerationConfig, name: str, num_turns: int) -> Iterator[dict[str, Any]]:
    from duologue.chat.carry_on import carry_on

    for place, fields in read_json_lines(name):
        with located(place):
            turns = list(carry_on(engine, Conversation.from_dict(fields), config, num_turns=num_turns))
        rows = [turn.output.to_dict() for turn in turns]
        said = [{"role": str(turn.role), **row["choices"][0]} for turn, row in zip(turns, rows, strict=True)]
        yield {**rows[0], "turns": said}
