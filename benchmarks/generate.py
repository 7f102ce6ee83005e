"""How fast replies are written: duologue's engine and, where it is installed, ``transformers`` with the same weights.

Both are measured in one process and take turns. The figures are appended to benchmarks/results/generate.jsonl, a JSON
line for each run.

    python benchmarks/generate.py                        30 M parameters, beams 1 4 8, contexts 64 512 2048
    python benchmarks/generate.py --shape 110m --dtype bfloat16 --threads 2
    python benchmarks/generate.py runs/quickstart        the flags are those of duologue bench generate
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from duologue.cli import bench
from duologue.cli.parser import parse
from duologue.cli.result import to_json
from duologue.errors import DuologueError
from duologue.generation.engine import Engine
from duologue.generation.engine_speed import MEMORY_BEAMS, KVMemory, measure_engine, memory_load, writing
from duologue.generation.speed import Write, random_prompt
from duologue.generation.speed_report import render_speed
from duologue.transformer.weights import save_weights

RESULTS = Path(__file__).parent / "results" / "generate.jsonl"
OTHER = "transformers"
NUM_COMPARED = 16  # tokens of a reply that both write, to see that they do the same work


class OtherEngine:
    """``transformers`` over the weights of an engine of ours."""

    def __init__(self, engine: Engine) -> None:
        """Loads what ours holds, through a model folder."""
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.version = transformers.__version__
        self.end_id = engine.tokenizer.end_of_turn_id
        weight = engine.model.output_weight
        with tempfile.TemporaryDirectory() as folder:
            save_weights(engine.model, Path(folder), engine.tokenizer)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=weight.dtype)
            self.model = model.to(weight.device).eval()

    def generate(self, prompt_ids: list[int], num_beams: int, num_new_tokens: int) -> Any:
        """A reply of exactly so many tokens, with the cache that it left."""
        ids = torch.tensor([prompt_ids], device=self.model.device)
        with torch.inference_mode():
            return self.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=num_beams,
                min_new_tokens=num_new_tokens, max_new_tokens=num_new_tokens, eos_token_id=self.end_id,
                pad_token_id=self.end_id, return_dict_in_generate=True,
            )  # fmt: skip

    def write(self, prompt_ids: list[int], num_beams: int, num_new_tokens: int) -> list[int]:
        """The new tokens alone."""
        found = self.generate(prompt_ids, num_beams, num_new_tokens).sequences[0].tolist()
        return found[len(prompt_ids) :]

    def kv_memory(self, context_length: int, vocab_size: int) -> KVMemory:
        """Keys and values at the end of a reply; what a step copies by the way is not counted."""
        prompt_tokens, new_tokens = memory_load(context_length)
        prompt_ids = random_prompt(prompt_tokens, vocab_size)
        one, beams = (self._cache_bytes(prompt_ids, num_beams, new_tokens) for num_beams in (1, MEMORY_BEAMS))
        return KVMemory(MEMORY_BEAMS, prompt_tokens, new_tokens, one, beams, beams / one)

    def _cache_bytes(self, prompt_ids: list[int], num_beams: int, num_new_tokens: int) -> int:
        cache = self.generate(prompt_ids, num_beams, num_new_tokens).past_key_values
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def compare(ours: Write, other: Write, beams: list[int], vocab_size: int) -> dict[str, bool]:
    """Whether both write the same tokens, by the number of beams."""
    prompt_ids = random_prompt(64, vocab_size)
    return {str(width): ours(prompt_ids, width, NUM_COMPARED) == other(prompt_ids, width, NUM_COMPARED)
            for width in beams}  # fmt: skip


def measure(arguments: Any, console: Console) -> dict[str, Any]:
    """All figures of a run, as they are written down."""
    engine = bench.open_engine(arguments)
    other = OtherEngine(engine) if importlib.util.find_spec(OTHER) else None
    with console.status("measuring") as status:
        found = measure_engine(
            engine, bench.loads_of(arguments, engine.context_length), num_new_tokens=arguments.new_tokens,
            num_rounds=arguments.rounds, others={OTHER: other.write} if other else {},
            on_progress=lambda done, total: status.update(f"measuring: {done} of {total}"),
        )  # fmt: skip
        same = {}
        if other:
            found.versions[OTHER] = other.version
            found.kv_memory[OTHER] = other.kv_memory(engine.context_length, engine.model.vocab_size)
            same = compare(writing(engine), other.write, arguments.beams, engine.model.vocab_size)
    console.print(render_speed(found))
    console.print(f"the same tokens, by beams: {same}" if other else f"{OTHER} is not installed", markup=False)
    model = arguments.model or arguments.shape or "30m"
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "model": model,
            **{field.name: getattr(found, field.name) for field in dataclasses.fields(found)},
            "same_tokens": same}  # fmt: skip


def main(words: list[str]) -> int:
    """Measures, shows and writes down; gives the exit code."""
    try:
        arguments = parse("bench", bench, ["generate", *words])
        row = measure(arguments, Console(stderr=True, highlight=False))
    except DuologueError as error:
        if "--debug" in words:
            raise
        print(error, file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(to_json(row))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        print(to_json(row), file=file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
