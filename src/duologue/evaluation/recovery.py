"""How much of a baseline's damage another model has not: the figure by which ways of training are compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from duologue.evaluation.intervals import Floats, Interval, bootstrap
from duologue.evaluation.robustness import Card, Damage

MEAN = "mean"


def recovered(base: Card, other: Card, families: Sequence[str] | None = None) -> dict[str, Interval]:
    """The recovered share of each family that damages the baseline, and their mean, over the same dialogues.

    1 - (noisy loss of the other - clean loss of the baseline) / (noisy loss of the baseline - its clean loss): at 1
    noise costs nothing, at 0 as much as the baseline loses. So what a way of training costs on clean text is charged
    to it.

    Args:
        families: that are looked at; None = all.
    """
    names = [name for name in dict.fromkeys(damage.family for damage in base.admitted)
             if families is None or name in families]  # fmt: skip
    if not names:
        return {}
    sums = [family_sums(base, other, name) for name in names]
    lost, damage = np.stack([one[0] for one in sums], axis=1), np.stack([one[1] for one in sums], axis=1)

    def share(counts: Floats, column: slice) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (1 - (counts @ lost[:, column]) / (counts @ damage[:, column])).mean(axis=1)

    found = {}
    for number, name in enumerate([*names, MEAN]):
        column = slice(None) if name == MEAN else slice(number, number + 1)
        found[name] = bootstrap(partial(share, column=column), base.num_rows)
    return found


def family_sums(base: Card, other: Card, family: str) -> tuple[Floats, Floats]:
    """For each dialogue what the other loses against the baseline's clean reply, and what the baseline itself loses."""
    lost, damage = np.zeros(base.num_rows), np.zeros(base.num_rows)
    theirs = {(found.family, found.severity): found for found in other.damages}
    for mine in base.damages:
        if mine.family == family and mine.is_admitted:
            rows = list(mine.rows)
            lost[rows] += _same_rows(mine, theirs[mine.family, mine.severity]).bits - mine.clean_bits
            damage[rows] += mine.bits - mine.clean_bits
    return lost, damage


def _same_rows(mine: Damage, theirs: Damage) -> Damage:
    if mine.rows != theirs.rows:
        raise ValueError(f"{mine.family}: measured on other dialogues; expected one suite for both models")
    return theirs
