"""``bench train``: how fast this machine trains."""

from __future__ import annotations

import argparse

from duologue.config import require
from duologue.generation.speed import SHAPES

HELP = "how fast a model is trained: tokens a second, share of the machine's matrix products, memory"
LEAST = {"rows": 1, "length": 2, "rows_at_once": 1, "steps": 1, "threads": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is to be trained, and how."""
    names = ", ".join(SHAPES)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="10m", metavar="NAME", help=f"{names} (default: 10m)")
    parser.add_argument("--rows", type=int, default=32, metavar="N", help="rows in a step (default: 32)")
    parser.add_argument("--length", type=int, default=256, metavar="N", help="tokens in a row (default: 256)")
    parser.add_argument("--rows-at-once", type=int, metavar="N", help="rows that go through at once (default: 8)")
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="steps after the first (default: 8)")
    kinds = ("muon", "adamw")
    parser.add_argument("--matrix-optimizer", choices=kinds, default="muon", help="default: muon")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="default: auto")
    parser.add_argument("--compile", choices=("on", "off"), default="on", help="torch.compile (default: on)")
    parser.add_argument("--native", choices=("auto", "off"), default="auto", help="C++ kernels (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: as torch chooses)")


def run(arguments: argparse.Namespace) -> object:
    """Measures and shows; gives all figures as JSON."""
    for name, least in LEAST.items():
        value = getattr(arguments, name)
        require(value is None or value >= least, f"--{name.replace('_', '-')}", value, f"{least} or more")
    at_once = min(arguments.rows, arguments.rows_at_once or 8)
    from rich.console import Console

    from duologue.training.config import StageConfig
    from duologue.training.training_speed import measure_training

    config = StageConfig(
        sequence_length=arguments.length, batch_tokens=arguments.rows * arguments.length,
        micro_batch_tokens=at_once * arguments.length, matrix_optimizer=arguments.matrix_optimizer,
        dtype=arguments.dtype, compile=arguments.compile, native=arguments.native, threads=arguments.threads or 0,
    )  # fmt: skip
    console = Console(stderr=True, highlight=False)
    with console.status("measuring") as status:
        shape, vocab_size = SHAPES[arguments.shape]
        found = measure_training(
            shape, config, vocab_size=vocab_size, num_steps=arguments.steps,
            on_step=lambda step: status.update(f"measuring: step {step} of {arguments.steps}"),
        )  # fmt: skip
    console.print(str(found))
    return found
