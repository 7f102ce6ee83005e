"""One file of two: each turn from the file in which it was changed.

    python joined.py train-textattack.jsonl train-jionlp.jsonl train.jsonl --out train-libraries.jsonl
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    """Reads two changed files and the one that they were made of, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("clean", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    files = [path.open(encoding="utf-8") for path in (given.first, given.second, given.clean)]
    with given.out.open("w", encoding="utf-8") as target:
        for lines in zip(*files, strict=True):
            first, second, clean = (json.loads(line) for line in lines)
            for one, other, before in zip(first["messages"], second["messages"], clean["messages"], strict=True):
                if one["content"] == before["content"]:
                    one["content"] = other["content"]
            target.write(json.dumps(first, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
