"""What ``--minutes M`` chose: kept in the run folder, so that a second start goes on with it on whatever machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from duologue.config import with_flags
from duologue.errors import RunFolderError
from duologue.pipeline.recipe import SHAPE_SETTINGS, NamedRecipe
from duologue.pipeline.run_folder import read_json, write_json
from duologue.training.chooser import MOST_EPOCHS, Outcome
from duologue.training.identity import difference
from duologue.transformer.config import TransformerConfig

RATES = ("learning_rate", "embedding_learning_rate", "head_learning_rate")


@dataclass(frozen=True)
class Choice:
    """A model for the minutes, and what it is expected to come to.

    Attributes:
        tokens_at_once: that go through the model, of a step.
        ngram_loss: nats a token that n-grams leave open.
        bytes_per_token: of text.
        num_measured: sizes that were timed.
        seconds: it took to choose.
        foretells: whether the loss is foretold too: it is for models that start from counts.
    """

    outcome: Outcome
    tokens_at_once: int
    ngram_loss: float
    bytes_per_token: float
    num_measured: int
    seconds: float
    foretells: bool

    @property
    def lines(self) -> list[str]:
        """For a person, before the start."""
        came, shape = self.outcome, self.outcome.shape
        size = f"{shape.num_hidden_layers} layers of {shape.hidden_size}, rows of {came.sequence_length}"
        speed = f"{came.batch_tokens:,} tokens a step, about {came.tokens_per_s:,.0f} a second"
        seen = f"after about {came.num_tokens / 1e6:.1f} M tokens, {came.epochs:.2f} times the data"
        loss = f"validation loss {came.loss:.2f}, {self.bits_per_byte(came.loss):.2f} bits per byte"
        lines = [
            f"chosen in {self.seconds:.0f} s, {self.num_measured} sizes timed: {size}; {speed}",
            f"expected {seen}: {loss}" if self.foretells else f"to end {seen}",
        ]
        if came.epochs > MOST_EPOCHS:
            lines.append(f"more than {MOST_EPOCHS} times the same data teach little: give fewer minutes, or more data")
        return lines

    def bits_per_byte(self, loss: float) -> float:
        """Of a loss in nats a token."""
        return loss / math.log(2) / self.bytes_per_token

    def reached(self, loss: float) -> str:
        """What came of it, for a person, at the end."""
        expected = self.outcome.loss
        compared = f"; {expected:.2f} was expected, {loss / expected - 1:+.1%}" if self.foretells else ""
        return f"validation loss {loss:.2f}{compared}"

    def applied(self, named: NamedRecipe) -> NamedRecipe:
        """The recipe with what was chosen; flags win over it.

        The recipe's rates are for its own batch, and grow with the root of the batch.
        """
        came, stage, context = self.outcome, named.recipe.pretraining, named.recipe.transformer.max_position_embeddings
        length = stage.sequence_length if "pretraining.sequence_length" in named.given else came.sequence_length
        length = min(length, context) if "transformer.max_position_embeddings" in named.given else length
        is_batch_given = "pretraining.batch_tokens" in named.given
        growth = 1.0 if is_batch_given else (came.batch_tokens / stage.batch_tokens) ** 0.5
        chosen = {f"transformer.{name}": getattr(came.shape, name) for name in SHAPE_SETTINGS}
        chosen |= {f"pretraining.{name}": getattr(stage, name) * growth for name in RATES}
        chosen |= {
            "transformer.max_position_embeddings": length,
            "pretraining.sequence_length": length,
            "pretraining.batch_tokens": came.batch_tokens,
            "pretraining.micro_batch_tokens": self.tokens_at_once,
        }
        left_open = {path: value for path, value in chosen.items() if path not in named.given}
        left_open |= {"pretraining.size": "recipe"}
        return replace(named, recipe=with_flags(named.recipe, left_open))


def kept_choice(folder: Path, asked: Mapping[str, Any]) -> Choice | None:
    """The choice for a stage's folder where there is one, for the same minutes and data.

    Raises:
        RunFolderError: a stage has begun there with another.
    """
    try:
        kept = read_json(folder / "choice.json") or {}
        before, choice = kept["asked"], choice_from(kept["choice"])
        found = difference(before, asked)
    except (KeyError, TypeError, AttributeError):
        return None  # none is kept, or what is kept is damaged
    if not found:
        return choice
    if (folder / "decisions.json").exists():
        remedy = "give another --out, or delete that folder"
        raise RunFolderError(f"{folder}: holds a run with another {found}; {remedy}")
    return None


def keep_choice(folder: Path, asked: Mapping[str, Any], choice: Choice) -> None:
    """Writes it down."""
    write_json(folder / "choice.json", {"asked": dict(asked), "choice": asdict(choice)})


def choice_from(fields: Mapping[str, Any]) -> Choice:
    """What JSON has made of it."""
    came = fields["outcome"]
    outcome = Outcome(**(came | {"shape": TransformerConfig(**came["shape"])}))
    return Choice(**(dict(fields) | {"outcome": outcome}))
