"""The verb ``bench``: how fast this machine trains and replies."""

from __future__ import annotations

import argparse

from duologue.cli import bench_generate, bench_train

HELP = """Measures this machine: how fast a model is trained, and how fast it replies.

examples:
  duologue bench train                                 a model of 10 M parameters with random weights
  duologue bench train --shape 30m --rows 16 --length 512 --matrix-optimizer muon
  duologue bench generate                              a model of 30 M parameters with random weights
  duologue bench generate runs/quickstart --dtype bfloat16
  duologue bench generate --shape 110m --beams 1 4 --contexts 64 512 --json
"""
WORDS = {"train": bench_train, "generate": bench_generate}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the second word."""
    words = parser.add_subparsers(dest="word", metavar="train|generate", required=True)
    for name, word in WORDS.items():
        word.add_arguments(words.add_parser(name, help=word.HELP, description=word.HELP))


def run(arguments: argparse.Namespace) -> object:
    """Measures and shows; gives all figures as JSON."""
    return WORDS[arguments.word].run(arguments)
