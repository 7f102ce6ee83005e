"""The verb ``pretrain``: one stage of a recipe."""

from __future__ import annotations

import argparse

from duologue.cli.one_stage import train_one
from duologue.cli.recipe_arguments import add_recipe_arguments

HELP = """Pretraining: a model learns to predict the next token of dialogues and texts.

The same command again goes on where the last one stopped. The model is left in RUN/pretraining/model.

examples:
  duologue pretrain tiny
  duologue pretrain dialogue-small --data my.jsonl more.csv.gz --minutes 10 --out runs/mine
  duologue pretrain small --data my.jsonl --dry-run
  duologue pretrain race --data my.jsonl --minutes 30   # the model's size too is chosen for the minutes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``pretrain``."""
    add_recipe_arguments(parser, stage="pretraining")


def run(arguments: argparse.Namespace) -> dict[str, object] | None:
    """Trains the stage; gives its model folder."""
    return train_one(arguments, "pretraining")
