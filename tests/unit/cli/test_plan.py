"""The verb ``plan``: figures as JSON, complaints on one line, and a recipe's plan as ``--dry-run`` shows it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from duologue.cli.amounts import amount
from duologue.cli.main import main

AT_SCALE = ["plan", "--params", "1b", "--tokens", "20b", "--gpus", "64", "--gpu", "h200"]


def test_figures_with_their_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*AT_SCALE, "--json"]) == 0
    captured = capsys.readouterr()
    plan = json.loads(captured.out)
    assert plan["parameters"] == pytest.approx(1e9, rel=0.03)
    assert plan["memory_bytes"] == sum(plan["memory"].values()) < plan["usable_memory_bytes"]
    assert plan["step_s"] == pytest.approx(sum(plan["step"].values()))
    assert plan["cluster"]["gpu"]["tflops"] == 989
    assert plan["job"]["batch_tokens"] == 2**21
    assert plan["outlook"]["failure_days"] == pytest.approx(33.0, abs=0.01)
    assert plan["fits"] is True
    assert plan["verdicts"][0] in captured.err.replace("\n", " ")


@pytest.mark.parametrize("gpus", ["1", "2", "64", "100", "1024"])
@pytest.mark.parametrize("params", ["3m", "124m", "7b"])
def test_any_size_on_any_number(gpus: str, params: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--params", params, "--gpus", gpus, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    expected = "one" if gpus == "1" else "fsdp2" if params == "7b" else "ddp"
    assert plan["parallelism"] == expected
    assert plan["days"] >= plan["training_days"] > 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--params", "1b", "--gpu", "h300"], "--gpu h300: unknown; known: a100, h100, h200, b200, l40s, rtx4090, cpu"),
        (["--params", "many"], "--params: is many; expected a whole number such as 64, 350m, 1b or 1.5t"),
        (["--params", "1b", "--gpus", "0"], "--gpus: is 0; expected a whole number such as 64, 350m, 1b or 1.5t"),
        (["--params", "1b", "--network", "-1"], "--network: is -1; expected a number above 0"),
        (["--params", "1b", "--mfu", "40"], "--mfu 40: expected a share of the peak, above 0 and at most 1"),
        (["--params", "1b", "--batch-tokens", "1k"], "--batch-tokens 1000: expected 2048 or more"),
        ([], "a plan needs RECIPE, or the size of a model: --params 1b"),
        (["tiny", "--gpus", "8"], "--gpus is for a run without RECIPE; change a recipe by its own settings"),
        (["--params", "1b", "--data", "a.jsonl"], "--data belongs to a RECIPE, and there is none"),
        (["--params", "1b", "--pretraining.steps", "3"], "--pretraining.steps belongs to a RECIPE, and there is none"),
    ],
)
def test_complaints(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    assert capsys.readouterr().err == f"duologue plan: {complaint}\n"


@pytest.mark.parametrize(
    ("text", "number"), [("64", 64), ("350m", 350_000_000), ("1B", 10**9), ("1.5t", 15 * 10**11), ("2.5k", 2500)]
)
def test_amounts(text: str, number: int) -> None:
    assert amount(text) == number


@pytest.mark.parametrize("text", ["", "m", "1.5", "-3", "0", "1e999", "nan", "1g", "1bb"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        amount(text)


def test_a_plan_at_scale_does_not_wait_for_torch() -> None:
    program = f"import sys; from duologue.cli.main import main; main({AT_SCALE}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_this_machine_can_be_planned_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--params", "3m", "--gpu", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cluster"]["gpu"]["name"] == "cpu"


def test_a_recipes_plan_is_that_of_a_dry_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plans = []
    for verb in (["plan", "tiny"], ["up", "tiny", "--dry-run"]):
        assert main([*verb, "--out", str(tmp_path), "--pretraining.steps", "4", "--json"]) == 0
        plans.append(json.loads(capsys.readouterr().out))
    first, second = plans
    assert first["pretraining"]["steps"] == second["pretraining"]["steps"] == 4
    assert first["finetuning"]["memory_gib"] == second["finetuning"]["memory_gib"]
