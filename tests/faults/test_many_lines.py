"""Ten million lines, some of them broken: each broken one is counted, and memory stays small."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.conversation import Conversation

NUM_BLOCKS, BLOCK_LINES, NUM_BROKEN = 100, 100_000, 600
MOST_BYTES = 300 * 2**20
BREAKERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line[: len(line) // 2],
    lambda line: line + b"}",
    lambda line: line.replace(b"question", b"quest\xffion"),
    lambda line: line.replace(b"question", b"quest\0ion"),
    lambda line: line.replace(b"question", b"\\ud83d question"),
    lambda line: line.replace(b'"user"', b'"robot"'),
    lambda line: line.replace(b"messages", b"massages"),
    lambda line: b"[" * 20_000,
    lambda line: b"null",
)
# Reads in a process of its own, whose memory is that of reading alone.
READ = """
import json, sys
from pathlib import Path
from duologue.data.sources import read_conversations
bad, rows, first = 0, 0, []
def on_bad(row):
    global bad
    bad += 1
    if bad <= 1000:
        first.append(row.line_number)
for row in read_conversations(Path(sys.argv[1]), on_bad=on_bad):
    rows += 1
# Not ru_maxrss, which a process takes over from the one that started it.
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
peak_bytes = int(peak.split()[1]) * 1024
print(json.dumps({"rows": rows, "bad": bad, "first": first, "peak_bytes": peak_bytes}))
"""


def block(rng: random.Random) -> tuple[bytes, list[int]]:
    """Lines as bytes, and the numbers of the broken ones among them."""
    lines = []
    for number in range(BLOCK_LINES):
        said = "".join(rng.choices('ab 你好😀\\"{}[]\t', k=rng.randint(1, 30)))
        row = Conversation.of(f"question {number} {said}", f"{said} answer", lang=rng.choice(["en", "zh"]))
        lines.append(json.dumps(row.to_dict(), ensure_ascii=rng.random() < 0.5).encode())
    broken = sorted(rng.sample(range(BLOCK_LINES), NUM_BROKEN))
    for turn, number in enumerate(broken):
        lines[number] = BREAKERS[turn % len(BREAKERS)](lines[number])
    return b"\n".join(lines) + b"\n", [number + 1 for number in broken]


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of memory")
def test_ten_million_lines(tmp_path: Path, tell: Callable[[str], None]) -> None:
    seed = random.randrange(2**32)
    content, broken = block(random.Random(seed))
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        for _ in range(NUM_BLOCKS):
            file.write(content)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = [turn * BLOCK_LINES + number for turn in range(2) for number in broken]
    assert found["first"] == expected[:1000]
    assert found["bad"] == NUM_BLOCKS * NUM_BROKEN
    assert found["rows"] == NUM_BLOCKS * (BLOCK_LINES - NUM_BROKEN)
    assert found["peak_bytes"] <= MOST_BYTES
    tell(f"{NUM_BLOCKS * BLOCK_LINES:,} lines, {found['bad']:,} of {NUM_BLOCKS * NUM_BROKEN:,} broken ones found, "
         f"{found['peak_bytes'] / 2**20:.0f} MiB at most (seed {seed})")  # fmt: skip
