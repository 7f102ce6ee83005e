"""The verb ``up``: all stages of a recipe."""

from __future__ import annotations

import argparse

from duologue.cli.recipe_arguments import add_recipe_arguments, open_pipeline

HELP = """All stages of a recipe, from dialogues to a chat model: tokenizer, pretraining, fine-tuning.

With --data it learns from your own dialogues: some are kept back to see when training no longer helps, and the best
model is the one you get. The same command again goes on where the last one stopped.

examples:
  duologue up small --data my.jsonl
  duologue up dialogue-small --data corpora/*.jsonl.gz --out runs/big
  duologue up small --data my.jsonl --init runs/quickstart --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``up``."""
    add_recipe_arguments(parser)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Runs the stages; gives the model folder and bits per byte before and after each."""
    pipeline = open_pipeline(arguments)
    from duologue.pipeline.plan import show_plan
    from duologue.pipeline.stages import STAGES
    from duologue.pipeline.up import run_all

    with pipeline.run.claimed():
        return show_plan(pipeline, STAGES) if arguments.dry_run else run_all(pipeline)
