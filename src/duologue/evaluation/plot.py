"""Right answers as a picture: by skill, and recall by distance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from duologue.evaluation.exact_match import ExactMatchReport, Tally

LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
# Okabe and Ito's blue, orange, green and purple: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
GRID = {"color": "#DDDDDD", "linewidth": 0.8}

Name = TypeVar("Name", str, int)


def plot_accuracy(report: ExactMatchReport, path: Path | str) -> None:
    """Writes a PNG: a bar for each skill and language, and beside them recall by distance where it was asked for."""
    languages = sorted(report.by_language, key=lambda lang: (lang not in LANGUAGE_NAMES, lang))
    num_skills = len({skill for _, skill in report.by_skill})
    has_recall = bool(report.by_distance)
    figure = Figure(figsize=(11.0 if has_recall else 6.5, max(3.0, 1.2 + 0.38 * num_skills)), layout="constrained")
    widths = [3, 2] if has_recall else [1]
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    _draw_skills(axes[0], report, languages)
    if has_recall:
        _draw_recall(axes[1], report, languages)
    figure.savefig(path, format="png", dpi=150)


def _draw_skills(axes: Any, report: ExactMatchReport, languages: list[str]) -> None:
    skills = list(dict.fromkeys(skill for _, skill in report.by_skill))
    height = 0.8 / max(1, len(languages))
    for index, lang in enumerate(languages):
        shares = _shares(report.by_skill, lang)
        shift = height * (index - (len(languages) - 1) / 2)
        places = [skills.index(skill) + shift for skill in shares]
        axes.barh(places, list(shares.values()), height * 0.92, color=_colour(index), label=_language(lang))
    axes.set_yticks(range(len(skills)), [_drawable(skill) for skill in skills], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("right answers, %")
    axes.set_title(f"By skill ({report.overall.share:.0%} of {report.overall.total:,})", loc="left")
    axes.legend(loc="lower left", bbox_to_anchor=(0.55, 1.0), ncols=len(languages), frameon=False, borderaxespad=0.2)
    tidy(axes, grid="x")


def _draw_recall(axes: Any, report: ExactMatchReport, languages: list[str]) -> None:
    distances = sorted({distance for _, distance in report.by_distance})
    for index, lang in enumerate(languages):
        shares = dict(sorted(_shares(report.by_distance, lang).items()))
        places = [distances.index(distance) for distance in shares]
        axes.plot(places, list(shares.values()), marker="o", color=_colour(index), label=_language(lang))
    axes.set_xticks(range(len(distances)), [str(distance) for distance in distances])
    axes.set_xlabel("user turns since it was told")
    axes.set_ylim(0, 104)
    axes.set_ylabel("right answers, %")
    axes.set_title("Recall by distance", loc="left")
    tidy(axes, grid="y")


def tidy(axes: Any, *, grid: str) -> None:
    """Leaves of a frame and its grid what helps to read."""
    axes.grid(axis=grid, **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _shares(tallies: Mapping[tuple[str, Name], Tally], lang: str) -> dict[Name, float]:
    """Percentages of one language."""
    return {name: 100 * tally.share for (one, name), tally in tallies.items() if one == lang}


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _language(lang: str) -> str:
    return LANGUAGE_NAMES.get(lang, _drawable(lang))


def _drawable(name: str) -> str:
    """The name in characters that every font has."""
    return name.encode("ascii", "backslashreplace").decode("ascii")
