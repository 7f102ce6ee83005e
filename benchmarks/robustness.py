"""Ways to make a chat model robust, side by side: same base, data, steps and decoding; each arm in several seeds.

    python benchmarks/robustness.py make --out DIR [--data FILES]        the training and test files: corpora and skills
    python benchmarks/robustness.py train BASE --out DIR --arms plain neftune standard --seeds 0 1 2
    python benchmarks/robustness.py measure --out DIR --arms plain       a card for each model, beside it
    python benchmarks/robustness.py table --out DIR [--keep]             from the cards; kept in benchmarks/results

Arms can be trained and measured in several processes. Noise is measured on questions with known answers, since a small
model's replies to open talk hardly depend on what was said; clean loss on these and on real dialogues (clean.jsonl). An
arm of another library learns from files that the scripts in benchmarks/robustness_baselines write, each in an
environment of its own. "mended" is the plain arm behind a normaliser and a spelling corrector (``--speller DIR``: a
folder with pyspellchecker). Held out in training: sight, hearing, conflict, table and all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from duologue.adversarial.dialogue_noise import Material
from duologue.adversarial.families import ALL_FAMILIES, GROUPS
from duologue.adversarial.normaliser import normalise_text
from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import builtin_dialogues, builtin_test
from duologue.data.sources import read_conversations
from duologue.evaluation.goals import ResponseLoss
from duologue.evaluation.intervals import Interval
from duologue.evaluation.items import read_rows
from duologue.evaluation.noise_cases import Case, cases_of, spread_over
from duologue.evaluation.recovery import MEAN, family_sums
from duologue.evaluation.robustness import ATTACKS, Card, RobustnessSuite, Settings
from duologue.generation.engine import Engine

RESULTS = Path(__file__).parent / "results" / "robustness.jsonl"
HELD_OUT = ("sight", "hearing", "conflict")
DRAWS = 10_000
MENDED, OURS, LIBRARIES = "mended", "standard", "both libraries"


@dataclass(frozen=True)
class Arm:
    """A way to train: a recipe, its flags, and the training file."""

    recipe: str
    flags: tuple[str, ...] = ()
    data: str = "train.jsonl"


def _without(name: str, value: str) -> Arm:
    return Arm("arm-hardened", (f"--adversarial.{name}", value))


ARMS = {
    "plain": Arm("arm-plain"),
    "neftune": Arm("arm-plain", ("--adversarial.embedding", "neftune")),
    "textattack": Arm("arm-plain", data="train-textattack.jsonl"),
    "jionlp": Arm("arm-plain", data="train-jionlp.jsonl"),
    "both libraries": Arm("arm-plain", data="train-libraries.jsonl"),
    "nlpaug": Arm("arm-plain", data="train-nlpaug.jsonl"),
    "standard": Arm("arm-hardened"),
    "hard": Arm("arm-hardened", ("--adversarial.worst_of", "4")),
    "standard - consistency": _without("consistency", "0"),
    "standard - adaptive weights": _without("adapts", "false"),
    "standard - saliency": _without("saliency_share", "0"),
    "standard - repair": _without("repair_share", "0"),
    "standard - dialogue noise": _without("dialogue_share", "0"),
    "standard + freelb": Arm("arm-hardened", ("--adversarial.embedding", "freelb",
                                              "--adversarial.embedding_strength", "0.3")),
}  # fmt: skip


@dataclass
class Measured:
    """The cards of an arm's models, by seed, and the bits that real dialogues' last replies take."""

    cards: dict[int, Card] = field(default_factory=dict)
    real_bits: dict[int, np.ndarray] = field(default_factory=dict)

    def mean(self, of: Callable[[Card], float]) -> float:
        """Of a figure, over the seeds."""
        return statistics.mean(of(card) for card in self.cards.values())

    def of_seeds(self, seeds: Iterable[int]) -> Measured:
        """Those of some seeds."""
        seeds = list(seeds)
        return Measured({seed: self.cards[seed] for seed in seeds}, {seed: self.real_bits[seed] for seed in seeds})


def make(arguments: argparse.Namespace) -> None:
    """Writes the training file, and test questions and dialogues that are not in it."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    skills = itertools.islice(builtin_dialogues(num_dialogues=arguments.skills, seed=0), arguments.skills)
    rows = [row for row in skills if isinstance(row, Conversation)]
    held_back = []
    for path in arguments.data:
        own = [row for row in read_conversations(path) if isinstance(row, Conversation) and row.is_learned]
        rows += own[: arguments.rows_per_file]
        held_back += own[-arguments.test_rows :]
    _write(arguments.out / "train.jsonl", (row.to_dict() for row in rows))
    items = [item.to_dict() for item in builtin_test(items_per_skill=arguments.items_per_skill, seed=0)]
    _write(arguments.out / "test.jsonl", items)
    _write(arguments.out / "clean.jsonl", (row.to_dict() for row in held_back))


