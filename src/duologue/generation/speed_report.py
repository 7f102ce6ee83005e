"""What people see of measured speed: a table of loads, the floor beside it, and memory."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from duologue.generation.engine_speed import EngineSpeed


def render_speed(found: EngineSpeed) -> RenderableType:
    """The tables; with several engines, what the others need as multiples of ours."""
    return Group(_heading(found), _speeds(found), "", *_memory(found))


def _heading(found: EngineSpeed) -> Text:
    model = f"{found.num_parameters / 1e6:,.1f} M parameters, {found.dtype} on {found.device}"
    floor = f"{found.weight_bytes / 1e6:,.0f} MB of weights at {found.read_gb_per_s:,.1f} GB/s"
    runs = f"medians of {found.num_rounds} rounds, {found.num_new_tokens} new tokens, {found.num_threads} threads"
    return Text(f"{model}; {runs}\nfloor of a step: {found.floor_ms:.2f} ms ({floor})\n")


def _speeds(found: EngineSpeed) -> Table:
    several = len({speed.engine for speed in found.speeds}) > 1
    columns = ["beams", "context", *(["engine"] if several else []), "first token\nms", "step\nms", "step\nfloors"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in [*columns, *(["first token\ntimes", "step\ntimes"] if several else [])]:
        table.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True)
    for speed in found.speeds:
        cells = [str(speed.load.num_beams), f"{speed.load.context:,}", *([speed.engine] if several else [])]
        cells += [f"{speed.first_token_ms:,.1f}", f"{speed.step_ms:,.2f}", f"{speed.step_ms / found.floor_ms:.1f}"]
        cells += [f"{speed.times_first_token:.2f}", f"{speed.times_step:.2f}"] if several else []
        table.add_row(*cells)
    return table


def _memory(found: EngineSpeed) -> list[RenderableType]:
    return [
        Text(f"keys and values, {name}: {kv.num_beams} beams {kv.beams_bytes / 1e6:,.1f} MB, one stream "
             f"{kv.one_stream_bytes / 1e6:,.1f} MB: {kv.ratio:.2f} times "
             f"(prompt {kv.prompt_tokens:,}, {kv.new_tokens} new)")
        for name, kv in found.kv_memory.items()
    ]  # fmt: skip
