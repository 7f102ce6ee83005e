"""What is settled stays on the screen as if nothing else had ever been there; what is not settled stands behind it."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.chat.beam_view import MOST_ROWS, SECONDS_BETWEEN, BeamView, can_show_beams, cursor_after, harmless
from duologue.generation.config import GenerationConfig

PIECES = st.lists(st.tuples(st.text("ab 你好\n", max_size=9), st.text("xyz 谢谢\n", max_size=60)), max_size=12)


def view_of(screen, tails: Iterator[str], *, column: int = 0, size: Callable | None = None) -> BeamView:
    ticks = iter(range(1000))
    size = size or (lambda: (screen.columns, screen.rows))
    return BeamView(screen, lambda: next(tails), column=column, size=size, clock=lambda: float(next(ticks)))


def test_settled_text_is_solid_and_the_rest_is_dim(terminal) -> None:
    screen = terminal(20, 5)
    screen.write("bot: ")
    view = view_of(screen, iter(["llo", "llo, you", " you"]), column=5)
    for text, dim in [("he", "llo"), ("", "llo, you"), ("llo,", " you")]:
        view.show(text)
        assert screen.lines(dim=True)[0].strip() == dim.strip()
    assert screen.lines(dim=False) == ["bot: hello,"]
    view.close()
    assert screen.lines() == ["bot: hello,"]


@given(pieces=PIECES, columns=st.integers(2, 12), rows=st.integers(1, 9), above=st.integers(0, 9))
def test_nothing_is_left_behind(pieces: list[tuple[str, str]], columns: int, rows: int, above: int, terminal) -> None:
    shown, plain = terminal(columns, rows), terminal(columns, rows)
    for screen in (shown, plain):
        screen.write("\n" * above)
    view = view_of(shown, (tail for _, tail in pieces))
    said = "\n" * above
    for text, tail in pieces:
        view.show(text)
        plain.write(text)
        said += text
        assert shown.lines(dim=False) == plain.lines(dim=False)
        assert (shown.row, shown.column) == (plain.row, plain.column)
        both = terminal(columns, 999)
        both.write(said)
        both.is_dim = True
        both.write(tail if plain.column < columns else "")
        seen = both.lines(dim=True)[: plain.row + min(MOST_ROWS, rows - 1)]
        assert "\n".join(shown.lines(dim=True)).rstrip() == "\n".join(seen).rstrip()
    view.close()
    assert shown.lines() == plain.lines()


def test_a_window_that_becomes_narrower_keeps_what_is_settled(terminal) -> None:
    screen, sizes = terminal(30, 8), iter([(30, 8), (12, 8), (12, 8)])
    view = view_of(screen, iter(["tail " * 9, "another tail " * 9]), size=lambda: next(sizes))
    view.show("settled")
    view.show(" text")
    view.close()
    assert screen.lines() == ["settled text"]


def test_drawings_come_no_faster_than_people_see(terminal) -> None:
    screen, tails = terminal(40, 5), iter("abc")
    times = iter([0.0, SECONDS_BETWEEN / 2, SECONDS_BETWEEN])
    view = BeamView(screen, lambda: next(tails), column=0, size=lambda: (40, 5), clock=lambda: next(times))
    for text in "123":
        view.show(text)
    assert screen.lines() == ["123b"]


def test_control_characters_do_not_reach_the_terminal(terminal) -> None:
    screen = terminal(40, 5)
    view = view_of(screen, iter(["\x1b[2Jx\ty\r\x9b"]))
    view.show("a\x1b[H\tb\x07")
    assert screen.lines() == ["a[H    b[2Jx    y"]
    assert harmless("a\x1b\x00\x7f\x85\u2028\n\tb") == "a\u2028\n\tb"


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [("", 3, (0, 3)), ("abc", 0, (0, 3)), ("abcd", 0, (0, 4)), ("abcde", 0, (1, 1)), ("abc你", 0, (1, 2)),
     ("a\n你", 3, (1, 2)), ("abcd\n", 0, (1, 0)), ("e\u0301", 3, (0, 4))],
)  # fmt: skip
def test_the_place_of_the_cursor(text: str, column: int, expected: tuple[int, int]) -> None:
    assert cursor_after(text, column, 4) == expected


def test_without_a_terminal_or_a_search_there_is_nothing_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    search = GenerationConfig(num_beams=2)
    assert not can_show_beams(search)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert can_show_beams(search)
    assert not can_show_beams(GenerationConfig())
    monkeypatch.setenv("TERM", "dumb")
    assert not can_show_beams(search)
