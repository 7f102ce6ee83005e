"""The front door: both languages say the same, and every command in it exists."""

import re
from pathlib import Path

import pytest

from duologue.cli.main import VERBS

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh.md")
MOST_LINES = 250


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[tuple[str, str]]:
    """The fenced blocks: language and text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", read(name), flags=re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[str]:
    """The lines that a reader may copy into a shell, without what the comments say."""
    lines = [line for language, text in blocks(name) if language in ("sh", "powershell") for line in text.splitlines()]
    return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())]


def headings(name: str) -> list[int]:
    prose = re.sub(r"^```.*?^```$", "", read(name), flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, flags=re.MULTILINE)]


def test_both_languages_have_the_same_headings() -> None:
    assert headings("README.md") == headings("README.zh.md")


def test_both_languages_have_the_same_commands() -> None:
    assert commands("README.md") == commands("README.zh.md")


@pytest.mark.parametrize("name", READMES)
def test_readme_is_short(name: str) -> None:
    assert len(read(name).splitlines()) <= MOST_LINES


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    called = {word for line in commands("README.md") for word in re.findall(r"^make ([a-z]+)", line)}
    assert {"quickstart", "test"} <= called <= targets


def test_verbs_exist() -> None:
    called = {verb for line in commands("README.md") for verb in re.findall(r"\bduologue ([a-z]+)", line)}
    assert called
    assert called <= set(VERBS)


def test_recipes_exist() -> None:
    recipes = {path.stem for path in (ROOT / "src/duologue/recipes").glob("*.toml")}
    called = {name for line in commands("README.md") for name in re.findall(r"\bduologue up ([\w-]+)", line)}
    assert called
    assert called <= recipes


@pytest.mark.parametrize("name", READMES)
def test_files_that_it_points_to_exist(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", read(name))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_continuous_integration_calls_the_readmes_commands() -> None:
    called = re.findall(r"^step (make .*)$", read(".ci/run"), flags=re.MULTILINE)
    assert set(called) <= set(commands("README.md"))
    assert called[-1] == "make test"