def train(arguments: argparse.Namespace) -> None:
    """Fine-tunes each arm with each seed; a finished one is left as it is."""
    for seed, name in itertools.product(arguments.seeds, arguments.arms):
        arm, out = ARMS[name], _folder(arguments.out, name, seed)
        if (out / "finetuning" / "finished.json").is_file():
            continue
        words = [sys.executable, "-m", "duologue", "finetune", arm.recipe, "--init", str(arguments.base), "--data",
                 str(arguments.out / arm.data), "--out", str(out), "--finetuning.seed", str(seed),
                 "--adversarial.seed", str(seed), *arm.flags, *arguments.flags]  # fmt: skip
        start = time.monotonic()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        (out / "seconds.json").write_text(json.dumps(time.monotonic() - start))
        print(f"{name}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)


def measure(arguments: argparse.Namespace) -> None:
    """Measures models on the same noisy dialogues; a card that is there is left as it is."""
    torch.set_num_threads(arguments.threads)
    cases = spread_over(cases_of(read_rows([arguments.out / "test.jsonl"]), limit=100_000), arguments.limit)
    settings = Settings(ALL_FAMILIES, num_checked=arguments.questions, num_attacked=arguments.attacked)
    material, real = Material.of(case.row for case in cases), [case.row for case in _real_cases(arguments.out)]
    for seed, name in itertools.product(arguments.seeds, arguments.arms):
        trained = _folder(arguments.out, "plain" if name == MENDED else name, seed)
        card_file = _folder(arguments.out, name, seed) / "card.pkl"
        if card_file.is_file() or not (trained / "model" / "config.json").is_file():
            continue
        ways = {"mended": mender(arguments.speller)} if name == MENDED else {}
        engine = Engine.from_pretrained(trained / "model")
        card = RobustnessSuite(cases, settings, material, **ways).measure(engine)
        bits = np.array(ResponseLoss(engine.model, engine.tokenizer).bits(real))
        card_file.parent.mkdir(parents=True, exist_ok=True)
        card_file.write_bytes(pickle.dumps((card, bits)))
        print(f"measured {name}, seed {seed}: {card.seconds:.0f} s", flush=True)


def _real_cases(out: Path) -> list[Case]:
    path = out / "clean.jsonl"
    return cases_of(read_rows([path]), limit=100_000) if path.stat().st_size else []


def mender(speller: Path) -> Callable[[Conversation], Conversation]:
    """A normaliser, and for English words that it does not know pyspellchecker's likeliest."""
    sys.path.insert(0, str(speller))
    checker = __import__("spellchecker").SpellChecker(distance=1)

    def word(found: re.Match[str]) -> str:
        return found[0] if found[0].lower() in checker else checker.correction(found[0].lower()) or found[0]

    def mended(row: Conversation) -> Conversation:
        *before, asked, reply = row.messages
        text = re.sub(r"[A-Za-z]{3,}", word, normalise_text(asked.content))
        return replace(row, messages=(*before, replace(asked, content=text), reply))

    return mended


def table(arguments: argparse.Namespace) -> None:
    """Prints the table of what was measured, and keeps it."""
    arms: dict[str, Measured] = {}
    real = _real_cases(arguments.out)
    sizes = np.array([float(len(case.row.messages[-1].content.encode())) for case in real])
    for name, seed in itertools.product(arguments.arms, arguments.seeds):
        card_file = _folder(arguments.out, name, seed) / "card.pkl"
        if card_file.is_file():
            found = arms.setdefault(name, Measured())
            found.cards[seed], found.real_bits[seed] = pickle.loads(card_file.read_bytes())
    rows = list(_table(arms, sizes))
    for row in rows:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    if arguments.keep:
        stamp = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "base": arguments.note}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(stamp | row, ensure_ascii=False) + "\n" for row in rows)


