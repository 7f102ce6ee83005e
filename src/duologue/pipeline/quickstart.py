"""The quickstart: the built-in corpus, a plan, two stages, a report. Everything within the minutes given."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from duologue.data.builtin.dialogues import builtin_test
from duologue.errors import ConfigError, RunFolderError
from duologue.evaluation.exact_match import exact_match
from duologue.evaluation.plot import plot_accuracy
from duologue.generation.engine import Engine
from duologue.pipeline.display import Display
from duologue.pipeline.quickstart_report import QuickstartReport, sample_dialogues, show_report
from duologue.pipeline.recipe import load_recipe
from duologue.pipeline.run_folder import RunFolder, read_json, set_aside, write_json, write_text
from duologue.pipeline.stages import STAGES, Pipeline
from duologue.pipeline.up import measure, train_stages

LEAST_MINUTES = 0.1
ITEMS_PER_SKILL = 100
DIALOGUES = 60_000
WORTH_COMPILING = 4  # minutes in all: the compiler takes half of one, once for both stages
PRETRAINING_SHARE = 0.25


@dataclass(frozen=True)
class Budget:
    """How the minutes are spent; kept with the run, so that a stopped one goes on with the same plan.

    Attributes:
        minutes: all of it, from the start to the chat.
        pretraining, finetuning: minutes of the two stages.
        dialogues: size of the corpus.
        items_per_skill: length of the test.
    """

    minutes: float
    pretraining: float
    finetuning: float
    dialogues: int
    items_per_skill: int

    @classmethod
    def of(cls, minutes: float) -> Budget:
        """Leaves about a minute for corpus, tokenizer and test."""
        aside = min(0.3 * minutes, 0.55 + 0.05 * minutes)
        training = minutes - aside
        dialogues = int(min(DIALOGUES, max(2_000, minutes * 20_000)))
        items = ITEMS_PER_SKILL if minutes >= 3 else 10
        pretraining = round(PRETRAINING_SHARE * training, 3)
        return cls(minutes, pretraining, round(training - pretraining, 3), dialogues, items)


def quickstart(*, minutes: float, out: Path | None, display: Display | None = None) -> QuickstartReport:
    """Trains on the built-in corpus and reports.

    A finished run of as many minutes is only reported again; one of other minutes is set aside.
    """
    if not (minutes >= LEAST_MINUTES and math.isfinite(minutes)):
        raise ConfigError(f"--minutes: is {minutes}; expected at least {LEAST_MINUTES}")
    display = display or Display()
    run = RunFolder(out or Path("runs") / "quickstart")
    budget = Budget.of(minutes)
    _claim_folder(run, budget, display)
    with run.claimed(), _stopwatch(run) as minutes_spent:
        report = _train_and_test(run, budget, display, minutes_spent)
    show_report(report, display)
    return report


def _train_and_test(
    run: RunFolder, budget: Budget, display: Display, minutes_spent: Callable[[], float]
) -> QuickstartReport:
    pipeline = _pipeline(run, budget, display)
    show_plan(pipeline, budget)
    bits = {"untrained": measure(pipeline, pipeline.first_model())} | train_stages(pipeline)
    display.title("test")
    engine = Engine.from_pretrained(run.model)
    items = list(builtin_test(items_per_skill=budget.items_per_skill, seed=pipeline.recipe.data.seed))
    lines = [json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in items]
    write_text(run.data / "test.jsonl", "".join(lines))
    with display.progress("questions never seen in training", len(items)) as on_progress:
        accuracy = exact_match(engine, items, on_progress=on_progress)
    plot_accuracy(accuracy, run.path / "accuracy.png")
    report = QuickstartReport(str(run.model), bits, accuracy, sample_dialogues(engine), minutes_spent())
    write_json(run.path / "report.json", report.to_dict())
    write_text(run.path / "report.md", report.to_markdown())
    return report


def show_plan(pipeline: Pipeline, budget: Budget) -> None:
    """Prints machine, model size and minutes, before anything long begins."""
    machine, config = pipeline.machine, pipeline.recipe.transformer
    rate = machine.gflops[machine.best_dtype]
    display = pipeline.display
    display.title("plan")
    display.note(f"machine    {machine.processor}, {machine.num_cores} cores, {machine.memory_gib:.0f} GiB, "
                 f"{rate:,.0f} GFLOP/s in {machine.best_dtype}")  # fmt: skip
    vocabulary = pipeline.recipe.tokenizer.vocab_size
    parameters = config.num_matrix_parameters + vocabulary * config.hidden_size
    display.note(f"model      {parameters / 1e6:.1f} M parameters: {config.num_hidden_layers} layers, "
                 f"{config.hidden_size} wide, context {config.max_position_embeddings}")  # fmt: skip
    display.note(f"corpus     {budget.dialogues:,} built-in dialogues, English and Chinese")
    display.note(f"minutes    {budget.minutes:g}: pretraining {budget.pretraining:.1f}, fine-tuning "
                 f"{budget.finetuning:.1f}, the rest for corpus and test")  # fmt: skip
    display.note(f"run folder {pipeline.run.path}; Ctrl-C stops, the same command goes on")


def _claim_folder(run: RunFolder, budget: Budget, display: Display) -> None:
    """Makes the run folder this run's; an earlier quickstart with another budget is set aside, nothing else is."""
    recorded = read_json(run.path / "budget.json")
    if recorded == vars(budget):
        return
    if recorded is not None:
        with run.claimed():
            pass  # nobody trains in it
        display.note(f"the earlier run was of other minutes; it is kept as {set_aside(run.path)}")
    elif run.path.is_dir() and any(run.path.iterdir()):
        raise RunFolderError(f"{run.path}: holds something else than a quickstart; give another --out")
    run.make()
    write_json(run.path / "budget.json", vars(budget))


@contextmanager
def _stopwatch(run: RunFolder) -> Iterator[Callable[[], float]]:
    """Gives the minutes spent so far, those of stopped calls included."""
    path, start = run.path / "minutes.json", time.monotonic()
    before = float((read_json(path) or {}).get("minutes", 0.0))

    def spent() -> float:
        return before + (time.monotonic() - start) / 60

    try:
        yield spent
    finally:
        write_json(path, {"minutes": spent()})


def _pipeline(run: RunFolder, budget: Budget, display: Display) -> Pipeline:
    flags = {
        "pretraining.minutes": budget.pretraining,
        "finetuning.minutes": budget.finetuning,
        "data.builtin_dialogues": budget.dialogues,
        **{f"{stage}.compile": "on" if budget.minutes >= WORTH_COMPILING else "off" for stage in STAGES},
    }
    pipeline = Pipeline(load_recipe("quickstart", flags), run, display)
    pipeline.describe()
    return pipeline
