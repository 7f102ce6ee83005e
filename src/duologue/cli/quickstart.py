"""The verb ``quickstart``: the built-in corpus, from nothing to a chat."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """Trains a small English and Chinese chat model on the built-in corpus, shows how good it is, then chats.

Ctrl-C stops at any point; the same command goes on from there.

examples:
  duologue quickstart
  duologue quickstart --minutes 3
  duologue quickstart --no-serve --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``quickstart``."""
    help_text = "minutes until the chat, about (default: 10.5)"
    parser.add_argument("--minutes", type=float, default=10.5, metavar="M", help=help_text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/quickstart)")
    parser.add_argument("--no-serve", action="store_true", help="stop after the report: no chat")


def run(arguments: argparse.Namespace) -> object:
    """Trains and reports; on a terminal it ends in a chat."""
    from duologue.pipeline.quickstart import quickstart

    report = quickstart(minutes=arguments.minutes, out=arguments.out)
    if sys.stdin.isatty() and not (arguments.no_serve or arguments.json):
        _chat(report.model)
    return report.to_dict() if arguments.json else None


def _chat(model: str) -> None:
    from duologue.chat.session import ChatSession
    from duologue.chat.terminal import chat_in_terminal
    from duologue.generation.engine import Engine

    engine = Engine.from_pretrained(model)
    chat_in_terminal(ChatSession(engine, engine.generation_config))
