"""A model is asked some of its training questions, and learns to put right what it got wrong.

The dialogues that come of it (see adversarial/repair.py) lie beside the stage's checkpoints as shards of their own, so
that a resumed run learns the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from duologue.adversarial.draws import Draws
from duologue.adversarial.repair import Attempt, asking_back, repair_rows
from duologue.conversation import Conversation, Role
from duologue.data.loader import Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import Shards, write_shards
from duologue.errors import ContextLengthError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.harder_rows import HarderRows
from duologue.transformer.model import Transformer

LONGEST_REPLY = 64  # tokens that the model may say
SLOTS = 4096  # tokens of all questions that are answered at once
ASKING_BACK_ONE_IN = 12  # questions are mutilated so that only asking back is right


def mine_repairs(
    model: Transformer, harder: HarderRows, loader: Loader, folder: Path, *, tokenizer: Tokenizer, count: int, seed: int
) -> int:
    """Asks the model and leaves shards of repairs in a folder; gives their number."""
    rows = (_up_to_a_reply(row, seed) for row in _dialogues(harder, loader, seed))
    asked = list(islice((row for row in rows if row is not None), count))
    engine = Engine(model, tokenizer, max_slots=SLOTS)
    config = GenerationConfig(max_new_tokens=LONGEST_REPLY)
    fitting = [row for row in asked if _fits(engine, row, config)]
    outputs = engine.generate_batch([_question(row) for row in fitting], config)
    attempts = [Attempt(row, output.texts[0]) for row, output in zip(fitting, outputs, strict=True)]
    found = [*repair_rows(attempts, seed=seed), *_asking_back(fitting, seed)]
    if found:
        write_shards(found, tokenizer, folder, fingerprint="repairs")
    else:
        shutil.rmtree(folder, ignore_errors=True)  # those of a run before
    return len(found)


def repair_loader(folder: Path, loader: Loader, *, turn_id: int) -> Loader | None:
    """Batches of what mine_repairs left, in rows as long as the stage's; None where nothing was."""
    if not folder.is_dir():
        return None
    shards = Shards.open(folder)
    reserve = loader.plan.reserve
    plan = plan_packing(
        shards, sequence_length=loader.plan.sequence_length - reserve, turn_id=turn_id, only_learned=True,
        seed=loader.seed, reserve=reserve,
    )  # fmt: skip
    return replace(loader, shards=shards, plan=plan) if plan.num_rows else None


def _dialogues(harder: HarderRows, loader: Loader, seed: int) -> Iterator[Conversation]:
    """Pieces of the training rows in random order, as text."""
    plan, shards = loader.plan, loader.shards
    for piece in np.random.default_rng([seed, 2]).permutation(len(plan.starts)):
        span = slice(int(plan.starts[piece]), int(plan.starts[piece] + plan.lengths[piece]))
        yield harder.dialogue(shards.tokens[span].astype(np.int64), shards.learned[span])


def _up_to_a_reply(row: Conversation, seed: int) -> Conversation | None:
    """The dialogue up to one of its learned replies, drawn at random."""
    ends = [
        place + 1
        for place, message in enumerate(row.messages)
        if place and message.is_learned and row.messages[place - 1].role is Role.USER
    ]
    return replace(row, messages=row.messages[: Draws(seed, "end", row.text).pick(ends)]) if ends else None


def _question(row: Conversation) -> Conversation:
    return replace(row, messages=row.messages[:-1])


def _fits(engine: Engine, row: Conversation, config: GenerationConfig) -> bool:
    try:
        engine.check(_question(row), config)
    except ContextLengthError:
        return False
    return True


def _asking_back(rows: list[Conversation], seed: int) -> Iterator[Conversation]:
    for number, row in enumerate(rows):
        if number % ASKING_BACK_ONE_IN == 0:
            found = asking_back(row, Draws(seed, "asks back", number))
            if found:
                yield found
