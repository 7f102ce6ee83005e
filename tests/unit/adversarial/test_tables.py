"""The tables: whole, with their sources, and true by what another source says."""

import importlib.resources

from duologue.adversarial.chinese_tables import characters, characters_by_reading, words
from duologue.adversarial.english_typing import near_keys
from duologue.adversarial.table_files import read_table, tables_version


def test_each_has_source_and_licence() -> None:
    folder = importlib.resources.files("duologue.adversarial") / "tables"
    files = [path for path in folder.iterdir() if path.name.endswith(".tsv")]
    assert len(files) == 8
    for path in files:
        head = path.read_text("utf-8").split("\n\n")[0]
        comment = "\n".join(line for line in head.splitlines() if line.startswith("#"))
        assert any(licence in comment for licence in ("MIT", "Apache-2.0", "CC BY")), path.name
    assert len(tables_version()) == 12


def test_characters_are_level_one_of_gb2312() -> None:
    codes = [bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    known = {code.decode("gb2312") for code in codes if not (code[0] == 0xD7 and code[1] > 0xF9)}
    assert set(characters()) == known
    assert len(known) == 3755


def test_readings_and_looks() -> None:
    table = characters()
    assert table["好"].reading == "hao"
    assert table["女"].reading == "nv"
    assert table["好"].parts == "女子"
    assert table["国"].traditional == "國"
    assert "末" in table["未"].alike
    assert "己" in table["已"].alike
    assert 380 <= len(characters_by_reading()) <= 420
    assert all(len(one.alike) <= 8 and text not in one.alike for text, one in table.items())


def test_words_sound_like_others() -> None:
    readings = list(words().values())
    assert len(readings) > 10_000
    assert all(len(word) == len(reading.split()) for word, reading in words().items())
    once = {reading for reading in readings if readings.count(reading) == 1} if len(readings) < 100 else set()
    assert not once


def test_keys_are_near_both_ways() -> None:
    for key in "abcdefghijklmnopqrstuvwxyz":
        assert key not in near_keys(key)[0]
        assert all(key in near_keys(other)[0] for other in near_keys(key)[0])
    assert "s" in near_keys("a")[0]
    assert "p" not in near_keys("a")[0]


def test_rows_are_whole() -> None:
    for name in ("english_homophones", "english_short", "english_grammar", "english_contractions"):
        assert all(len(row) >= 2 for row in read_table(name)), name
