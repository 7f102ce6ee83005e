"""``bench generate``: how fast this machine replies."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from duologue.cli.model_arguments import add_model_arguments, load_engine
from duologue.config import require
from duologue.generation.speed import SHAPES, Load

if TYPE_CHECKING:
    from duologue.generation.engine import Engine

HELP = "how fast a model replies: the first token, each further one, memory, and the machine's floor"
CONTEXTS = (64, 512, 2048)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is to be measured."""
    add_model_arguments(parser, is_optional=True)
    shapes = f"without MODEL, the size of a model with random weights: {', '.join(SHAPES)} (default: 30m)"
    parser.add_argument("--shape", choices=tuple(SHAPES), metavar="NAME", help=shapes)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4, 8], metavar="N", help="default: 1 4 8")
    contexts = f"tokens of the prompt (default: those of {', '.join(map(str, CONTEXTS))} that the model can see)"
    parser.add_argument("--contexts", type=int, nargs="+", metavar="N", help=contexts)
    parser.add_argument("--new-tokens", type=int, default=64, metavar="N", help="tokens of each reply (default: 64)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="medians of so many (default: 5)")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: as torch chooses)")


def run(arguments: argparse.Namespace) -> object:
    """Measures and shows; gives all figures as JSON."""
    engine = open_engine(arguments)
    from rich.console import Console

    from duologue.generation.engine_speed import measure_engine
    from duologue.generation.speed_report import render_speed

    console, loads = Console(stderr=True, highlight=False), loads_of(arguments, engine.context_length)
    with console.status("measuring") as status:
        found = measure_engine(
            engine, loads, num_new_tokens=arguments.new_tokens, num_rounds=arguments.rounds,
            on_progress=lambda done, total: status.update(f"measuring: {done} of {total}"),
        )  # fmt: skip
    console.print(render_speed(found))
    return found


def open_engine(arguments: argparse.Namespace) -> Engine:
    """The engine of the model that is named, or of one with random weights; with so many threads."""
    require(not (arguments.model and arguments.shape), "--shape", arguments.shape, "none where a MODEL is given")
    for name, least in (("rounds", 1), ("new_tokens", 2), ("threads", 1), ("beams", 1), ("contexts", 1)):
        value = getattr(arguments, name)
        smallest = min(value) if isinstance(value, list) else value
        require(smallest is None or smallest >= least, f"--{name.replace('_', '-')}", value, f"{least} or more")
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    if arguments.model:
        return load_engine(arguments)
    from duologue.generation.engine_speed import random_engine

    return random_engine(arguments.shape or "30m", arguments.device, arguments.dtype)


def loads_of(arguments: argparse.Namespace, context_length: int) -> list[Load]:
    """What is asked for: all numbers of beams at each context."""
    fitting = [context for context in CONTEXTS if context + arguments.new_tokens <= context_length]
    return [Load(beams, context) for context in arguments.contexts or fitting for beams in arguments.beams]