def _table(arms: dict[str, Measured], sizes: np.ndarray) -> Iterator[dict[str, object]]:
    base = arms["plain"]
    held_out = {name for name, group in GROUPS.items() if group in HELD_OUT}
    for name, found in arms.items():
        same = base.of_seeds(found.cards)
        row: dict[str, object] = {"arm": name, "seeds": len(found.cards)}
        row["clean_questions"] = found.mean(lambda card: card.clean.value)
        row["clean_cost_questions"] = row["clean_questions"] / same.mean(lambda card: card.clean.value) - 1
        if len(sizes):
            bits, before = (np.stack(list(one.real_bits.values())) for one in (found, same))
            row["clean_dialogues"] = float(bits.sum() / sizes.sum() / len(bits))
            row["clean_cost_dialogues"] = asdict(_clean_cost(bits, before))
        row["exact_match"] = found.mean(lambda card: card.exact_match or 0.0)
        row["exact_match_cost"] = row["exact_match"] - same.mean(lambda card: card.exact_match or 0.0)
        for group, families in (("held_out", held_out), ("trained", set(ALL_FAMILIES) - held_out)):
            shares = over_seeds(same, found, families)
            row[f"recovered_{group}"] = asdict(shares[MEAN])
            row[f"worst_{group}"] = min((one.value, family) for family, one in shares.items() if family != MEAN)
            row[f"families_{group}"] = {family: round(one.value, 3) for family, one in shares.items()}
        if name == OURS and LIBRARIES in arms and arms[LIBRARIES].cards.keys() == found.cards.keys():
            row["margin_over_libraries"] = asdict(margin(same, found, arms[LIBRARIES], held_out))
        row["noisy_exact_match"] = found.mean(noisy_exact_match)
        row["sensitivity"] = found.mean(_sensitivity) / same.mean(_sensitivity)
        row["attacks"] = {kind: found.mean(lambda card, kind=kind: card.attacks[kind]["success"]) for kind in ATTACKS}
        row["repair"] = {side: found.mean(lambda card, side=side: card.repair[side] or 0.0)
                         for side in ("wrong_to_right", "right_to_wrong")}  # fmt: skip
        yield row


def _clean_cost(bits: np.ndarray, before: np.ndarray) -> Interval:
    """By which share bits [S, N] are more than those of the baseline; seeds and dialogues drawn anew."""
    rng, (num_seeds, num_rows) = np.random.default_rng(0), bits.shape
    values = np.empty(DRAWS)
    for draw in range(DRAWS):
        seeds, rows = rng.integers(0, num_seeds, num_seeds), rng.integers(0, num_rows, num_rows)
        values[draw] = bits[seeds][:, rows].sum() / before[seeds][:, rows].sum() - 1
    return _interval(bits.sum() / before.sum() - 1, values)


def noisy_exact_match(card: Card) -> float:
    """Right answers with noise as a share of those without, over all families."""
    checked = [damage for damage in card.damages if damage.num_checked]
    return sum(damage.right for damage in checked) / sum(damage.clean_right for damage in checked)


