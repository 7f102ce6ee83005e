"""A corpus made ready: the same bytes wherever it is done and however often it is killed; duplicates by brute force."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import psutil
import pytest
import zstandard

from duologue.cli.main import main
from duologue.conversation import Conversation
from duologue.data.formats import PlainText, Row
from duologue.data.prepare.row_files import read_row_file, to_json
from duologue.data.shards import Shards, write_shards
from duologue.data.sources import read_conversations
from duologue.tokenizer.tokenizer import Tokenizer

pytest.importorskip("datatrove")
SOURCE = Path(__file__).parents[2] / "src"
SEED = 11
TASKS = 3
FAR, NEAR = 0.4, 0.85  # no two texts of these files share a part between
HAN = [chr(point) for point in range(0x4E00, 0x4E00 + 800)]
WORDS = ["".join(letters) for letters in itertools.product("bdglmr", "aeiou", "nkst", "aeiou", "mrs")]
BAD_LINES = ("{broken", json.dumps({"messages": []}))


def texts(rng: random.Random, count: int) -> list[str]:
    """English and Chinese in turns, every third one long."""
    found = []
    for number in range(count):
        length = rng.randrange(50, 90) if number % 3 == 0 else rng.randrange(3, 8)
        english = " ".join(rng.choices(WORDS, k=length)).capitalize() + "."
        found.append(english if number % 2 else "".join(rng.choices(HAN, k=4 * length)) + "。")
    return found


def near(text: str, rng: random.Random) -> str:
    """The same with a word changed where it is long, else in other punctuation and case."""
    if len(text) < 150:
        return text.upper().replace(".", " !").replace("。", "！")
    at = rng.randrange(len(text) - 8)
    return text[:at] + ("爱" if text[at] in HAN else "x") + text[at + 1 :]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Lines, packed lines and a table; a tenth of the rows repeat an earlier one, and three lines are bad."""
    folder, rng = tmp_path_factory.mktemp("files"), random.Random(SEED)
    rows: list[Row] = [Conversation.of(f"{question} {n}", answer, lang="en" if n % 2 else "zh") if n % 5 else
                       PlainText(answer) for n, (question, answer) in
                       enumerate(zip(texts(rng, 400), texts(rng, 400), strict=True))]  # fmt: skip
    for number in range(40):
        row = rows[rng.randrange(len(rows))]
        if number % 2:
            row = PlainText(near(row.text, rng))
        rows.insert(rng.randrange(len(rows)), row)
    lines = [to_json(row) for row in rows]
    paths = [folder / name for name in ("one.jsonl", "two.jsonl.gz", "three.csv", "four.jsonl.zst")]
    first, second, fourth = lines[:150], lines[150:300], lines[300:]
    for at, bad in zip((20, 100), BAD_LINES, strict=True):
        first.insert(at, bad)
    second.insert(70, "\0")
    paths[0].write_text("\n".join(first), encoding="utf-8")  # no line end at the end
    paths[1].write_bytes(gzip.compress(packed(second), mtime=0))
    with paths[2].open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *((f"问题 {n}?", f"answer {n}") for n in range(30))])
    paths[3].write_bytes(zstandard.compress(packed(fourth)))
    return paths


def packed(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder, max_length=128)
    return folder


@pytest.fixture(scope="module")
def base(files: list[Path], tokenizer_folder: Path) -> list[str]:
    """The command without its folder."""
    return [*map(str, files), "--tokenizer", str(tokenizer_folder), "--validation-rows", "30", "--workers", "2"]


