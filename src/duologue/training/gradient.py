"""The gradient of a step: its rows through the model, some at a time; fewer at a time where memory ends."""

from __future__ import annotations

from collections.abc import Callable

from duologue.data.loader import Batch
from duologue.errors import OutOfMemoryError
from duologue.training.compiled import Compiler
from duologue.training.decisions import DecisionFile
from duologue.training.objective import Forward, tensors_of
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
    ) -> None:
        """Works on this process's rows, and meets the others of the world."""
        self._stage, self._spread, self._compiler = stage, spread, compiler
        self._decided, self._world, self._on_note = decided, world, on_note
        self._is_rehearsed = spread.way is not Way.DDP
        self._sampler = _sampler_of(stage, spread.whole.vocab_size)
        self.num_outputs: int | None = None

    def work_out(self, step: int, *, is_sampled: bool = False) -> tuple[float, float]:
        """The loss of a step in nats a label, and how long its gradient was; both the same in all processes.

        Args:
            is_sampled: whether labels are compared with a sample of the vocabulary.

        Raises:
            OutOfMemoryError: there is no room for a single row.
        """
        if not self._is_rehearsed:
            # After its first backward pass DDP orders the sums anew. No real step comes before that, or the first one
            # after a resume would be added up in another order than in an unbroken run.
            self._add_up(step, is_sampled=is_sampled)
            self._spread.masters.clear_gradients()
            self._is_rehearsed = True
        while True:
            try:
                return self._add_up(step, is_sampled=is_sampled)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            self._spread.masters.clear_gradients()
            self._halve(step)  # only here is what the failed try held free again

    def backward(self, batch: Batch, candidates: Candidates | None = None) -> float:
        """Adds the gradient of a batch's summed loss to the masters'; gives that loss."""
        device = self._stage.machine.device
        return add_gradient(batch, self._spread, self._compiler, device=device, candidates=candidates)

    def _add_up(self, step: int, *, is_sampled: bool) -> tuple[float, float]:
        stage, world, rows_at_once = self._stage, self._world, self._decided.now.rows_at_once
        num_rows, total, num_labels = stage.config.rows_a_step, 0.0, 0.0
        first, size = step * num_rows, rows_of_piece(num_rows, world.size, rows_at_once)
        candidates = self._candidates(step, num_labels=size * stage.train.plan.sequence_length) if is_sampled else None
        for rows in micro_batches(num_rows, rank=world.rank, world_size=world.size, rows_at_once=rows_at_once):
            batch = stage.train.samples(range(first + rows.start, first + rows.stop), num_rows=size)
            total += self.backward(batch, candidates)
            num_labels += batch.num_labels
        total, num_labels = world.sum([total, num_labels])
        num_labels = max(1.0, num_labels)
        masters = self._spread.masters
        masters.scale_gradients(world.size / num_labels)  # the processes' gradients were averaged, not added
        norm = masters.clip_gradients(stage.config.max_gradient_norm)
        return total / num_labels, world.first(float(norm))

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


def add_gradient(
    batch: Batch, spread: Spread, compiler: Compiler, *, device: str, candidates: Candidates | None = None
) -> float:
    """Adds the gradient of a batch's summed loss to the masters'; gives that loss.

    Args:
        candidates: that stand for the vocabulary; None = all of it.
    """
    tensors = tensors_of(batch, device)

    def loss_and_gradients(forward: Forward) -> float:
        loss = spread.loss(forward, *tensors, candidates=candidates)
        loss.backward()
        return loss.item()

    total = compiler.call(loss_and_gradients, on_retry=spread.masters.clear_gradients)
    spread.masters.collect_gradients()
    return total
