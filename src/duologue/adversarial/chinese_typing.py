"""Chinese typed carelessly: characters left out, doubled or swapped; small words and marks missing; fillers."""

from __future__ import annotations

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Span
from duologue.adversarial.family import Family, Group
from duologue.adversarial.text_view import HAN_RUN, TextView

SMALL_WORDS = frozenset("的了吗呢吧啊着请把是就也都又很个")
FILLERS = ("呃", "嗯", "那个", "就是", "就是说", "然后", "这个", "怎么说呢", "啊", "哦", "嗯嗯", "诶")
PARTICLES = ("啊", "呀", "吧", "呢", "哦", "啦", "嘛", "哈", "诶", "噢")
MARKS = ("，", "。", "？", "！", "…", "~", "、", " ", "。。。")
HALF_WIDTH = dict(zip("，。！？；：", ",.!?;:", strict=True))


def _characters(view: TextView) -> list[Span]:
    return [(place, place + 1) for place in view.hanzi]


def _longer_runs(view: TextView) -> list[Span]:
    """Characters that have another beside them: one that stands alone says all there is."""
    places = view.hanzi
    known = set(places)
    return [(place, place + 1) for place in places if place - 1 in known or place + 1 in known]


def _pairs(view: TextView) -> list[Span]:
    known, text = set(view.hanzi), view.text
    return [(at, at + 2) for at in view.hanzi if at + 1 in known and text[at] != text[at + 1]]


def _swapped(view: TextView, span: Span, draws: Draws) -> str:
    return view.text[span[0] : span[1]][::-1]


def _doubled(view: TextView, span: Span, draws: Draws) -> str:
    return view.text[span[0]] * 2


def _small_words(view: TextView) -> list[Span]:
    return [(place, place + 1) for place in view.hanzi if view.text[place] in SMALL_WORDS]


def _run_ends(view: TextView) -> list[Span]:
    """Where somebody who speaks makes a pause: before and behind a run of characters."""
    ends = (place for run in HAN_RUN.finditer(view.text) for place in run.span())
    return [(place, place) for place in dict.fromkeys(ends) if view.is_free(place, place)]


def _filler(view: TextView, span: Span, draws: Draws) -> str:
    is_end = span[0] == len(view.text) or not HAN_RUN.match(view.text, span[0])
    return draws.pick(PARTICLES) if is_end else draws.pick(FILLERS) + draws.pick(("", "，", "…"))


def _chinese_marks(view: TextView) -> list[Span]:
    spans = [span for span in view.marks if not view.text[span[0]].isascii()]
    end = len(view.text)
    is_open = end > 0 and end - 1 in set(view.hanzi)
    return [*spans, (end, end)] if is_open else spans


def _mark(view: TextView, span: Span, draws: Draws) -> str:
    old = view.text[span[0] : span[1]]
    at = draws.below(3)
    if not old or at == 0:
        return draws.pick([mark for mark in MARKS if mark != old])
    return "" if at == 1 else "".join(HALF_WIDTH.get(one, one) for one in old)


FAMILIES = (
    Family("zh-drop", Group.TYPING, "zh", _longer_runs, lambda view, span, draws: ""),
    Family("zh-double", Group.TYPING, "zh", _characters, _doubled),
    Family("zh-swap", Group.TYPING, "zh", _pairs, _swapped),
    Family("zh-small-word", Group.WORDING, "zh", _small_words, lambda view, span, draws: ""),
    Family("zh-filler", Group.WORDING, "zh", _run_ends, _filler),
    Family("zh-punctuation", Group.FORM, "zh", _chinese_marks, _mark),
)
