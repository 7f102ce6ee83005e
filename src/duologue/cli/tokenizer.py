"""The verb ``tokenizer``: train one."""

from __future__ import annotations

import argparse

from duologue.cli.recipe_arguments import add_recipe_arguments, open_pipeline

HELP = """Trains a byte-level BPE tokenizer on a recipe's dialogues, into RUN/tokenizer.

examples:
  duologue tokenizer train tiny
  duologue tokenizer train small --data my.jsonl --tokenizer.vocab_size 8192 --out runs/mine
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``tokenizer train``."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="train")
    train = verbs.add_parser("train", help="learn merges from a recipe's dialogues", description=HELP.split("\n")[0])
    add_recipe_arguments(train, stage="tokenizer")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Trains it; gives its folder and size."""
    pipeline = open_pipeline(arguments, stage="tokenizer")
    with pipeline.run.claimed():
        pipeline.describe()
        size = pipeline.tokenizer.vocab_size
    pipeline.display.title(f"tokenizer: {pipeline.run.tokenizer}, {size:,} tokens")
    return {"tokenizer": str(pipeline.run.tokenizer), "vocab_size": size}
