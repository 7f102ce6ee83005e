"""The pages under docs/ say the same in both languages, and what they show is what the commands print."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from duologue.cli.main import VERBS
from duologue.cli.parser import OneLineParser
from duologue.cli.scale_arguments import add_scale_arguments, cluster_of, job_of
from duologue.training.scale import plan_at_scale
from duologue.training.scale_report import render_scale

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted({page.name for language in ("en", "zh") for page in (DOCS / language).glob("*.md")})
LANGUAGES = ("en", "zh")
MOST_LINES = 160


def read(language: str, page: str) -> str:
    return (DOCS / language / page).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language in languages]


def commands(text: str) -> list[str]:
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())]


def headings(text: str) -> list[int]:
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, flags=re.MULTILINE)]


def test_there_are_pages() -> None:
    assert "scale.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_say_the_same(page: str) -> None:
    english, chinese = (read(language, page) for language in LANGUAGES)
    assert headings(english) == headings(chinese)
    assert commands(english) == commands(chinese)
    assert blocks(english, "text", "toml", "json") == blocks(chinese, "text", "toml", "json")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_short_and_point_to_what_exists(language: str, page: str) -> None:
    text = read(language, page)
    assert len(text.splitlines()) <= MOST_LINES
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (DOCS / language / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_verbs_exist(page: str) -> None:
    called = {verb for line in commands(read("en", page)) for verb in re.findall(r"\bduologue ([a-z]+)", line)}
    assert called
    assert called <= set(VERBS)


def test_the_plan_is_the_one_that_is_printed() -> None:
    text = read("en", "scale.md")
    (command,) = [line for line in commands(text) if line.startswith("duologue plan --params")]
    parser = OneLineParser()
    add_scale_arguments(parser)
    arguments = parser.parse_args(command.split()[2:])
    cluster = cluster_of(arguments)
    printed = io.StringIO()
    Console(file=printed, width=100).print(render_scale(plan_at_scale(cluster, job_of(arguments, cluster.gpu))))
    (shown,) = blocks(text, "text")
    assert shown.splitlines() == [line.rstrip() for line in printed.getvalue().splitlines()]
