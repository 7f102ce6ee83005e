"""What ``pretrain`` and ``finetune`` do: one stage of a recipe."""

from __future__ import annotations

import argparse
from typing import Literal

from duologue.cli.recipe_arguments import open_pipeline


def train_one(arguments: argparse.Namespace, stage: Literal["pretraining", "finetuning"]) -> dict[str, object] | None:
    """Trains the stage, or shows its plan; gives its model folder. Of several processes, the first one gives it."""
    pipeline = open_pipeline(arguments, stage=stage)
    with pipeline.together() as world:
        if arguments.dry_run:
            from duologue.pipeline.plan import show_plan

            result = show_plan(pipeline, [stage])
        else:
            pipeline.describe()
            model = pipeline.pretrain() if stage == "pretraining" else pipeline.finetune()
            pipeline.display.title(f"model: {model}")
            result = {"model": str(model)}
        return result if world.is_first else None
