"""Edits are exact: what is outside them stays, and all of it can be undone."""

from hypothesis import given
from hypothesis import strategies as st

from duologue.adversarial.edits import Edit, Taken, apply_edits, trimmed, undo_edits

TEXT = st.text(max_size=40)


@st.composite
def edited_texts(draw):
    text = draw(TEXT)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edits, at = [], 0
    for start, end in zip(places[::2], places[1::2], strict=False):
        if start >= at and Taken(text, edits).is_free((start, end)):
            edits.append(Edit(start, end, text[start:end], draw(st.text(max_size=5))))
            at = end
    return text, edits


@given(edited_texts())
def test_undo_gives_the_text_back(case) -> None:
    text, edits = case
    assert undo_edits(apply_edits(text, edits), edits) == text


@given(edited_texts())
def test_what_is_outside_stays(case) -> None:
    text, edits = case
    changed, at, shift = apply_edits(text, edits), 0, 0
    for edit in edits:
        assert changed[at + shift : edit.start + shift] == text[at : edit.start]
        assert changed[edit.start + shift :].startswith(edit.new)
        at, shift = edit.end, shift + len(edit.new) - len(edit.old)
    assert changed[at + shift :] == text[at:]


@given(TEXT, TEXT, st.integers(0, 100))
def test_trimmed_is_the_smallest_edit(old: str, new: str, start: int) -> None:
    edit = trimmed(start, old, new, "x")
    if old == new:
        assert edit is None
        return
    assert edit is not None
    moved = Edit(edit.start - start, edit.end - start, edit.old, edit.new)
    assert apply_edits(old, [moved]) == new
    assert not (edit.old and edit.new) or (edit.old[0] != edit.new[0] and edit.old[-1] != edit.new[-1])


def test_two_insertions_at_one_place_meet() -> None:
    text = "0123456789"
    assert not Taken(text, [Edit(3, 3, "", "x")]).is_free((3, 3))
    assert not Taken(text, [Edit(4, 4, "", "x")]).is_free((3, 5))
    taken = Taken(text, [Edit(3, 5, "34", "x")])
    assert [taken.is_free(span) for span in ((3, 3), (5, 5), (5, 6), (1, 3))] == [True] * 4
    assert [taken.is_free(span) for span in ((4, 4), (2, 4), (3, 5), (0, 9))] == [False] * 4
