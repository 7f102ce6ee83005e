"""The gradient of a step: its rows through the model, some at a time; fewer at a time where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from duologue.data.loader import Batch
from duologue.errors import OutOfMemoryError
from duologue.training.adversary import Adversary
from duologue.training.compiled import Compiler
from duologue.training.decisions import DecisionFile
from duologue.training.objective import Clean, Forward, tensors_of
from duologue.training.out_of_memory import is_out_of_memory
from duologue.training.sharing import micro_batches, rows_of_piece
from duologue.training.spread import Spread, Way
from duologue.training.stage import Stage
from duologue.training.vocabulary_sample import Candidates, VocabularySampler
from duologue.training.world import World


class StepGradient:
    """Works out a step's loss and leaves its gradient, cut to a length, with the master weights.

    Attributes:
        num_outputs: tokens that labels are compared with in steps that are sampled, about; None = the vocabulary.
    """

    def __init__(
        self,
        stage: Stage,
        spread: Spread,
        compiler: Compiler,
        decided: DecisionFile,
        world: World,
        on_note: Callable[[str], None],
        adversary: Adversary | None = None,
    ) -> None:
        """Works on this process's rows, and meets the others of the world."""
        self._stage, self._spread, self._compiler, self._adversary = stage, spread, compiler, adversary
        self._decided, self._world, self._on_note = decided, world, on_note
        self._is_rehearsed = spread.way is not Way.DDP
        self._sampler = _sampler_of(stage, spread.whole.vocab_size)
        self.num_outputs: int | None = None

    def work_out(self, step: int, *, is_settling: bool = False) -> tuple[float, float]:
        """The loss of a step in nats a label, and how long its gradient was; both the same in all processes.

        Args:
            is_settling: whether the model should see its task as it is: all of the vocabulary, little noise.

        Raises:
            OutOfMemoryError: there is no room for a single row.
        """
        if not self._is_rehearsed:
            # After its first backward pass DDP orders the sums anew. No real step comes before that, or the first one
            # after a resume would be added up in another order than in an unbroken run.
            with self._forgetting():
                self._add_up(step, is_settling=is_settling)
            self._spread.masters.clear_gradients()
            self._is_rehearsed = True
        while True:
            try:
                with self._forgetting(only_failures=True):
                    return self._add_up(step, is_settling=is_settling)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            self._spread.masters.clear_gradients()
            self._halve(step)  # only here is what the failed try held free again

    @contextmanager
    def _forgetting(self, *, only_failures: bool = False) -> Iterator[None]:
        """What an adversary learns from a step that does not count is not kept."""
        kept = self._adversary.table.by_token.clone() if self._adversary else None
        has_failed = True
        try:
            yield
            has_failed = False
        finally:
            if self._adversary and kept is not None and (has_failed or not only_failures):
                self._adversary.table.by_token = kept

    def backward(self, batch: Batch, candidates: Candidates | None = None) -> float:
        """Adds the gradient of a batch's summed loss to the masters'; gives that loss."""
        device = self._stage.machine.device
        return add_gradient(batch, self._spread, self._compiler, device=device, aims=Aims(candidates))

    def _add_up(self, step: int, *, is_settling: bool) -> tuple[float, float]:
        stage, world, rows_at_once = self._stage, self._world, self._decided.now.rows_at_once
        num_rows, total, num_labels = stage.config.rows_a_step, 0.0, 0.0
        first, size = step * num_rows, rows_of_piece(num_rows, world.size, rows_at_once)
        num_labels_at_most = size * stage.train.plan.sequence_length
        candidates = None if is_settling else self._candidates(step, num_labels=num_labels_at_most)
        for rows in micro_batches(num_rows, rank=world.rank, world_size=world.size, rows_at_once=rows_at_once):
            numbers = range(first + rows.start, first + rows.stop)
            if self._adversary:
                loss, batch = self._against_noise(self._adversary, step, numbers, size, is_settling, candidates)
            else:
                batch = stage.train.samples(numbers, num_rows=size)
                loss = self.backward(batch, candidates)
            total += loss
            num_labels += batch.num_labels
        total, num_labels = world.sum([total, num_labels])
        num_labels = max(1.0, num_labels)
        masters = self._spread.masters
        masters.scale_gradients(world.size / num_labels)  # the processes' gradients were averaged, not added
        norm = masters.clip_gradients(stage.config.max_gradient_norm)
        return total / num_labels, world.first(float(norm))

    def _against_noise(
        self, adversary: Adversary, step: int, numbers: range, size: int, is_settling: bool,
        candidates: Candidates | None,
    ) -> tuple[float, Batch]:  # fmt: skip
        """Adds the gradient of some rows with noise in them; gives their loss, and the rows."""
        batch = adversary.batch(step, numbers, num_rows=size, is_settling=is_settling, loss=self.loss_by_place)
        clean = adversary.clean_batch(step, numbers, num_rows=size, is_settling=is_settling)
        device, model, embedding = self._stage.machine.device, self._spread.model, adversary.embedding
        beside = Clean(tensors_of(clean, device), adversary.config.consistency) if clean else None
        offset = None
        document_ids = torch.from_numpy(batch.document_ids).to(device)
        if embedding:
            rows = [*numbers, *[-1] * (size - len(numbers))]
            offset = embedding.first(document_ids, model.config.hidden_size, step=step, rows=rows)
        losses = []
        for number in range(embedding.num_passes if embedding else 1):
            if number and embedding and offset is not None:
                offset = embedding.following(offset, document_ids)
            aims = Aims(candidates, beside, offset, share=1 / embedding.num_passes if embedding else 1.0)
            with adversary.watching(model, batch):
                losses.append(add_gradient(batch, self._spread, self._compiler, device=device, aims=aims))
        return losses[0], batch

    def loss_by_place(self, batch: Batch) -> np.ndarray:
        """Nats at each place of a batch, without gradients, [B, T]."""
        tensors = tensors_of(batch, self._stage.machine.device)
        # What is compiled for gradients would be compiled once more without.
        with torch.set_grad_enabled(self._compiler.is_compiled and self._spread.way is not Way.FSDP):
            nats_BT = self._compiler.call(lambda forward: self._spread.loss_only(forward, *tensors, by_place=True))
        return nats_BT.cpu().numpy()

    def _candidates(self, step: int, *, num_labels: int) -> Candidates | None:
        candidates = self._sampler.draw(step, self._stage.machine.device) if self._sampler else None
        self.num_outputs = candidates.usual_size(num_labels) if candidates else None
        return candidates

    def _halve(self, step: int) -> None:
        rows, length = self._decided.now.rows_at_once, self._stage.train.plan.sequence_length
        name = self._stage.name
        if rows == 1 or not self._world.is_alone:
            at = f"{name} step {step}: memory ended with {rows * length:,} tokens at once"
            fewer = f"--{name}.micro_batch_tokens {rows // 2 * length}"
            remedy = f"a smaller {name}.sequence_length" if rows == 1 else fewer
            raise OutOfMemoryError(f"{at}; give {remedy}, or take a smaller model; the checkpoints are untouched")
        self._decided.change(rows_at_once=rows // 2)
        fewer = f"{rows // 2} rows at once instead of {rows}"
        self._on_note(f"{name} step {step}: memory ended; now {fewer}, and as many a step as before")


def _sampler_of(stage: Stage, vocab_size: int) -> VocabularySampler | None:
    share = stage.config.vocabulary_share
    if share == 1:
        return None
    return VocabularySampler.of(stage.train.shards, vocab_size, share, seed=stage.config.seed)


@dataclass(frozen=True)
class Aims:
    """How a batch is learned.

    Attributes:
        candidates: that stand for the vocabulary; None = all of it.
        clean: the same rows without noise, from whose replies these should not differ.
        offset: moves what the embedding gives, [B, T, M].
        share: of the gradient that is added.
    """

    candidates: Candidates | None = None
    clean: Clean | None = None
    offset: torch.Tensor | None = None
    share: float = 1.0


PLAIN = Aims()


def add_gradient(batch: Batch, spread: Spread, compiler: Compiler, *, device: str, aims: Aims = PLAIN) -> float:
    """Adds the gradient of a batch's summed loss to the masters'; gives that loss."""
    tensors = tensors_of(batch, device)

    def loss_and_gradients(forward: Forward) -> float:
        loss = spread.loss(
            forward, *tensors, candidates=aims.candidates, clean=aims.clean, offset_BTM=aims.offset
        )
        aim = loss if aims.clean is None else loss[0]
        (aim if aims.share == 1 else aim * aims.share).backward()
        return (loss if aims.clean is None else loss[1]).item()

    total = compiler.call(loss_and_gradients, on_retry=spread.masters.clear_gradients)
    spread.masters.collect_gradients()
    return total
