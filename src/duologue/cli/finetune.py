"""The verb ``finetune``: one stage of a recipe."""

from __future__ import annotations

import argparse

from duologue.cli.one_stage import train_one
from duologue.cli.recipe_arguments import add_recipe_arguments

HELP = """Fine-tuning: a model learns to give the assistant's replies; the loss covers them alone.

The same command again goes on where the last one stopped. The model is left in RUN/finetuning/model.

examples:
  duologue finetune tiny
  duologue finetune dialogue-small --data my.jsonl more.csv.gz --minutes 10 --out runs/mine
  duologue finetune small --data my.jsonl --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``finetune``."""
    add_recipe_arguments(parser, stage="finetuning")


def run(arguments: argparse.Namespace) -> dict[str, object] | None:
    """Trains the stage; gives its model folder."""
    return train_one(arguments, "finetuning")
