"""The command line as a whole, with verbs made up for the test."""

import argparse
import errno
import json
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from duologue import __version__
from duologue.cli import main as command
from duologue.cli.main import VERBS, Verb, main
from duologue.errors import ConfigError, DataError


@dataclass(frozen=True)
class Finding:
    words: tuple[str, ...]
    where: Path


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Makes a function the verb ``try``."""

    def make(run: Callable[[argparse.Namespace], object]) -> None:
        module = types.ModuleType("duologue.cli.fake")
        module.HELP = "Tries something.\n\nExamples:\n  duologue try x --times 2"  # type: ignore[attr-defined]
        module.add_arguments = add_arguments  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "duologue.cli.fake", module)
        monkeypatch.setitem(command.VERBS, "try", Verb("duologue.cli.fake", "Test", "try something"))

    return make


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("x", "yes"))
    parser.add_argument("--times", type=int, default=1)


def raising(error: BaseException) -> Callable[[argparse.Namespace], object]:
    def run(arguments: argparse.Namespace) -> object:
        raise error

    return run


def test_overview_lists_each_verb_once_in_the_order_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    starts = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and "duologue" not in line]
    assert starts == list(VERBS)


def test_no_verb_is_wrong_use_and_shows_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: duologue VERB" in captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"duologue {__version__}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["chta"], "duologue: no verb chta; did you mean chat?"),
        (["--json", "chat"], "duologue: --json stands where a verb is expected: duologue VERB [flags]"),
        (["try", "--tmes", "2"], "duologue try: no flag --tmes; did you mean --times?"),
        (["try", "--time=2", "x"], "duologue try: no flag --time; did you mean --times?"),
        (["try", "x", "--times", "two"], "duologue try: --times: invalid int value: 'two'"),
        (["try", "yess"], "duologue try: what: is yess; did you mean yes?"),
        (["try", "x", "y"], "duologue try: cannot use y: see duologue try --help"),
        (["try"], "duologue try: the following arguments are required: what"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str], line: str, verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda arguments: None)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err == f"{line}\n"
    assert captured.out == ""


def test_help_of_a_verb_has_its_examples(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    verb(lambda arguments: None)
    with pytest.raises(SystemExit, match="0"):
        main(["try", "--help"])
    out = capsys.readouterr().out
    assert "Tries something." in out
    assert "Examples:\n  duologue try x --times 2" in out
    assert "--json" in out


def test_second_words_know_json_and_debug(monkeypatch: pytest.MonkeyPatch, verb: Callable[..., None]) -> None:
    seen: list[argparse.Namespace] = []

    def add_second_words(parser: argparse.ArgumentParser) -> None:
        parser.add_subparsers(dest="second", required=True).add_parser("train").add_argument("--size", type=int)

    verb(seen.append)
    monkeypatch.setattr(sys.modules["duologue.cli.fake"], "add_arguments", add_second_words)
    assert main(["try", "train", "--size", "3", "--json"]) == 0
    assert main(["try", "--json", "train"]) == 0
    assert main(["try", "train"]) == 0
    assert [arguments.json for arguments in seen] == [True, True, False]
    assert [arguments.size for arguments in seen] == [3, None, None]


def test_json_is_one_document_and_all_of_stdout(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def run(arguments: argparse.Namespace) -> object:
        print("by the way")
        return {"finding": Finding(("你好", "\ud83d"), Path("a") / "b"), "kinds": {"b", "a"}}

    verb(run)
    assert main(["try", "x", "--json"]) == 0
    captured = capsys.readouterr()
    where = str(Path("a") / "b")
    found = json.loads(captured.out)
    assert found == {"finding": {"words": ["你好", "\ud83d"], "where": where}, "kinds": ["a", "b"]}
    assert "你好" in captured.out
    assert captured.err == "by the way\n"


def test_without_json_the_result_is_not_printed(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    verb(lambda arguments: {"a": 1})
    assert main(["try", "x"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_iterator_is_a_line_for_each_item(
    flags: list[str], verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda arguments: iter([{"n": 1}, {"n": 2}]))
    assert main(["try", "x", *flags]) == 0
    assert capsys.readouterr().out == '{"n": 1}\n{"n": 2}\n'


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("a.jsonl line 3: is a list"), 1, "a.jsonl line 3: is a list"),
        (ConfigError("top_p: is 2"), 2, "top_p: is 2"),
        (DataError("two\nlines"), 1, "two lines"),
        (KeyboardInterrupt(), 130, "stopped; the same command carries on"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/model"),
            1,
            "runs/a/model: no space left on this disk; make some, and the same command carries on",
        ),
        (
            ZeroDivisionError("division by zero"),
            1,
            "internal error: ZeroDivisionError: division by zero; run again with --debug for the traceback",
        ),
    ],
)
def test_failure_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(raising(error))
    assert main(["try", "x"]) == code
    captured = capsys.readouterr()
    assert captured.err == f"duologue try: {line}\n"
    assert captured.out == ""


def test_full_disk_in_a_librarys_own_words(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    verb(raising(RuntimeError("I/O error: No space left on device (os error 28)")))
    assert main(["try", "x"]) == 1
    assert "no space left on this disk" in capsys.readouterr().err


def test_debug_shows_the_traceback(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    verb(raising(DataError("bad")))
    assert main(["try", "x", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("duologue try: bad\n")


def test_closed_pipe_is_left_quietly() -> None:
    program = (
        "import sys, types; from duologue.cli import main as m\n"
        "fake = types.SimpleNamespace(HELP='', add_arguments=lambda p: None, run=lambda a: iter(range(100_000)))\n"
        "sys.modules['fake'] = fake; m.VERBS['try'] = m.Verb('fake', '', ''); sys.exit(m.main(['try']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1
    assert errors == b""
