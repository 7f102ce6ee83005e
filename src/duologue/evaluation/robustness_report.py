"""The robustness card for people: a table, a Markdown page, a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table

from duologue.evaluation.intervals import Interval
from duologue.evaluation.plot import COLOURS, tidy
from duologue.evaluation.recovery import MEAN
from duologue.evaluation.robustness import Card, Damage

Recovered = Mapping[str, Interval]


def render_card(card: Card, recovered: Recovered | None = None) -> RenderableType:
    """The tables: noise by family, then meaning, attacks and objections."""
    table = Table("noise", "severity", box=None, padding=(0, 2, 0, 0))
    for name in ("rows", "bits per byte", "gap", "right answers", *(["recovered"] if recovered else [])):
        table.add_column(name, justify="right")
    table.add_row("none", "", f"{card.num_rows:,}", f"{card.clean.value:.3f}", "", _percent(card.exact_match))
    for damage in _worst_first(card):
        share = (recovered or {}).get(damage.family)
        cells = [damage.family, damage.severity, f"{len(damage.rows):,}", f"{damage.perturbed:.3f}",
                 f"{damage.gap.value:+.3f}", _right(damage)]  # fmt: skip
        table.add_row(*cells, *([f"{share.value:.2f}"] if share else []))
    return Group(table, "", *_lines(card, recovered))


def card_as_markdown(card: Card, name: str, recovered: Recovered | None = None) -> str:
    """The card as a page."""
    lines = [f"# How {name} stands up to noisy users", "", *(f"- {line}" for line in _lines(card, recovered)), ""]
    lines += ["| noise | severity | rows | clean | with noise | gap (95% interval) | right answers |",
              "|---|---|--:|--:|--:|--:|--:|"]  # fmt: skip
    for damage in _worst_first(card):
        lines.append(f"| {damage.family} | {damage.severity} | {len(damage.rows)} | {damage.clean:.3f} | "
                     f"{damage.perturbed:.3f} | {damage.gap} | {_right(damage)} |")  # fmt: skip
    lines += ["", "Bits per byte of the right reply; a row is a dialogue's last question and its reply.", "",
              f"Seed {card.seed}, tables of noise {card.tables}, {card.seconds:.0f} s."]  # fmt: skip
    return "\n".join(lines) + "\n"


def plot_card(card: Card, path: Path | str) -> None:
    """Writes a PNG: what each family costs, with its interval."""
    worst: dict[str, Damage] = {}
    for damage in card.damages:
        if damage.family not in worst or damage.gap.value > worst[damage.family].gap.value:
            worst[damage.family] = damage
    shown = sorted(worst.values(), key=lambda damage: damage.gap.value)
    figure = Figure(figsize=(7.5, max(2.5, 1.0 + 0.22 * len(shown))), layout="constrained")
    axes = figure.subplots()
    values = [damage.gap.value for damage in shown]
    errors = [[max(0.0, damage.gap.value - damage.gap.low) for damage in shown],
              [max(0.0, damage.gap.high - damage.gap.value) for damage in shown]]  # fmt: skip
    colours = [COLOURS[0] if damage.is_admitted else "#BBBBBB" for damage in shown]
    axes.barh(range(len(shown)), values, xerr=errors, color=colours, ecolor="#555555", height=0.75)
    axes.set_yticks(range(len(shown)), [f"{damage.family} ({damage.severity})" for damage in shown], fontsize=8)
    axes.set_xlabel("bits per byte that the right reply costs more; grey: no damage worth counting")
    axes.set_title("What noise in the question costs", loc="left")
    tidy(axes, grid="x")
    figure.savefig(path, format="png", dpi=150)


def _lines(card: Card, recovered: Recovered | None) -> list[str]:
    right = f", {card.exact_match:.1%} right answers" if card.exact_match is not None else ""
    lines = [f"clean: {card.clean.value:.3f} bits per byte{right}; noise that does damage costs {card.mean_gap:.3f} "
             "on average"]  # fmt: skip
    if recovered and MEAN in recovered:
        lines.append(f"of the baseline's damage {recovered[MEAN]} is recovered (1 = all)")
    for why, names in (("no damage found", card.harmless), ("gone by a normaliser", card.gone_by_normaliser)):
        if names:
            lines.append(f"{why}, not counted: {', '.join(names)}")
    for family, found in card.sensitivity.items():
        lines.append(f"another question ({family}): the old reply costs {found} more")
    for name, attack in card.attacks.items():
        lines.append(f"attack, {name}: {attack['success']:.1%} of {attack['num_attacked']} right answers turn wrong, "
                     f"{attack['mean_queries']:.0f} queries each")  # fmt: skip
    if card.repair:
        mended, spoilt = _percent(card.repair["wrong_to_right"]), _percent(card.repair["right_to_wrong"])
        lines.append(f"after an objection {mended or 'none'} of {card.repair['num_wrong']} wrong answers become right, "
                     f"{spoilt or 'none'} of {card.repair['num_right']} right ones wrong")  # fmt: skip
    return lines


def _worst_first(card: Card) -> list[Damage]:
    return sorted(card.damages, key=lambda damage: -damage.gap.value)


def _right(damage: Damage) -> str:
    return f"{damage.right / damage.num_checked:.0%}" if damage.num_checked else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
