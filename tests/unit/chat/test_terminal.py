"""Replies as they are printed, and the commands of the chat."""

import io
from collections.abc import Callable, Iterable

import prompt_toolkit
import pytest

from duologue.chat.session import ChatSession
from duologue.chat.terminal import COMMANDS, chat_in_terminal, print_reply
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import BeamExpandEvent, Event

SEARCH = GenerationConfig(num_beams=3, max_new_tokens=12)


@pytest.fixture
def told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """The events that the engine gave."""
    found: list[Event] = []
    stream = engine.stream

    def recording(*words: object, **options: object) -> Iterable[Event]:
        for event in stream(*words, **options):
            found.append(event)
            yield event

    monkeypatch.setattr(engine, "stream", recording)
    return found


def put_before(screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it the terminal that stdout is."""
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: True)
    monkeypatch.setattr(file, "fileno", lambda: 1)
    monkeypatch.setattr(file, "write", screen.write)
    monkeypatch.setattr("sys.stdout", file)
    monkeypatch.setattr("os.get_terminal_size", lambda fd: (screen.columns, screen.rows))
    monkeypatch.setattr("duologue.chat.beam_view.SECONDS_BETWEEN", 0.0)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def screen(terminal: Callable) -> object:
    """Small enough that replies wrap and scroll."""
    return terminal(20, 6)


def types(monkeypatch: pytest.MonkeyPatch, *lines: str | type[BaseException]) -> None:
    class Prompts:
        def __init__(self, **options: object) -> None:
            self.lines = iter(lines)

        def prompt(self, asks: str) -> str:
            line = next(self.lines, EOFError)
            if isinstance(line, str):
                return line
            raise line

    monkeypatch.setattr(prompt_toolkit, "PromptSession", Prompts)


def test_without_a_terminal_only_settled_text_comes_and_the_search_tells_nothing(
    engine: Engine, told: list[Event], capsys: pytest.CaptureFixture[str]
) -> None:
    session = ChatSession(engine, SEARCH)
    reply = print_reply(session, "hello", lead="bot: ")
    assert capsys.readouterr().out == f"bot: {session.conversation.messages[-1].content}\n"
    assert not any(isinstance(event, BeamExpandEvent) for event in told)
    assert reply.found() == []


def test_on_a_terminal_the_search_is_shown_and_its_reply_stays(
    engine: Engine, told: list[Event], screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_before(screen, monkeypatch)
    session = ChatSession(engine, SEARCH)
    print_reply(session, "hello", lead="bot: ")
    assert any(isinstance(event, BeamExpandEvent) for event in told)
    assert screen.was_dim
    assert not "".join(screen.lines(dim=True)).strip()
    said = session.conversation.messages[-1].content
    assert "".join(screen.lines()).replace(" ", "") == f"bot: {said}".replace(" ", "").replace("\n", "")


def test_a_stopped_search_leaves_what_is_settled(engine: Engine, screen, monkeypatch: pytest.MonkeyPatch) -> None:
    put_before(screen, monkeypatch)
    session = ChatSession(engine, GenerationConfig(num_beams=3, max_new_tokens=40, min_new_tokens=40))
    step, num_steps = engine.scheduler.step, iter(range(99))

    def stopping() -> None:
        if next(num_steps) == 12:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(engine.scheduler, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        print_reply(session, "hello")
    messages = session.conversation.messages
    said = messages[-1].content if messages else ""
    assert "".join(screen.lines()).replace(" ", "") == said.replace(" ", "").replace("\n", "")
    assert "".join(screen.lines(dim=True)).strip() == ""


def test_the_likeliest_tokens_follow_the_reply(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    reply = print_reply(ChatSession(engine, GenerationConfig(max_new_tokens=4, logprobs=2)), "hello")
    table = capsys.readouterr().err.splitlines()
    assert table[0].split() == ["token", "p", "likeliest"]
    assert len(table) == 1 + len(reply.tokens)


def test_the_commands(engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch, "", "/help", "/undo", KeyboardInterrupt, "hello", "/undo", "/reset", "/beams", "/what", "/exit")
    session = ChatSession(engine, GenerationConfig(max_new_tokens=3))
    chat_in_terminal(session)
    said = capsys.readouterr()
    assert said.out.startswith("bot: ")
    assert session.conversation.messages == ()
    for line in ("nothing to take back", "taken back", "a new conversation", "no search", "no command /what"):
        assert line in said.err
    assert all(said.err.count(f"  {name}") == 2 for name in COMMANDS)


def test_the_replies_of_the_last_search_can_be_seen(
    engine: Engine, terminal: Callable, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_before(terminal(60, 6), monkeypatch)
    types(monkeypatch, "hello", "/beams")
    chat_in_terminal(ChatSession(engine, SEARCH))
    lines = capsys.readouterr().err.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.split() == ["score", "reply"]) + 1 :]
    scores = [float(line.split()[0]) for line in table if line.startswith("-")]
    assert len(scores) == SEARCH.num_beams
    assert scores == sorted(scores, reverse=True)
