"""Shards, packing and loading: every token once, nothing mixed, the same batches for the same arguments."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.conversation import Conversation
from duologue.data.formats import PlainText
from duologue.data.loader import Loader
from duologue.data.packing import best_fit, plan_packing
from duologue.data.shards import Shards, write_shards
from duologue.errors import DataError
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversation
from duologue.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def shards(tmp_path: Path, tokenizer: Tokenizer, dialogues: list[Conversation]) -> Shards:
    rows = [*dialogues[:150], PlainText("A plain text without turns. " * 30), PlainText("短文。")]
    return write_shards(rows, tokenizer, tmp_path / "shards", fingerprint="x")


def loader(shards: Shards, tokenizer: Tokenizer, *, length: int, only_learned: bool) -> Loader:
    turn_id = tokenizer.start_of_turn_id
    plan = plan_packing(shards, sequence_length=length, turn_id=turn_id, only_learned=only_learned, seed=3)
    return Loader(shards, plan, 3, only_learned, tokenizer.end_of_text_id)


def test_shards_hold_the_tokens_of_rows(shards: Shards, tokenizer: Tokenizer, dialogues: list[Conversation]) -> None:
    for i, row in enumerate(dialogues[:150]):
        span = slice(int(shards.offsets[i]), int(shards.offsets[i + 1]))
        encoded = encode_conversation(tokenizer, row)
        assert shards.tokens[span].tolist() == encoded.input_ids
        assert shards.learned[span].tolist() == [int(label != NO_LOSS) for label in encoded.labels]
    assert shards.tokens[-1] == tokenizer.end_of_text_id
    assert shards.manifest.num_documents == 152


def test_an_empty_corpus_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="corpus is empty"):
        write_shards([], tokenizer, tmp_path / "shards", fingerprint="x")
    assert not list(tmp_path.iterdir())


@given(lengths=st.lists(st.integers(2, 33), min_size=1, max_size=60))
def test_best_fit_places_every_piece_once_and_overfills_no_row(lengths: list[int]) -> None:
    sizes = np.array(lengths)
    rows = best_fit(sizes, np.arange(len(sizes)), capacity=32)
    assert sorted(piece for row in rows for piece in row) == list(range(len(sizes)))
    assert all(sum(lengths[piece] - 1 for piece in row) <= 32 for row in rows)
    least = -(-sum(length - 1 for length in lengths) // 32)
    assert len(rows) <= 1.7 * least + 1  # best fit never needs more, Johnson et al. 1974


@pytest.mark.parametrize("length", [24, 64, 512])
def test_pretraining_learns_every_token_but_the_first_once(shards: Shards, tokenizer: Tokenizer, length: int) -> None:
    loads = loader(shards, tokenizer, length=length, only_learned=False)
    seen = Counter()
    for i in range(loads.plan.num_rows):
        batch = loads.rows(range(i, i + 1), num_rows=1)
        seen.update(batch.labels[batch.labels != NO_LOSS].tolist())
    expected = Counter(shards.tokens.tolist())
    expected.subtract(shards.tokens[shards.offsets[:-1]].tolist())
    # a document that is cut on turn borders begins anew: those first tokens are inputs only
    begins = Counter(int(shards.tokens[start]) for start in loads.plan.starts if start not in shards.offsets)
    pieces_in_a_turn = sum(1 for start in loads.plan.starts if start not in shards.offsets
                           and shards.tokens[start] != tokenizer.start_of_turn_id)  # fmt: skip
    missing = expected - seen
    assert sum(missing.values()) == sum(begins.values()) - pieces_in_a_turn
    assert set(missing) <= {tokenizer.start_of_turn_id}


def test_finetuning_learns_just_the_replies(shards: Shards, tokenizer: Tokenizer) -> None:
    loads = loader(shards, tokenizer, length=512, only_learned=True)
    learned = sum(loads.rows(range(i, i + 1), num_rows=1).num_labels for i in range(loads.plan.num_rows))
    assert learned == shards.manifest.num_learned


def test_rows_hold_whole_pieces_with_their_own_places(shards: Shards, tokenizer: Tokenizer) -> None:
    batch = loader(shards, tokenizer, length=128, only_learned=False).samples(range(4), num_rows=4)
    for row in range(4):
        for document in np.unique(batch.document_ids[row]):
            places = batch.position_ids[row][batch.document_ids[row] == document]
            if document:
                assert places.tolist() == list(range(len(places)))
                ids = batch.input_ids[row][batch.document_ids[row] == document]
                labels = batch.labels[row][batch.document_ids[row] == document]
                assert ids[1:].tolist() == labels[:-1].tolist()


def test_a_batch_is_a_function_of_its_step(shards: Shards, tokenizer: Tokenizer) -> None:
    first, second = (loader(shards, tokenizer, length=64, only_learned=False) for _ in range(2))
    second.samples(range(160, 164), num_rows=4)
    for step in (0, 3, 200):
        samples = range(4 * step, 4 * step + 4)
        together = first.samples(samples, num_rows=4).input_ids.tolist()
        assert together == second.samples(samples, num_rows=4).input_ids.tolist()
        alone = [second.samples(range(i, i + 1), num_rows=1).input_ids[0].tolist() for i in samples]
        assert together == alone
    some, others = (first.samples(samples, num_rows=4).input_ids for samples in (range(4), range(4, 8)))
    assert some.tolist() != others.tolist()


def test_an_epoch_shows_every_row_once(shards: Shards, tokenizer: Tokenizer) -> None:
    loads = loader(shards, tokenizer, length=64, only_learned=False)
    rows = [tuple(loads.samples(range(step, step + 1), num_rows=1).input_ids[0]) for step in range(loads.plan.num_rows)]
    stored = loads.rows(range(loads.plan.num_rows), num_rows=loads.plan.num_rows).input_ids
    assert Counter(rows) == Counter(tuple(row) for row in stored)


def test_turns_longer_than_a_row_are_counted(shards: Shards, tokenizer: Tokenizer) -> None:
    plan = plan_packing(shards, sequence_length=12, turn_id=tokenizer.start_of_turn_id, only_learned=True, seed=0)
    assert plan.num_dropped > 0


def test_finetuning_never_parts_a_question_from_its_reply(shards: Shards, tokenizer: Tokenizer) -> None:
    plan = plan_packing(shards, sequence_length=48, turn_id=tokenizer.start_of_turn_id, only_learned=True, seed=0)
    assistant = tokenizer.encode("assistant")[0]
    openings = [shards.tokens[start : start + 2].tolist() for start in plan.starts]
    assert len(openings) > shards.manifest.num_documents  # some are cut
    assert all(first == tokenizer.start_of_turn_id and role != assistant for first, role in openings)


def test_rows_are_nearly_full(shards: Shards, tokenizer: Tokenizer) -> None:
    assert loader(shards, tokenizer, length=512, only_learned=False).plan.fill > 0.95
