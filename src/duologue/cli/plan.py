"""The verb ``plan``: what a run would need, said before it starts."""

from __future__ import annotations

import argparse

from duologue.cli.recipe_arguments import add_recipe_arguments, open_pipeline
from duologue.cli.scale_arguments import add_scale_arguments, cluster_of, given_scale_flags, job_of
from duologue.errors import UsageError

HELP = """What a run would need, said before it starts: memory, time, and at scale network, checkpoints, failures.

With RECIPE, all its stages on this machine. Without, a run on many GPUs for which there is no recipe yet, worked out
from the size of the model: nothing is allocated, and no GPU is asked for.

examples:
  duologue plan small --data my.jsonl
  duologue plan --params 1b --tokens 20b --gpus 64 --gpu h200
  duologue plan --params 7b --gpus 256 --network 3200 --batch-tokens 4m --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of both uses."""
    add_scale_arguments(parser)
    add_recipe_arguments(parser, is_plan=True)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Shows the plan; gives all its figures."""
    flags = given_scale_flags(arguments)
    if arguments.recipe:
        if flags:
            raise UsageError(f"{flags[0]} is for a run without RECIPE; change a recipe by its own settings")
        return _plan_recipe(arguments)
    if not arguments.params:
        raise UsageError("a plan needs RECIPE, or the size of a model: --params 1b")
    stray = [f"--{name}" for name, value in vars(arguments).items()
             if "." in name or (name in ("data", "init", "out") and value)]  # fmt: skip
    if stray:
        raise UsageError(f"{stray[0]} belongs to a RECIPE, and there is none")
    return _plan_at_scale(arguments)


def _plan_recipe(arguments: argparse.Namespace) -> dict[str, object]:
    """The plan that ``up RECIPE --dry-run`` shows."""
    pipeline = open_pipeline(arguments)
    from duologue.pipeline.plan import show_plan
    from duologue.pipeline.stages import STAGES

    with pipeline.run.claimed():
        return show_plan(pipeline, STAGES)


def _plan_at_scale(arguments: argparse.Namespace) -> dict[str, object]:
    cluster = cluster_of(arguments)
    job = job_of(arguments, cluster.gpu)
    from rich.console import Console

    from duologue.training.scale import plan_at_scale
    from duologue.training.scale_report import plan_figures, render_scale

    plan = plan_at_scale(cluster, job)
    Console(stderr=True, highlight=False).print(render_scale(plan))
    return plan_figures(plan)
