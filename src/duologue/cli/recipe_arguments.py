"""The arguments that all verbs with a recipe share, and the pipeline that they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duologue.config import settings_of

if TYPE_CHECKING:
    from duologue.pipeline.stages import Pipeline

STAGE_SHORTHANDS = ("minutes", "steps", "seed")


def add_recipe_arguments(
    parser: argparse.ArgumentParser, *, stage: str | None = None, is_plan: bool = False
) -> None:
    """Adds RECIPE, ``--data``, ``--out`` and a flag for every setting; for one stage also its shorthands.

    A plan can do without RECIPE, and runs nothing that could go on or be left out.
    """
    from duologue.pipeline.recipe import Recipe

    many = "?" if is_plan else None
    parser.add_argument("recipe", metavar="RECIPE", nargs=many, help="a recipe's name in the package, or a TOML file")
    parser.add_argument("--data", nargs="+", metavar="FILE", help="dialogue files, in place of the recipe's")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/RECIPE)")
    if not is_plan:
        parser.add_argument("--resume", action="store_true", help="go on where the run stopped (always so)")
    if stage != "tokenizer":
        parser.add_argument("--init", metavar="MODEL", help="start from this model, its tokenizer and shape included")
    if stage != "tokenizer" and not is_plan:
        parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    if stage in ("pretraining", "finetuning"):
        for name in STAGE_SHORTHANDS:
            parser.add_argument(f"--{name}", default=None, metavar="N", help=f"short for --{stage}.{name}")
    group = parser.add_argument_group("settings of the recipe")
    for setting in settings_of(Recipe):
        text = setting.help.replace("%", "%%")
        group.add_argument(f"--{setting.path}", default=argparse.SUPPRESS, metavar="VALUE", help=text)


def open_pipeline(arguments: argparse.Namespace, *, stage: str | None = None) -> Pipeline:
    """The recipe with all flags laid over it, and its run folder."""
    from duologue.hub.resolve import resolve_model

    init = getattr(arguments, "init", None)
    start = resolve_model(init) if init else None  # looked through before torch is loaded
    from duologue.pipeline.display import Display
    from duologue.pipeline.recipe import load_recipe
    from duologue.pipeline.run_folder import RunFolder
    from duologue.pipeline.stages import Pipeline

    named = load_recipe(arguments.recipe, _flags(arguments, stage))
    run = RunFolder.of(named, arguments.out)
    return Pipeline(named, run, Display(), init=start)


def _flags(arguments: argparse.Namespace, stage: str | None) -> dict[str, Any]:
    given = vars(arguments)
    flags = {path: value for path, value in given.items() if "." in path}
    if arguments.data:
        flags["data.files"] = [str(Path(name).absolute()) for name in arguments.data]
    if flags.get("data.prepared"):
        flags["data.prepared"] = str(Path(flags["data.prepared"]).absolute())
        flags = {"data.builtin_dialogues": 0, "data.max_mb_per_file": 0, "data.files": []} | flags  # in their place
    short = {name: given[name] for name in STAGE_SHORTHANDS if stage and given.get(name) is not None}
    if "steps" in short:
        flags[f"{stage}.minutes"] = 0  # one of the two: what is asked for now wins over the recipe
    if "minutes" in short:
        flags[f"{stage}.steps"] = 0
    return flags | {f"{stage}.{name}": value for name, value in short.items()}
