"""How fast engines write on a CPU: duologue beside transformers, CTranslate2 and llama.cpp, on the same weights.

Each engine is a process that stays warm, in an environment of its own where one is named; they take turns in each
round, so that a slow phase of the machine hits all alike. Medians; the figures go to benchmarks/results/decode.jsonl.

    python benchmarks/decode.py 30m --engines duologue:bfloat16 duologue:int8 transformers:bfloat16
    python benchmarks/decode.py 30m --engines duologue:bfloat16 ctranslate2:float32=CT2/bin/python \
        llama_cpp:bf16=LLAMA/bin/python --loads 1x128 8x128 8x512 128/8

A load is BEAMSxPROMPT, or PROMPT/STREAMS for several greedy replies at once. llama.cpp takes bf16 or q8_0 and has no
beams. MODEL is a shape of ``duologue bench generate`` with random weights, or a model folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from warm_process import WarmProcess

from duologue.generation.engine import Engine
from duologue.generation.engine_speed import random_engine, seconds_to_read
from duologue.generation.speed import SHAPES, random_prompt
from duologue.hub.gguf_out import export_gguf
from duologue.runtime import measure_machine
from duologue.transformer.weights import save_weights

RESULTS = Path(__file__).parent / "results" / "decode.jsonl"
WITHOUT_BEAMS = "llama_cpp"


@dataclass(frozen=True)
class Load:
    """What is asked for."""

    name: str
    beams: int
    prompt: int
    streams: int

    @classmethod
    def of(cls, text: str) -> Load:
        """``8x128`` or ``128/8``."""
        if "/" in text:
            prompt, streams = map(int, text.split("/"))
            return cls(text, 1, prompt, streams)
        beams, prompt = map(int, text.split("x"))
        return cls(text, beams, prompt, 1)


class Worker(WarmProcess):
    """An engine's process."""

    def __init__(self, name: str, models: Path, threads: int) -> None:
        """Starts it: ``ENGINE:DTYPE`` or ``ENGINE:DTYPE=PYTHON``."""
        self.name, _, python = name.partition("=")
        self.engine, _, dtype = self.name.partition(":")
        worker = str(Path(__file__).with_name("decode_worker.py"))
        command = [python or sys.executable, worker, self.engine, str(models), dtype, str(threads)]
        super().__init__(command, self.name, threads=threads)

    def can(self, load: Load) -> bool:
        """Whether it has what the load asks for."""
        return load.beams == 1 or self.engine != WITHOUT_BEAMS

    def seconds(self, prompts: list[list[int]], load: Load, new: int) -> tuple[float, list[list[int]]]:
        """Of so many new tokens, and these."""
        found = self.ask(json.dumps({"prompts": prompts, "beams": load.beams, "new": new}))
        return found["seconds"], found["replies"]


def write_models(model: str, folder: Path) -> tuple[int, int]:
    """The same weights as a model folder and as GGUF; gives vocabulary and bytes that a step reads in bfloat16."""
    engine = random_engine(model) if model in SHAPES else Engine.from_pretrained(Path(model))
    (folder / "hf").mkdir()
    save_weights(engine.model, folder / "hf", engine.tokenizer)
    engine.tokenizer.save_pretrained(folder / "hf", max_length=engine.context_length)
    for quantisation in ("bf16", "q8_0"):
        export_gguf(folder / "hf", folder / f"{quantisation}.gguf", quantisation)
    return engine.model.vocab_size, 2 * (engine.model.config.num_matrix_parameters + engine.model.output_weight.numel())


def measure(workers: list[Worker], load: Load, vocab_size: int, *, new: int, rounds: int) -> list[dict[str, Any]]:
    """Time to the first token and of a step, for each engine; and how many first tokens are the first engine's."""
    prompts = [random_prompt(load.prompt + stream, vocab_size)[: load.prompt] for stream in range(load.streams)]
    able = [worker for worker in workers if worker.can(load)]
    times: dict[str, list[tuple[float, float]]] = {worker.name: [] for worker in able}
    replies = {worker.name: worker.seconds(prompts, load, new)[1] for worker in able}
    for _ in range(rounds):
        for worker in able:
            first = worker.seconds(prompts, load, 1)[0]
            whole = worker.seconds(prompts, load, new)[0]
            times[worker.name].append((first, (whole - first) / (new - 1)))
    base = times[able[0].name]
    return [
        {
            "engine": name, "load": load.name,
            "first_token_ms": round(statistics.median(first for first, _ in found) * 1e3, 2),
            "step_ms": round(statistics.median(step for _, step in found) * 1e3, 3),
            "times_first_token": round(statistics.median(a[0] / b[0] for a, b in zip(found, base, strict=True)), 2),
            "times_step": round(statistics.median(a[1] / b[1] for a, b in zip(found, base, strict=True)), 2),
            "same_tokens": _num_same(replies[name], replies[able[0].name]),
        }
        for name, found in times.items()
    ]  # fmt: skip


def _num_same(replies: list[list[int]], others: list[list[int]]) -> int:
    """How many tokens two engines have in common before they part, summed over the streams."""
    return sum(
        next((place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))
        for one, other in zip(replies, others, strict=True)
    )


def main() -> None:
    """Measures, prints, and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--engines", nargs="+", default=["duologue:bfloat16", "duologue:int8", "transformers:bfloat16"])
    parser.add_argument("--loads", nargs="+", type=Load.of, default=[Load.of(text) for text in ("1x128", "8x128")])
    parser.add_argument("--new", type=int, default=65)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory() as folder:
        vocab_size, step_bytes = write_models(given.model, Path(folder))
        floor_ms = seconds_to_read(step_bytes, torch.device("cpu")) * 1e3
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "model": given.model, "threads": given.threads,
            "bf16_floor_ms": round(floor_ms, 3), "machine": vars(measure_machine()),
        }  # fmt: skip
        try:
            for name in given.engines:
                workers.append(Worker(name, Path(folder), given.threads))
            for load in given.loads:
                for row in measure(workers, load, vocab_size, new=given.new, rounds=given.rounds):
                    print(json.dumps(row), flush=True)
                    with RESULTS.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(about | row) + "\n")
        finally:
            for worker in workers:
                worker.stop()


if __name__ == "__main__":
    main()