@pytest.fixture(scope="module")
def whole(base: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared without a break."""
    out = tmp_path_factory.mktemp("prepared") / "whole"
    prepare(*base, "--tasks", str(TASKS), "--out", str(out))
    return out


def start(*words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "duologue", "data", "prepare", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def prepare(*words: str) -> dict[str, object]:
    process = start(*words, "--json")
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    report: dict[str, object] = json.loads(out)
    return report


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["data", "prepare", *words]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err.strip().splitlines()[-1]


def result(out: Path) -> dict[str, str]:
    """The hash of every file that a user sees."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(out: Path, split: str) -> list[str]:
    return [to_json(row) for path in sorted((out / "clean").glob(f"{split}-*")) for row in read_row_file(path)]


def letters(text: str) -> str:
    return "".join(c for c in text.casefold() if unicodedata.category(c)[0] not in "PZC" or c in "-*/%")


def pieces(text: str) -> frozenset[str]:
    kept = letters(text)
    return frozenset(kept[i : i + 8] for i in range(len(kept) - 7)) if len(kept) >= 107 else frozenset([kept])


def kept_by_brute_force(rows: list[Row]) -> list[str]:
    """The first row of each group in which every two neighbours share nearly all of their pieces."""
    sets = [pieces(row.text) for row in rows]
    group = list(range(len(rows)))
    for two in range(len(rows)):
        for one in range(two):
            shared = len(sets[one] & sets[two]) / len(sets[one] | sets[two])
            assert not FAR < shared < NEAR, "the test's texts are meant to be clear"
            if shared >= NEAR:
                first, last = sorted((group[one], group[two]))
                group = [first if of == last else of for of in group]
    return [to_json(row) for number, row in enumerate(rows) if group[number] == number]


def test_report_and_bad_rows(whole: Path, files: list[Path], base: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.name != ".lock" and path.is_file()}
    report = prepare(*base, "--tasks", str(TASKS), "--out", str(whole))
    after = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.name != ".lock" and path.is_file()}
    assert after == before, "a second run does nothing"
    rows = list(read_conversations(files))
    assert report["num_rows"] == len(rows) + 3
    assert report["num_bad"] == 3
    assert report["num_exact"] == len(rows) - len({json.dumps(turns(row)) for row in rows})
    assert report["num_near"] == len(rows) - len(kept_by_brute_force(rows)) - int(str(report["num_exact"]))
    assert report["num_kept"] == len(rows_of(whole, "train")) + len(rows_of(whole, "valid"))
    bad = [json.loads(line) for line in (whole / "bad_rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["file"], one["line"]) for one in bad] == [("one.jsonl", 21), ("one.jsonl", 101), ("two.jsonl.gz", 71)]


def turns(row: Row) -> list[tuple[str, str]]:
    return [("", row.text)] if isinstance(row, PlainText) else [(str(m.role), m.content) for m in row.messages]


def test_duplicates_are_those_of_brute_force(whole: Path, files: list[Path]) -> None:
    expected = kept_by_brute_force(list(read_conversations(files)))
    assert sorted(rows_of(whole, "train") + rows_of(whole, "valid")) == sorted(expected)
    valid = set(rows_of(whole, "valid"))
    assert 10 <= len(valid) <= 60
    assert rows_of(whole, "train") == [row for row in expected if row not in valid]


def test_manifest_names_every_file(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text(encoding="utf-8"))
    hashes = {name: found["sha256"] for name, found in manifest["files"].items()}
    assert hashes == {name: digest for name, digest in result(whole).items() if name != "manifest.json"}
    assert not [path for path in whole.rglob("*") if path.name.endswith(".partial")]
    assert not (whole / "work").exists()


@pytest.mark.parametrize("num_tasks", [1, 7])
def test_number_of_tasks_changes_neither_rows_nor_tokens(
    base: list[str], whole: Path, tmp_path: Path, num_tasks: int
) -> None:
    report = prepare(*base, "--tasks", str(num_tasks), "--workers", "1", "--out", str(tmp_path / "out"))
    assert report["num_bad"] == 3
    for split in ("train", "valid"):
        assert rows_of(tmp_path / "out", split) == rows_of(whole, split)
        for name in ("tokens.bin", "learned.bin", "offsets.npy"):
            same = Path("tokens", split, name)
            assert (tmp_path / "out" / same).read_bytes() == (whole / same).read_bytes()
    assert (tmp_path / "out" / "bad_rows.jsonl").read_bytes() == (whole / "bad_rows.jsonl").read_bytes()


@pytest.mark.parametrize("split", ["train", "valid"])
def test_tokens_are_those_of_write_shards(whole: Path, tokenizer: Tokenizer, tmp_path: Path, split: str) -> None:
    rows = [row for path in sorted((whole / "clean").glob(f"{split}-*")) for row in read_row_file(path)]
    found = Shards.open(whole / "tokens" / split)
    write_shards(rows, tokenizer, tmp_path / "shards", fingerprint=found.manifest.tokenizer)
    for path in sorted((tmp_path / "shards").iterdir()):
        assert path.read_bytes() == (whole / "tokens" / split / path.name).read_bytes(), path.name


def test_ray_leaves_the_same_bytes(base: list[str], whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    prepare(*base, "--tasks", str(TASKS), "--out", str(tmp_path / "out"), "--executor", "ray")
    assert result(tmp_path / "out") == result(whole)


@pytest.mark.parametrize("kills", [10, pytest.param(300, marks=pytest.mark.soak)])
def test_killed_at_random_moments(
    base: list[str], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kills: int
) -> None:
    begin = time.monotonic()
    prepare(*base, "--tasks", str(TASKS), "--out", str(tmp_path / "timed"))
    whole_s, expected = time.monotonic() - begin, result(whole)
    rng, killed, identical, folders, redone = random.Random(SEED), 0, 0, 0, 0
    while killed < kills:
        out, since, done = tmp_path / f"killed-{folders}", killed, dict[Path, int]()
        while True:
            process = start(*base, "--tasks", str(TASKS), "--out", str(out))
            if killed < kills:
                time.sleep(rng.uniform(0, 0.9 * whole_s))
                process.send_signal(signal.SIGKILL)
            _, err = process.communicate(timeout=250)
            redone += sum(at != done[path] for path, at in markers(out).items() if path in done)
            done = markers(out)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, err
            killed += 1
        assert result(out) == expected, f"seed {SEED}, folder {folders}"
        assert [path.name for path in out.rglob(".*")] == [".inputs.json", ".lock"] or not list(out.rglob(".*.partial"))
        identical, folders = identical + killed - since, folders + 1
    assert redone == 0
    with capsys.disabled():
        seconds = time.monotonic() - begin
        print(f"\n{killed} kills, {identical} identical, {redone} finished tasks done again "
              f"(seed {SEED}, {folders} runs, {seconds:.0f} s)")  # fmt: skip


def markers(out: Path) -> dict[Path, int]:
    """When each finished task was marked as such; the measuring step knows by itself what it has done."""
    found = {path: path for path in out.glob("work/steps/*/completions/*") if path.parts[-3] != "measure"}
    return {path: path.stat().st_mtime_ns for path in found}


def test_nothing_outlives_a_killed_command(base: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*base, "--tasks", "40", "--out", str(out))
    while not list(out.glob("work/steps/read/completions/*")):
        time.sleep(0.02)
        assert process.poll() is None
    process.kill()
    process.communicate()  # ends once nobody holds its stdout any more
    time.sleep(0.3)
    before = list(out.rglob("*"))
    time.sleep(0.5)
    assert list(out.rglob("*")) == before


def test_stopped_by_ctrl_c(base: list[str], whole: Path, tmp_path: Path) -> None:
    words = [*base, "--tasks", str(TASKS), "--out", str(tmp_path / "out")]
    process = start(*words)
    while not list(tmp_path.glob("out/work/steps/read/logs/*")):
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "duologue data: stopped; the same command carries on"
    prepare(*words)
    assert result(tmp_path / "out") == result(whole)


def test_a_killed_worker_is_told(base: list[str], tmp_path: Path) -> None:
    process = start(*base, "--tasks", "40", "--out", str(tmp_path / "out"))
    while not list(tmp_path.glob("out/work/steps/read/completions/*")):
        time.sleep(0.01)
        assert process.poll() is None
    main_process = psutil.Process(process.pid)
    workers = [one for one in main_process.children(recursive=True) if one.parent() != main_process]
    workers[0].kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a task was killed" in err.strip().splitlines()[-1]
    assert "the same command carries on" in err.strip().splitlines()[-1]


def test_other_input_or_settings_are_refused(
    base: list[str], whole: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = ["--tasks", str(TASKS), "--out", str(whole)]
    assert "tasks (3, now 4)" in refused(capsys, *base, *same, "--tasks", "4")
    assert "validation_rows (30, now 31)" in refused(capsys, *base, *same, "--validation-rows", "31")
    assert "keep_duplicates (False, now True)" in refused(capsys, *base, *same, "--keep-duplicates")
    assert "4 files, now 3" in refused(capsys, *base[1:], *same)
    changed = tmp_path / files[0].name
    changed.write_bytes(files[0].read_bytes() + b"\n")
    said = refused(capsys, str(changed), *base[1:], *same)
    assert "file one.jsonl (SHA-256" in said
    assert "give another --out, or delete it to start anew" in said
    assert not (whole / "work").exists()


def test_too_many_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.jsonl"
    good = [Conversation.of(f"question {n}", "answer").to_json() for n in range(200)]
    path.write_text("\n".join(good[:100] + ["{"] * 3 + good[100:]), encoding="utf-8")
    said = refused(capsys, str(path), "--out", str(tmp_path / "out"), "--tasks", "4", "--workers", "1")
    assert f"{path}: 3 of 203 rows (1.48%) cannot be used, the first at line 101: is not JSON" in said
    path.write_bytes(gzip.compress(path.read_bytes())[:-8] + b"not that")
    damaged = path.rename(tmp_path / "bad.jsonl.gz")
    said = refused(capsys, str(damaged), "--out", str(tmp_path / "out2"), "--workers", "1")
    assert f"{damaged}: is damaged" in said


def test_without_the_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = refused(capsys, "a.jsonl", "--out", str(tmp_path / "out"), "--executor", "ray")
    assert said.endswith('datatrove and ray not installed; preparing needs: pip install "duologue[scale]"')


@pytest.mark.parametrize("way", ["clean files", "prepared"])
def test_training_takes_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(path) for path in sorted((whole / "clean").glob("*.jsonl.zst"))]
    data = ["--data", *files] if way == "clean files" else ["--data.prepared", str(whole)]
    words = ["pretrain", "tiny", *data, "--data.builtin_dialogues", "0", "--steps", "2", "--out", "run"]
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    is_tokenised_again = Path("run/data").exists()
    assert is_tokenised_again == (way == "clean files")
    if way == "prepared":
        assert Path("run/model/tokenizer.json").read_bytes() == (whole / "tokenizer/tokenizer.json").read_bytes()
        said = refused_pretrain(capsys, *words[:-2], "--data", *files)
        assert "files" in said


def test_a_damaged_one_is_not_trained_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, "corpus")
    victim = Path("corpus/tokens/train/tokens.bin").absolute()
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    assert main(["pretrain", "tiny", "--data.prepared", "corpus", "--steps", "2", "--out", "run"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"duologue pretrain: {victim}: is damaged: sha256 ")
    assert said.endswith(f"; delete {tmp_path / 'corpus'} and prepare it anew")


def refused_pretrain(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]
