"""The arguments that all verbs with a model share: which model, where it runs, how it replies."""

from __future__ import annotations

import argparse
import typing
from typing import TYPE_CHECKING

from duologue.config import settings_of
from duologue.generation.config import GenerationConfig, lay_over

if TYPE_CHECKING:
    from duologue.generation.engine import Engine


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds MODEL, ``--device`` and ``--dtype``."""
    what = "a model folder, a run folder (its newest model), or the name of a pulled model"
    parser.add_argument("model", metavar="MODEL", help=what)
    parser.add_argument("--device", default="cpu", help="where it runs: cpu or cuda (default: cpu)")
    parser.add_argument("--dtype", default="float32", help="number format: float32 or bfloat16 (default: float32)")


def add_generation_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each setting of GenerationConfig; what is not given comes from the model's own file."""
    group = parser.add_argument_group("how replies are chosen (default: as the model's generation_config.json says)")
    for setting in settings_of(GenerationConfig):
        flag = f"--{setting.path.replace('_', '-')}"
        if typing.get_origin(setting.kind) is tuple:
            group.add_argument(flag, action="append", default=argparse.SUPPRESS, metavar="TEXT", help=setting.help)
        elif bool in (setting.kind, *typing.get_args(setting.kind)):
            group.add_argument(flag, nargs="?", const="true", default=argparse.SUPPRESS, metavar="true|false",
                               help=setting.help)  # fmt: skip
        else:
            group.add_argument(flag, default=argparse.SUPPRESS, metavar="N", help=setting.help)


def load_engine(arguments: argparse.Namespace) -> Engine:
    """The engine of the model that the arguments name."""
    from duologue.hub.resolve import resolve_model

    folder = resolve_model(arguments.model)  # looked through before torch is loaded
    from duologue.generation.engine import Engine

    return Engine.from_pretrained(folder, arguments.device, arguments.dtype)


def generation_config(arguments: argparse.Namespace, base: GenerationConfig) -> GenerationConfig:
    """The model's settings with the given flags laid over them."""
    given = vars(arguments)
    names = [setting.path for setting in settings_of(GenerationConfig)]
    return lay_over(base, {name: given[name] for name in names if name in given})
