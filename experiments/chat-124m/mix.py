"""Mixes corpora of very different sizes, so that no large one drowns the others, and keeps some dialogues of each back.

    python mix.py --out MIX CORPUS.jsonl.gz ...

Each corpus gets a share of the mix that grows with the root of its size, but is repeated at most four times. Leaves
MIX/train.jsonl and MIX/held_out.jsonl; rows that carry "split": "valid" are held out where there are any, else some by
a hash of their first turn.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

from duologue.data.formats import Row
from duologue.data.sources import read_conversations
from duologue.data.validation import is_validation

MOST_REPEATS = 4  # Muennighoff et al. 2023, arXiv:2305.16264: up to four epochs are nearly as good as fresh text
HELD_OUT_ROWS, HELD_OUT_SHARE = 200, 0.02  # of each corpus


def lines_of(path: Path) -> Iterator[str]:
    """The rows of a corpus, as they stand."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        yield from file


def divided(path: Path) -> tuple[list[str], list[str]]:
    """What is trained on, and what is held out."""
    lines = list(lines_of(path))
    marked = [line for line in lines if json.loads(line).get("split") == "valid"]
    if 0 < len(marked) < len(lines) / 2:
        held_out = set(marked)
    else:
        rows: list[Row] = list(read_conversations([path]))
        if len(rows) != len(lines):
            raise SystemExit(f"{path}: {len(lines) - len(rows)} rows that are no dialogues; clean it first")
        held_out = {line for line, row in zip(lines, rows, strict=True) if is_validation(row, fraction=HELD_OUT_SHARE)}
    return [line for line in lines if line not in held_out], sorted(held_out)[:HELD_OUT_ROWS]


def passes(sizes: dict[str, int]) -> dict[str, float]:
    """How often each corpus goes into the mix, which is about as large as all of them together."""
    unit = sum(sizes.values()) / sum(map(math.sqrt, sizes.values()))
    return {name: min(MOST_REPEATS, unit / math.sqrt(size)) for name, size in sizes.items()}


def main() -> None:
    """Reads, mixes, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    parts = {path.name: divided(path) for path in arguments.corpora}
    times = passes({name: max(1, sum(map(len, train))) for name, (train, _) in parts.items()})
    mixed: list[str] = []
    for name, (train, _) in parts.items():
        whole, rest = divmod(times[name], 1)
        mixed += train * int(whole) + [line for line in train if chance.random() < rest]
        print(f"{name:40} {len(train):>8,} rows, {times[name]:.2f} times")
    chance.shuffle(mixed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "train.jsonl").write_text("".join(mixed), encoding="utf-8")
    held_out = [line for _, (_, kept) in sorted(parts.items()) for line in kept]
    (arguments.out / "held_out.jsonl").write_text("".join(held_out), encoding="utf-8")


if __name__ == "__main__":
    main()
