"""A family of noise: where in a text it can strike, and what it writes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Edit, Span, Taken, trimmed
from duologue.adversarial.protected import brings_in_much
from duologue.adversarial.text_view import Lang, TextView


class Group(StrEnum):
    """Families that resemble each other: they are held out of training together, table and all."""

    TYPING = "typing"
    FORM = "form"
    WORDING = "wording"
    PINYIN = "pinyin"
    HEARING = "hearing"
    SIGHT = "sight"
    INVISIBLE = "invisible"
    DIALOGUE = "dialogue"
    CONFLICT = "conflict"
    MEANING = "meaning"


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of noise.

    Attributes:
        name: such as ``en-swap``.
        group: with which others it is held out.
        lang: whose words it strikes; None = any.
        sites: the spans of a text that it can strike.
        write: what stands in a span afterwards; the same text where it finds nothing to write.
        dies_in_normaliser: whether normaliser.py takes all of it away, so that a model need not know it.
    """

    name: str
    group: Group
    lang: Lang | None
    sites: Callable[[TextView], Sequence[Span]]
    write: Callable[[TextView, Span, Draws], str]
    dies_in_normaliser: bool = False

    @property
    def keeps_meaning(self) -> bool:
        """Whether the right answer stays what it was."""
        return self.group is not Group.MEANING

    def num_units(self, view: TextView) -> int:
        """What a rate is a share of: words in English, characters in Chinese."""
        if self.lang == "en":
            return view.num_words
        return view.num_hanzi if self.lang == "zh" else view.num_words + view.num_hanzi


def perturb(
    view: TextView,
    family: Family,
    rate: float,
    draws: Draws,
    *,
    taken: Sequence[Edit] = (),
    weight_of: Callable[[Span], float] | None = None,
) -> list[Edit]:
    """A text's edits by one family, in order, together with those that it has already.

    Args:
        rate: edits as a share of words or characters; above 0 it is at least one edit, where there is a site.
        taken: edits of other families, which stay as they are.
        weight_of: how much rather a site is struck than others; None = all alike.
    """
    sites = family.sites(view) if rate > 0 else ()
    if not sites:
        return list(taken)
    wanted = max(1, int(rate * family.num_units(view) + draws.unit()))
    weights = [weight_of(site) for site in sites] if weight_of else None
    edits, places = list(taken), Taken(view.text, taken)
    for number in draws.in_order(len(sites), weights):
        if wanted == 0:
            break
        span = sites[number]
        if not places.is_free(span):
            continue
        edit = trimmed(span[0], view.text[span[0] : span[1]], family.write(view, span, draws), family.name)
        if edit is None or not places.is_free((edit.start, edit.end)):
            continue
        if not family.keeps_meaning or not brings_in_much(view.text, edit.start, edit.end, edit.new):
            places.take(span)
            edits.append(edit)
            wanted -= 1
    return sorted(edits)
