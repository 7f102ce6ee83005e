"""The quickstart in a short form: it reports, it goes on after Ctrl-C, and the model it leaves chats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

QUICKSTART = [sys.executable, "-m", "duologue", "quickstart", "--no-serve"]


def run(*words: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a short quickstart was stopped by Ctrl-C in its first stage, and carried on."""
    folder = tmp_path_factory.mktemp("quickstart")
    process = subprocess.Popen([*QUICKSTART, "--minutes", "0.4"], cwd=folder, stderr=subprocess.PIPE, text=True)
    metrics = folder / "runs/quickstart/pretraining/metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "the same command carries on" in said.splitlines()[-1]
    assert "Traceback" not in said
    done = run(*QUICKSTART, "--minutes", "0.4", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr
    (folder / "result.json").write_text(done.stdout, encoding="utf-8")
    return folder


def test_the_report_says_what_was_measured(folder: Path) -> None:
    report = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    bits = report["bits_per_byte"]
    assert list(bits) == ["untrained", "pretraining", "finetuning"]
    assert bits["untrained"] > bits["pretraining"] > bits["finetuning"] > 0
    assert {lang: len(rows) for lang, rows in report["samples"].items()} == {"en": 3, "zh": 3}
    run_folder = folder / "runs/quickstart"
    for name in ("report.json", "report.md", "accuracy.png", "pretraining/loss.png", "finetuning/loss.png", "env.json"):
        assert (run_folder / name).stat().st_size > 100, name


def test_called_again_it_only_reports(folder: Path) -> None:
    before = (folder / "runs/quickstart/model/model.safetensors").read_bytes()
    done = run(*QUICKSTART, "--minutes", "0.4", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.count("done already") == 2
    assert (folder / "runs/quickstart/model/model.safetensors").read_bytes() == before


def test_its_test_can_be_asked_again(folder: Path) -> None:
    words = ["evaluate", "runs/quickstart", "--data", "runs/quickstart/data/test.jsonl", "--json"]
    done = run(sys.executable, "-m", "duologue", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    first = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert again["accuracy"] == first["accuracy"]
    assert again["bits_per_byte"] > 0


def test_the_model_chats_from_a_pipe(folder: Path) -> None:
    lines = "Hello!\n你好！\n"
    words = ["chat", "runs/quickstart", "--max-new-tokens", "8"]
    done = run(sys.executable, "-m", "duologue", *words, cwd=folder, stdin=lines)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


def test_transformers_loads_what_it_leaves(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "runs/quickstart/model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "runs/quickstart/model")
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_other_minutes_set_the_old_run_aside(folder: Path) -> None:
    done = run(*QUICKSTART, "--minutes", "0.1", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "it is kept as" in done.stderr
    kept = [path for path in (folder / "runs").iterdir() if path.name.startswith("quickstart-")]
    assert len(kept) == 1
    assert (kept[0] / "model/model.safetensors").is_file()


@pytest.mark.skipif(os.name == "nt", reason="a read-only folder is not enough to refuse a file there")
def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    done = run(*QUICKSTART, "--minutes", "0.1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("duologue quickstart: runs/quickstart")
    assert "Traceback" not in done.stderr
