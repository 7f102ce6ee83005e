"""The arguments that all verbs with a model share: which model, where it runs, how it replies."""

from __future__ import annotations

import argparse
import typing
from typing import TYPE_CHECKING, Any

from duologue.config import Setting, convert, settings_of
from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig, lay_over

if TYPE_CHECKING:
    from duologue.generation.engine import Engine

# Where a group of GenerationConfig's settings begins: its title, and what it is for.
GROUPS = {
    "max_new_tokens": ("length and number of replies", "What is not given is as the model's own file says."),
    "do_sample": ("sampling", "Tokens are drawn by chance: lively, and another reply each time."),
    "num_beams": ("beam search", "Looks ahead for the reply that is most probable as a whole."),
    "repetition_penalty": ("changes to scores", "Makes tokens likelier or less likely, or rules them out."),
    "prefix": ("constraints", "What the text has to be like; one of these at a time."),
    "prompt_lookup_num_tokens": ("speed, and what is told", None),
}


def add_model_arguments(parser: argparse.ArgumentParser, *, is_optional: bool = False) -> None:
    """Adds MODEL, ``--device`` and ``--dtype``."""
    what = "a model folder, a run folder (its newest model), or the name of a pulled model"
    parser.add_argument("model", metavar="MODEL", nargs="?" if is_optional else None, help=what)
    parser.add_argument("--device", default="cpu", help="where it runs: cpu or cuda (default: cpu)")
    formats = "float32, or the faster bfloat16 and int8, which compiled code runs on a CPU (default: float32)"
    parser.add_argument("--dtype", default="float32", help=f"number format: {formats}")


def add_generation_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each setting of GenerationConfig; what is not given comes from the model's own file."""
    group: argparse._ActionsContainer = parser
    for setting in settings_of(GenerationConfig):
        if setting.path in GROUPS:
            group = parser.add_argument_group(*GROUPS[setting.path])
        flag = f"--{setting.path.replace('_', '-')}"
        options: dict[str, Any] = {"help": setting.help, "default": argparse.SUPPRESS}
        if bool in (setting.kind, *typing.get_args(setting.kind)):
            options |= {"nargs": "?", "const": "true"}
        elif typing.get_origin(setting.kind) is tuple:
            options |= {"action": "append", "help": f"{setting.help}; may be given several times"}
        group.add_argument(flag, metavar=_metavar(setting.kind), **options)


def load_engine(arguments: argparse.Namespace) -> Engine:
    """The engine of the model that the arguments name."""
    from duologue.hub.resolve import resolve_model

    folder = resolve_model(arguments.model)  # looked through before torch is loaded
    from duologue.generation.engine import Engine

    return Engine.from_pretrained(folder, arguments.device, arguments.dtype)


def generation_config(arguments: argparse.Namespace, base: GenerationConfig) -> GenerationConfig:
    """The model's settings with the given flags laid over them."""
    given = vars(arguments)
    flags = {setting.path: given[setting.path] for setting in settings_of(GenerationConfig) if setting.path in given}
    for setting in settings_of(GenerationConfig):
        if setting.path in flags and typing.get_origin(setting.kind) is tuple:
            flags[setting.path] = _items(flags[setting.path], setting)
    return lay_over(base, flags)


def _items(texts: list[str], setting: Setting) -> list[Any]:
    """The items of a list: a flag that was given several times, each time with one item or with a list of them."""
    item_kind, found = typing.get_args(setting.kind)[0], []
    for text in texts:
        try:
            found.append(convert(text, item_kind, where=setting.path))
        except ConfigError:
            found += convert(text, setting.kind, where=f"flag {setting.path}")
    return found


def _metavar(kind: Any) -> str:
    """What stands for the value on the help page."""
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return {str: "TEXT", int: "ID[,ID...]"}.get(item, "IDS" if float not in typing.get_args(item) else "JSON")
    kinds = [option for option in typing.get_args(kind) or (kind,) if option is not type(None)]
    if bool in kinds:
        words = [word for option in kinds for word in typing.get_args(option)]
        return "|".join(("true", "false", *words))
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(map(str, kinds))
    return {int: "N", float: "X", str: "TEXT"}[kinds[0]]
