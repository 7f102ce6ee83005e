"""What the baselines share: half of the dialogues of a file with another library's noise in the users' turns.

Needs nothing but Python, since each library lives in an environment of its own.
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

Noise = Callable[[str], str]


def is_chinese(text: str) -> bool:
    """Whether most of a text is Chinese."""
    return sum("\u4e00" <= sign <= "\u9fff" for sign in text) * 4 > len(text)


def main(description: str, english: Noise | None = None, chinese: Noise | None = None) -> None:
    """Reads ``FILE --out FILE`` and writes the rows; turns in a language without noise stay as they are."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the dialogues (default 0.5)")
    given = parser.parse_args()
    num_changed = num_rows = 0
    with given.file.open(encoding="utf-8") as source, given.out.open("w", encoding="utf-8") as target:
        for line in source:
            row = json.loads(line)
            digest = int.from_bytes(hashlib.sha256(line.encode()).digest()[:8], "little") / 2**64
            if digest < given.share:
                for message in row["messages"]:
                    noise = chinese if is_chinese(message["content"]) else english
                    if message["role"] == "user" and noise and message["content"].strip():
                        changed = noise(message["content"])
                        num_changed += changed != message["content"]
                        message["content"] = changed
            target.write(json.dumps(row, ensure_ascii=False) + "\n")
            num_rows += 1
    print(f"{num_rows} rows, {num_changed} turns changed")