def over_seeds(base: Measured, found: Measured, families: set[str]) -> dict[str, Interval]:
    """Recovered shares, seeds and then dialogues drawn anew: families that damage the baseline in most of its seeds."""
    names = _harmful(base, families)
    if not names:
        return {}
    whole, values = _shares(base, found, names)
    found_shares = {name: _interval(whole[i], values[:, i]) for i, name in enumerate(names)}
    return found_shares | {MEAN: _interval(whole.mean(), values.mean(axis=1))}


def margin(base: Measured, found: Measured, other: Measured, families: set[str]) -> Interval:
    """How much more one arm recovers than another in the mean over families, in the same draws."""
    names = _harmful(base, families)
    (whole, values), (less, other_values) = (_shares(base, one, names) for one in (found, other))
    return _interval(whole.mean() - less.mean(), values.mean(axis=1) - other_values.mean(axis=1))


def _harmful(base: Measured, families: set[str]) -> list[str]:
    counts: dict[str, int] = {}
    for card in base.cards.values():
        for family in {damage.family for damage in card.admitted if damage.family in families}:
            counts[family] = counts.get(family, 0) + 1
    return sorted(name for name, count in counts.items() if 2 * count > len(base.cards))


def _shares(base: Measured, found: Measured, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The recovered share of each family [F], and in each draw [DRAWS, F]; the same draws for the same seeds."""
    pairs = [(base.cards[seed], card) for seed, card in found.cards.items()]
    sums = np.array([[family_sums(card, other, name) for name in names] for card, other in pairs])  # [S, F, 2, N]
    rng, num_rows = np.random.default_rng(0), sums.shape[-1]
    values = np.empty((DRAWS, len(names)))
    for draw in range(DRAWS):
        seeds = rng.integers(0, len(pairs), len(pairs))
        drawn = rng.multinomial(num_rows, np.full(num_rows, 1 / num_rows))
        lost, damage = (sums[seeds].sum(axis=0) @ drawn).T
        values[draw] = 1 - lost / damage
    lost, damage = sums.sum(axis=(0, 3)).T
    return 1 - lost / damage, values


def _interval(value: float, values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def _sensitivity(card: Card) -> float:
    return statistics.mean(found.value for found in card.sensitivity.values())


def _folder(out: Path, name: str, seed: int) -> Path:
    return out / "arms" / f"{name.replace(' ', '_')}-{seed}"


def _write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = parser.add_subparsers(dest="word", required=True)
    making, training, measuring, showing = (words.add_parser(name) for name in ("make", "train", "measure", "table"))
    for one in (making, training, measuring, showing):
        one.add_argument("--out", type=Path, required=True)
    making.add_argument("--data", nargs="*", default=[])
    making.add_argument("--skills", type=int, default=20_000)
    making.add_argument("--rows-per-file", type=int, default=3_000)
    making.add_argument("--test-rows", type=int, default=150)
    making.add_argument("--items-per-skill", type=int, default=40)
    training.add_argument("base", type=Path)
    training.add_argument("--flags", nargs=argparse.REMAINDER, default=[])
    for one in (training, measuring, showing):
        names = list(ARMS) if one is training else [*ARMS, MENDED]
        one.add_argument("--arms", nargs="+", default=names, choices=names)
        one.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    measuring.add_argument("--limit", type=int, default=600)
    measuring.add_argument("--questions", type=int, default=400)
    measuring.add_argument("--attacked", type=int, default=100)
    measuring.add_argument("--threads", type=int, default=2)
    measuring.add_argument("--speller", type=Path, default=Path("speller"))
    showing.add_argument("--keep", action="store_true", help="append to benchmarks/results/robustness.jsonl")
    showing.add_argument("--note", default="", help="what the base is")
    arguments = parser.parse_args()
    {"make": make, "train": train, "measure": measure, "table": table}[arguments.word](arguments)


if __name__ == "__main__":
    main()
