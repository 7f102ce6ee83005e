"""Training throughput: ours beside the peers' own code, same shape, batch and text, in turns on one machine.

Each variant is a process that stays warm; they take turns, so that a slow phase of the machine hits all alike, and a
matrix product takes a turn too: shares of the peak are shares of what it reached in the same round. Medians of rounds;
the figures are appended to benchmarks/results/train.jsonl.

    python benchmarks/train.py S --peers PEERS --text dialogues.txt
    python benchmarks/train.py M --peers PEERS --text dialogues.txt ours nanogpt+bf16+compile

PEERS is a folder with clones of nanoGPT and nanochat; transformers is a package.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from warm_process import WarmProcess

from duologue.runtime import measure_machine
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer

RESULTS = Path(__file__).parent / "results" / "train.jsonl"
SHAPES = {
    "S": {"layers": 6, "hidden": 384, "intermediate": 1024, "vocab": 8192, "length": 256, "rows": 32, "micro": 8},
    "M": {"layers": 8, "hidden": 512, "intermediate": 1344, "vocab": 8192, "length": 512, "rows": 16, "micro": 16},
}
VARIANTS = ["nanogpt", "nanogpt+bf16+compile", "nanochat+compile", "nanochat+bf16+compile", "transformers+bf16+compile",
            "ours", "ours+muon", "ours+torch", "ours+eager"]  # fmt: skip
GEMM_FLOPS = 10 * 2 * 2048**3


class Worker(WarmProcess):
    """A variant's process."""

    def __init__(self, variant: str, shape: dict[str, int], tokens: Path, peers: Path | None) -> None:
        """Starts it, and waits until its first steps are taken."""
        words = [variant, json.dumps(shape), str(tokens), *(["--peers", str(peers)] if peers else [])]
        command = [sys.executable, str(Path(__file__).with_name("train_worker.py")), *words]
        errors = None if variant.startswith("ours") else subprocess.DEVNULL
        super().__init__(command, variant, threads=2, errors=errors)
        self.variant, self.rounds, self.first_step_s = variant, list[dict[str, Any]](), self.ready["first_step_s"]

    def take(self, num_steps: int) -> None:
        """A round of steps."""
        self.rounds.append(self.ask(str(num_steps)))


def tokens_of(text: Path, vocab_size: int, folder: Path) -> Path:
    """The tokens of a text's first 12 MB."""
    lines = text.read_text(encoding="utf-8")[:12_000_000].splitlines()
    tokenizer = Tokenizer.train(lines, TokenizerConfig(vocab_size))
    path = folder / "tokens.npy"
    np.save(path, np.array(tokenizer.encode("\n".join(lines))[:2_000_000]))
    return path


def flops_per_token(shape: dict[str, int], variant: str) -> float:
    """Matrices, head, causal attention, forward and backward; nanoGPT and nanochat have an MLP of two matrices."""
    width, layers = shape["hidden"], shape["layers"]
    mlp = 8 * width**2 if variant.startswith("nano") else 3 * width * shape["intermediate"]
    matrices = layers * (4 * width**2 + mlp) + shape["vocab"] * width
    return 6 * (matrices + layers * width * shape["length"])


def figures(worker: Worker, gemm: Worker, shape: dict[str, int]) -> dict[str, Any]:
    """Medians of the rounds."""
    step_s = statistics.median(second for found in worker.rounds for second in found["seconds"])
    peak = GEMM_FLOPS / statistics.median(second for found in gemm.rounds for second in found["seconds"])
    tokens_per_s = shape["rows"] * shape["length"] / step_s
    return {
        "variant": worker.variant, "tokens_per_s": round(tokens_per_s), "step_s": round(step_s, 3),
        "share_of_peak": round(tokens_per_s * flops_per_token(shape, worker.variant) / peak, 3),
        "gemm_gflops": round(peak / 1e9), "first_step_s": round(worker.first_step_s, 1),
        "peak_gib": round(worker.rounds[-1]["peak_gib"], 2), "loss": round(worker.rounds[-1]["loss"], 3),
        "seconds": [[round(second, 3) for second in found["seconds"]] for found in worker.rounds],
    }  # fmt: skip


def main() -> None:
    """Measures, prints a table, and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("variants", nargs="*", help=f"default: {' '.join(VARIANTS)}")
    parser.add_argument("--text", type=Path, required=True, help="any text of some megabytes")
    parser.add_argument("--peers", type=Path, help="folder with clones of nanoGPT and nanochat")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2, help="of each variant in a round")
    arguments = parser.parse_intermixed_args()
    shape, workers = SHAPES[arguments.shape], list[Worker]()
    with tempfile.TemporaryDirectory() as folder:
        tokens = tokens_of(arguments.text, shape["vocab"], Path(folder))
        try:
            for variant in ["gemm", *(arguments.variants or VARIANTS)]:
                workers.append(Worker(variant, shape, tokens, arguments.peers))
                print(f"{variant}: first step after {workers[-1].first_step_s:.0f} s", flush=True)
            for _ in range(arguments.rounds):
                for worker in workers:
                    worker.take(1 if worker.variant == "gemm" else arguments.steps)
        finally:
            for worker in workers:
                worker.stop()
    found = [figures(worker, workers[0], shape) for worker in workers[1:]]
    for row in found:
        times = row["tokens_per_s"] / found[0]["tokens_per_s"]
        print(f"{row['variant']:26} {row['tokens_per_s']:6,} tokens/s {times:5.2f}x {row['share_of_peak']:6.1%} of "
              f"{row['gemm_gflops']} GFLOP/s, first step {row['first_step_s']:5.1f} s, {row['peak_gib']:.1f} GiB, "
              f"loss {row['loss']:.2f}")  # fmt: skip
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "shape": arguments.shape, **shape,
             "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
             "python": platform.python_version(), "machine": vars(measure_machine())}  # fmt: skip
    with RESULTS.open("a", encoding="utf-8") as file:
        for row in found:
            file.write(json.dumps(about | row) + "\n")


if __name__ == "__main__":
    main()
