"""Two processes of one thread beside one of two threads: does training lose by being shared out?

Both train the same steps of the same recipe in turns; what counts is the median of tokens a second of each run, by its
own metrics. The figures are appended to benchmarks/results/processes.jsonl, a JSON line for each run.

    python benchmarks/processes.py                              the quickstart's shape, plain and compiled
    python benchmarks/processes.py --recipe dialogue-small --rounds 3 --ways ddp fsdp
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from duologue.runtime import measure_machine

RESULTS = Path(__file__).parent / "results" / "processes.jsonl"
STEPS, WARMUP = 24, 6


def tokens_per_s(out: Path, recipe: str, num_processes: int, flags: list[str]) -> float:
    """Trains in a fresh copy of a run folder whose corpus is tokenised; gives the median of its later steps."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(num_processes)] if num_processes > 1 else []
    words = ["-m", "duologue", "pretrain", recipe, "--out", str(out), "--steps", str(STEPS), *flags]
    environment = os.environ | {"OMP_NUM_THREADS": str(2 // num_processes)}
    subprocess.run([sys.executable, *launcher, *words], env=environment, check=True, capture_output=True)
    lines = (out / "pretraining" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    shutil.rmtree(out / "pretraining")
    return statistics.median(json.loads(line)["tokens_per_s"] for line in lines[WARMUP:])


def compare(arguments: argparse.Namespace, way: str, compiled: str, optimizer: str) -> dict[str, object]:
    """Rounds of both, one after the other."""
    settings = {"parallel": way, "compile": compiled, "matrix_optimizer": optimizer, "evaluate_every": 1000,
                "batch_tokens": arguments.batch_tokens}  # fmt: skip
    flags = [word for name, value in settings.items() for word in (f"--pretraining.{name}", str(value))]
    flags += ["--data.builtin_dialogues", "3000"]
    found: dict[str, list[float]] = {"one": [], "two": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name, num_processes in (("one", 1), ("two", 2)):
                found[name].append(tokens_per_s(Path(folder) / "run", arguments.recipe, num_processes, flags))
    ratios = [two / one for one, two in zip(found["one"], found["two"], strict=True)]
    return {"recipe": arguments.recipe, "batch_tokens": arguments.batch_tokens, "way": way, "compile": compiled,
            "matrix_optimizer": optimizer, "tokens_per_s": found, "ratio": statistics.median(ratios)}  # fmt: skip


def main() -> None:
    """Measures, prints a line for each comparison, and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="quickstart", help="a recipe of the package")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--ways", nargs="+", default=["ddp"], choices=["ddp", "fsdp"])
    parser.add_argument("--compiled", nargs="+", default=["off", "on"], choices=["off", "on"])
    parser.add_argument("--optimizers", nargs="+", default=["muon"], choices=["muon", "adamw"])
    arguments = parser.parse_args()
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "torch": version("torch")}
    for way in arguments.ways:
        for compiled in arguments.compiled:
            for optimizer in arguments.optimizers:
                found = compare(arguments, way, compiled, optimizer)
                name = f"{way}, compile {compiled}, {optimizer}"
                print(f"{name}: {found['ratio']:.2f} of one process", found["tokens_per_s"])
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(about | {"machine": vars(measure_machine())} | found) + "\n")


if __name__ == "__main__":
    main()
