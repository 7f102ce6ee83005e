"""What the quickstart says at its end: bits per byte, right answers by skill, sample dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from duologue.conversation import Conversation, Role
from duologue.evaluation.exact_match import ExactMatchReport, Tally
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.pipeline.display import Display

# What the user says in the sample dialogues; they are shown as they come, not selected.
SAMPLE_TURNS = {
    "en": (
        ("Hello! Who are you?", "What can you do?"),
        ("My name is Clara and I live in Rome.", "What is 27 + 48?", "What is my name?"),
        ("Spell the word green.", "What day comes 3 days after Friday?"),
    ),
    "zh": (
        ("你好！你是谁？", "你会做什么？"),
        ("我叫王芳。", "27加48是多少？", "我叫什么名字？"),
        ("请把“苹果”拆开念。", "星期五过三天是星期几？"),
    ),
}


@dataclass(frozen=True)
class QuickstartReport:
    """The result of a quickstart.

    Attributes:
        bits_per_byte: of held-out replies, after each stage.
        samples: dialogues by language.
    """

    model: str
    bits_per_byte: dict[str, float | None]
    accuracy: ExactMatchReport
    samples: dict[str, list[Conversation]]
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        samples = {lang: [row.to_dict() for row in rows] for lang, rows in self.samples.items()}
        accuracy = self.accuracy.to_dict()
        return {"model": self.model, "minutes": round(self.minutes, 2), "bits_per_byte": self.bits_per_byte,
                "accuracy": accuracy, "samples": samples}  # fmt: skip

    def to_markdown(self) -> str:
        """As a page to keep."""
        lines = ["# Quickstart report", "", f"Model: `{self.model}`, {self.minutes:.1f} minutes.", ""]
        lines += ["| held-out replies | bits per byte |", "|---|---|"]
        lines += [f"| {stage} | {value} |" for stage, value in self.bits_per_byte.items()]
        lines += ["", "| right answers | English | Chinese |", "|---|---|---|"]
        lines += [f"| {name} | {english} | {chinese} |" for name, english, chinese in accuracy_rows(self.accuracy)]
        lines += ["", "![right answers by skill](accuracy.png)", ""]
        for lang, rows in self.samples.items():
            for row in rows:
                lines += [f"**Sample, {lang}**", ""]
                lines += [f"- {message.role}: {message.content}" for message in row.messages] + [""]
        return "\n".join(lines)


def accuracy_rows(accuracy: ExactMatchReport) -> list[tuple[str, str, str]]:
    """A row for all skills, one for each skill, one for each distance of recall; a cell for each language."""

    def row(name: str, tallies: Mapping[Any, Tally], *key: object) -> tuple[str, str, str]:
        found = (tallies.get((lang, *key) if key else lang) for lang in ("en", "zh"))
        english, chinese = (f"{tally.share:.0%} of {tally.total}" if tally else "" for tally in found)
        return name, english, chinese

    skills = sorted({skill for _, skill in accuracy.by_skill})
    distances = sorted({distance for _, distance in accuracy.by_distance})
    return [
        row("all skills", accuracy.by_language),
        *(row(skill, accuracy.by_skill, skill) for skill in skills),
        *(row(f"recall, {distance} turns back", accuracy.by_distance, distance) for distance in distances),
    ]


def sample_dialogues(engine: Engine) -> dict[str, list[Conversation]]:
    """The sample dialogues with the model's replies, the likeliest token each time."""
    return {lang: [_converse(engine, turns) for turns in rows] for lang, rows in SAMPLE_TURNS.items()}


def show_report(report: QuickstartReport, display: Display) -> None:
    """Prints the report."""
    display.title("report")
    stages = "  ".join(f"{stage} {value}" for stage, value in report.bits_per_byte.items())
    display.note(f"bits per byte of held-out replies: {stages}")
    table = Table("right answers", "English", "中文", box=None, padding=(0, 2))
    for cells in accuracy_rows(report.accuracy):
        table.add_row(*cells)
    display.console.print(table)
    for rows in report.samples.values():
        for row in rows:
            display.console.print()
            for message in row.messages:
                who, style = ("you", "") if message.role is Role.USER else ("bot", "green")
                display.console.print(f"  {who}  {message.content}", markup=False, style=style)
    display.console.print()
    display.note(f"{report.minutes:.1f} minutes; report and plots: {report.model.removesuffix('/model')}/report.md")
    display.note(f"talk to it: duologue chat {report.model.removesuffix('/model')}")


def _converse(engine: Engine, turns: tuple[str, ...]) -> Conversation:
    said = Conversation(())
    for turn in turns:
        said = said.says(Role.USER, turn)
        output = engine.generate(said, GenerationConfig(max_new_tokens=64))
        said = said.says(Role.ASSISTANT, engine.tokenizer.decode(output.sequences[0]))
    return said
