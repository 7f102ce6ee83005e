"""Windows: every token that is to be scored is a target once, behind as much history as fits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.evaluation.windows import Window, conversation_windows, text_windows
from duologue.tokenizer.encode_conversation import NO_LOSS, TokenizedConversation

TURN = 0


def conversation(*turns: tuple[int, bool]) -> TokenizedConversation:
    """Turns of the given lengths, each opened by TURN; the scored ones carry loss on all but their first token."""
    input_ids: list[int] = []
    labels: list[int] = []
    for length, is_scored in turns:
        ids = [TURN, *range(len(input_ids) + 1, len(input_ids) + length)]
        input_ids += ids
        labels += [NO_LOSS, *ids[1:]] if is_scored else [NO_LOSS] * length
    return TokenizedConversation(input_ids, labels)


def windows_of(row: TokenizedConversation, context_length: int, *, has_system: bool = False) -> list[Window]:
    return conversation_windows(row, turn_id=TURN, has_system=has_system, context_length=context_length)


def targets(windows: list[Window]) -> list[int]:
    return [target for window in windows for target in window.targets if target != NO_LOSS]


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 50))
def test_a_text_has_every_token_but_the_first_as_target_once(length: int, context_length: int) -> None:
    ids = list(range(length))
    windows = text_windows(ids, context_length=context_length)
    assert targets(windows) == ids[1:]
    assert [token for window in windows for token in window.input_ids] == ids[:-1]
    assert all(len(window.input_ids) == context_length for window in windows[:-1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(2, 30), st.booleans()), max_size=8), st.integers(1, 60), st.booleans())
def test_every_scored_token_of_a_conversation_is_a_target_once(
    turns: list[tuple[int, bool]], context_length: int, has_system: bool
) -> None:
    row = conversation(*turns)
    windows = windows_of(row, context_length, has_system=has_system)
    assert targets(windows) == [label for label in row.labels if label != NO_LOSS]
    for window in windows:
        assert len(window.input_ids) == len(window.targets) <= context_length
        follows = [*window.input_ids[1:], None]
        assert all(
            target in (NO_LOSS, following)
            for target, following in zip(window.targets[:-1], follows[:-1], strict=True)
        )


def test_a_conversation_that_fits_is_one_window() -> None:
    row = conversation((3, False), (4, True), (3, False), (5, True), (3, False))
    (window,) = windows_of(row, 14)
    assert window.input_ids == row.input_ids[:14]
    assert window.targets == row.labels[1:15]


def test_a_turn_ends_a_window_of_as_many_whole_turns_as_fit() -> None:
    row = conversation((3, False), (4, True), (3, False), (5, True))
    first, last = windows_of(row, 13)  # one less than all
    assert first.input_ids == row.input_ids[:6]
    assert last.input_ids == row.input_ids[3:14]
    assert last.targets == [NO_LOSS] * 7 + row.labels[11:15]
    assert windows_of(row, 12)[1].input_ids == row.input_ids[3:14]
    assert windows_of(row, 11)[1].input_ids == row.input_ids[3:14]
    assert windows_of(row, 10)[1].input_ids == row.input_ids[7:14]


@pytest.mark.parametrize(("context_length", "head", "begin"), [(12, 2, 6), (9, 2, 6), (8, 2, 9), (5, 0, 9)])
def test_the_system_message_is_kept_where_the_turn_fits_behind_it(context_length: int, head: int, begin: int) -> None:
    row = conversation((2, False), (4, False), (3, False), (5, True))
    (window,) = windows_of(row, context_length, has_system=True)
    assert window.input_ids == row.input_ids[:head] + row.input_ids[begin:13]


def test_a_turn_longer_than_the_context_is_cut_and_scored_whole() -> None:
    row = conversation((3, False), (12, True))
    windows = windows_of(row, 5)
    assert [window.input_ids for window in windows] == [row.input_ids[3:8], row.input_ids[8:13], row.input_ids[13:14]]
    assert targets(windows) == row.input_ids[4:]


def test_nothing_to_score_gives_no_window() -> None:
    assert windows_of(conversation((3, False), (9, False)), 4) == []
    assert windows_of(conversation(), 4) == []
    assert text_windows([7], context_length=4) == text_windows([], context_length=4) == []
