"""The adversary of a fine-tuning stage: what it does to each step's rows, and what it learns from the model's failures.

- Noise grows over the first steps and nearly ends while the learning rate settles (harder_rows.py).
- Now and then some rows are looked at with and without noise: families that cost more come more often.
- Tokens that the model looks at are struck rather than others (saliency.py).
- In some steps replies to noisy and clean questions are brought together (consistency.py), or the worst of some noisy
  forms of a row is learned.
- A budget: where clean loss rises above that of a run without noise, fewer dialogues are struck.

All of it is a function of the step and of a state that is in the checkpoint, so that a resumed run is the unbroken one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duologue.adversarial.draws import Draws
from duologue.adversarial.families import TEXT_FAMILIES
from duologue.data.loader import Batch, Ints, Loader, Marks, Rewrite
from duologue.errors import ConfigError
from duologue.training.embedding_adversary import EmbeddingAdversary
from duologue.training.harder_rows import RAMP_STEPS, HarderRows, Hardness
from duologue.training.repairs import mine_repairs, repair_loader
from duologue.training.saliency import SaliencyTable
from duologue.transformer.model import Transformer

PROBE_EVERY = 50  # steps between looks at what each family costs
PROBE_TRIES = 8  # families, of which about half are of another language
MEMORY = 0.9  # of what is known about a family, from look to look
FLOOR, MOST = 0.25, 3.0  # of a family's weight, in comparison with an average one
CONSISTENCY_EVERY = 5  # steps: costs a forward pass in each fifth one
WORST_EVERY = 9
LOWER, HIGHER = 0.7, 1.1  # times the share of noisy dialogues, where the clean budget is broken or kept

FIELDS = ("input_ids", "labels", "position_ids", "document_ids")  # of a batch

LossByPlace = Callable[[Batch], np.ndarray]


@dataclass
class AdversaryState:
    """What an adversary has learned.

    Attributes:
        costs: to a family, nats and labels of what it has cost, older ones fading.
        share: the share of noisy dialogues that the clean budget allows, of the usual.
        saliency: how much each token matters, as rows are being struck by it.
        learning: the same, as it is being learned.
        mined_at: the step before which the model was last asked for its errors; None before that.
    """

    costs: dict[str, list[float]] = field(default_factory=dict)
    share: float = 1.0
    saliency: list[float] = field(default_factory=list)
    learning: list[float] = field(default_factory=list)
    mined_at: int | None = None

    def weights(self) -> dict[str, float]:
        """How often each family comes, in comparison with an average one that is known."""
        gaps = {name: max(0.0, nats / labels) for name, (nats, labels) in self.costs.items() if labels}
        mean = sum(gaps.values()) / len(gaps) if gaps else 0.0
        return {name: min(MOST, FLOOR + gap / mean) for name, gap in gaps.items()} if mean else {}


class Adversary:
    """Works on the rows of one stage."""

    def __init__(self, harder: HarderRows, loader: Loader, folder: Path, *, vocab_size: int) -> None:
        """Knows nothing yet; repairs go into a folder.

        Raises:
            ConfigError: the run to compare clean loss with cannot be read.
        """
        self.harder, self.loader, self.config = harder, loader, harder.policy.config
        self.state, self.table = AdversaryState(), SaliencyTable(vocab_size)
        self._folder = folder
        self._repairs: Loader | None = None
        self._reference = _reference_losses(self.config.clean_reference)
        self.embedding = EmbeddingAdversary.of(
            self.config.embedding, self.config.embedding_strength, steps=self.config.embedding_steps,
            seed=self.config.seed,
        )  # fmt: skip

    @property
    def is_led(self) -> bool:
        """Whether it keeps what the backward pass tells about tokens."""
        return self.config.saliency_share > 0 and self.config.row_share > 0

    def batch(self, step: int, numbers: range, *, num_rows: int, is_settling: bool, loss: LossByPlace) -> Batch:
        """The rows of a step with noise, repairs among them; at times the worst of some forms of each row."""
        hardness = Hardness.at(step, is_settling=is_settling)
        hardness = replace(hardness, share=hardness.share * self.state.share)
        forms = self.config.worst_of if step % WORST_EVERY == 0 and not is_settling else 1
        batches = [
            self.loader.samples(
                numbers, num_rows=num_rows, rewrite=self.harder.rewriter(replace(hardness, variant=variant))
            )
            for variant in range(forms)
        ]
        batch = batches[0] if forms == 1 else _worst_rows(batches, [loss(batch).sum(axis=1) for batch in batches])
        return self._with_repairs(batch, numbers)

    def clean_batch(self, step: int, numbers: range, *, num_rows: int, is_settling: bool) -> Batch | None:
        """The same rows without noise, in steps that bring the two together."""
        is_noisy = self.config.row_share > 0 and self.config.consistency > 0
        if not is_noisy or step % CONSISTENCY_EVERY or is_settling:
            return None
        return self._with_repairs(self.loader.samples(numbers, num_rows=num_rows), numbers)

    @contextmanager
    def watching(self, model: Transformer, batch: Batch) -> Iterator[None]:
        """Learns what the model looks at from the backward pass that is done while it lasts."""
        if not self.is_led:
            yield
            return
        with self.table.watching(model, torch.from_numpy(batch.input_ids), torch.from_numpy(batch.labels)):
            yield

    def learn(self, step: int, numbers: range, *, num_rows: int, loss: LossByPlace) -> bool:
        """At times looks at what each family costs; from then on rows are struck by what is known now."""
        if step == 0 or step % PROBE_EVERY:
            return False
        if self.config.adapts and self.config.row_share:
            self._probe(step, numbers, num_rows, loss)
        self.state.saliency = self.table.by_token.tolist() if self.is_led else []
        self._publish()
        return True

    def mine(self, model: Transformer, step: int, *, total_steps: int | None) -> int:
        """Asks the model some questions, for repairs of what it gets wrong; gives the number of dialogues.

        At most as many as the stage has steps, so that asking takes a small part of it.
        """
        count = min(self.config.repair_questions, total_steps or self.config.repair_questions)
        folder = self._folder / str(step)
        tokenizer, seed = self.harder.tokenizer, self.config.seed + step
        return mine_repairs(model, self.harder, self.loader, folder, tokenizer=tokenizer, count=count, seed=seed)

    def has_mined(self, step: int) -> None:
        """From this step on there are repairs to learn."""
        self.state.mined_at = step
        folder, turn_id = self._folder / str(step), self.harder.tokenizer.start_of_turn_id
        self._repairs = repair_loader(folder, self.loader, turn_id=turn_id)

    def is_mining_due(self, step: int, cooldown_start: int | None) -> bool:
        """Whether the model is to be asked now: once noise has its strength, and again when the rate falls."""
        is_late = cooldown_start is not None and step >= cooldown_start
        if self.config.repair_share == 0:
            return False
        if self.state.mined_at is None:
            return is_late or step >= RAMP_STEPS
        return is_late and self.state.mined_at < (cooldown_start or 0)

    def _with_repairs(self, batch: Batch, numbers: range) -> Batch:
        """Rows of repairs in the place of some, every so many; a whole step of them would be far out of line."""
        if self._repairs is None:
            return batch
        every = max(1, round(1 / self.config.repair_share))
        for row, number in enumerate(numbers):
            if number % every == 0:
                repairs = self._repairs.samples(range(number // every, number // every + 1), num_rows=1)
                for name in FIELDS:
                    getattr(batch, name)[row] = getattr(repairs, name)[0]
        return batch

    def heed(self, step: int, clean_loss: float | None) -> str | None:
        """Keeps the clean budget at a look: fewer noisy dialogues where it is broken; gives what there is to tell."""
        if clean_loss is None or not self._reference:
            return None
        at = min(self._reference, key=lambda known: abs(known - step))
        excess = clean_loss / self._reference[at] - 1
        before = self.state.share
        is_broken = excess > self.config.clean_budget
        self.state.share = max(0.05, before * LOWER) if is_broken else min(1.0, before * HIGHER)
        if self.state.share == before:
            return None
        return f"clean loss {excess:+.2%} against the reference: noise in {self.state.share:.0%} of the usual dialogues"

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        self.state.learning = self.table.by_token.tolist() if self.is_led else []
        return asdict(self.state)

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes up what to_dict gave."""
        self.state = AdversaryState(**saved)
        self._repairs = None
        if self.state.mined_at is not None:
            self.has_mined(self.state.mined_at)
        if self.state.learning:
            self.table.by_token = torch.tensor(self.state.learning)
        self._publish()

    def _publish(self) -> None:
        self.harder.policy = replace(self.harder.policy, weights=self.state.weights())
        self.harder.saliency = self.state.saliency

    def _probe(self, step: int, numbers: range, num_rows: int, loss: LossByPlace) -> None:
        """Each piece of some rows with one family of noise, drawn for it, and without."""
        struck: dict[int, str] = {}
        rewrite = self._one_family_each(step, struck)
        noisy = self.loader.samples(numbers, num_rows=num_rows, rewrite=rewrite)
        clean = self.loader.samples(numbers, num_rows=num_rows)
        costs = {name: [MEMORY * known for known in kept] for name, kept in self.state.costs.items()}
        more, before = loss(noisy), loss(clean)
        for row, number in enumerate(numbers):
            for document, start in enumerate(self.loader.piece_starts(number), start=1):
                if start in struck:
                    is_clean = clean.document_ids[row] == document
                    nats = more[row][noisy.document_ids[row] == document].sum() - before[row][is_clean].sum()
                    kept = costs.setdefault(struck[start], [0.0, 0.0])
                    kept[0] += float(nats)
                    kept[1] += int((clean.labels[row][is_clean] >= 0).sum())
        self.state.costs = costs

    def _one_family_each(self, step: int, struck: dict[int, str]) -> Rewrite:
        """Strikes every piece with one family, and notes which by where the piece begins."""
        policy = self.harder.policy
        config = replace(policy.config, row_share=1.0, turn_share=1.0, dialogue_share=0.0)
        names = [name for name in policy.names if name in TEXT_FAMILIES]
        rows = {name: self.harder.with_policy(replace(policy, config=config, names=(name,))) for name in names}

        def rewrite(tokens: Ints, learned: Marks, start: int, epoch: int, room: int) -> tuple[Ints, Marks]:
            draws = Draws(config.seed, "probe", step, start)
            for number in draws.some(len(names), PROBE_TRIES):
                found = rows[names[number]].harder(tokens, learned, start, step, Hardness())
                if len(found[0]) <= len(tokens) + room and not np.array_equal(found[0], tokens):
                    struck[start] = names[number]
                    return found
            return tokens, learned

        return rewrite


def _worst_rows(batches: list[Batch], losses: list[np.ndarray]) -> Batch:
    """To each row the form whose loss is greatest."""
    worst = np.stack(losses).argmax(axis=0)
    rows = range(len(worst))
    return Batch(*(np.stack([getattr(batches[worst[row]], name)[row] for row in rows]) for name in FIELDS))


def _reference_losses(path: str) -> dict[int, float]:
    """The validation losses of another run, by step."""
    if not path:
        return {}
    try:
        rows: Iterable[dict[str, Any]] = map(json.loads, Path(path).read_text(encoding="utf-8").splitlines())
        found = {row["step"]: row["validation_loss"] for row in rows if row.get("validation_loss")}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"adversarial.clean_reference: {path} cannot be read ({error}); expected the metrics.jsonl "
                          "of a stage") from None  # fmt: skip
    if not found:
        raise ConfigError(f"adversarial.clean_reference: {path} has no validation loss; expected that of a stage that "
                          "kept dialogues back")  # fmt: skip
    return found

