"""Rows made harder as they are read: the same tokens as of a dialogue made harder as text, and labels untouched."""

import numpy as np
import pytest

from duologue.adversarial.config import AdversarialConfig
from duologue.adversarial.policy import Policy
from duologue.conversation import Conversation
from duologue.data.loader import Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import Shards, write_shards
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversation
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.harder_rows import RAMP_STEPS, SPARE, HarderRows, Hardness, growth

LENGTH = 256


@pytest.fixture(scope="module")
def shards(tokenizer: Tokenizer, dialogues: list[Conversation], tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("shards") / "train"
    return write_shards(dialogues, tokenizer, folder, fingerprint="x")


@pytest.fixture(scope="module")
def harder(tokenizer: Tokenizer, dialogues: list[Conversation]) -> HarderRows:
    config = AdversarialConfig(row_share=0.6, dialogue_share=0.3, seed=2)
    return HarderRows(Policy.of(config, dialogues), tokenizer)


def loader_of(shards: Shards, tokenizer: Tokenizer, reserve: int = 0, length: int = LENGTH) -> Loader:
    plan = plan_packing(shards, sequence_length=length, turn_id=tokenizer.start_of_turn_id, only_learned=True, seed=0,
                        reserve=reserve)  # fmt: skip
    return Loader(shards, plan, 0, True, tokenizer.end_of_text_id)


def test_tokens_are_those_of_the_harder_text(
    harder: HarderRows, shards: Shards, dialogues: list[Conversation], tokenizer: Tokenizer
) -> None:
    num_changed = 0
    for number, row in enumerate(dialogues):
        start, end = int(shards.offsets[number]), int(shards.offsets[number + 1])
        tokens, learned = shards.tokens[start:end].astype(np.int64), shards.learned[start:end]
        rewrite = harder.rewriter(Hardness(0.7, 0.9))
        new_tokens, new_learned = rewrite(tokens, learned, start, 3, 10_000)
        named = Conversation(row.messages, id=str(start))
        as_text = harder.policy.harden(named, epoch=3, scale=0.7, share=0.9).conversation
        expected = encode_conversation(tokenizer, as_text)
        assert new_tokens.tolist() == expected.input_ids
        assert new_learned.tolist() == [int(label != NO_LOSS) for label in expected.labels]
        assert new_tokens[new_learned == 1].tolist() == tokens[learned == 1].tolist()
        num_changed += len(new_tokens) != len(tokens) or bool((new_tokens != tokens).any())
    assert 0.4 * len(dialogues) < num_changed < 0.65 * len(dialogues)


def test_batches_hold_the_same_labels(harder: HarderRows, shards: Shards, tokenizer: Tokenizer) -> None:
    loader = loader_of(shards, tokenizer, reserve=32)
    for numbers in (range(0, 6), range(loader.plan.num_rows - 2, loader.plan.num_rows + 4)):
        plain = loader.samples(numbers, num_rows=8)
        noisy = loader.samples(numbers, num_rows=8, rewrite=harder.rewriter(Hardness()))
        assert noisy.input_ids.shape == plain.input_ids.shape
        assert (noisy.input_ids != plain.input_ids).any()
        for row in range(8):
            before, after = plain.labels[row], noisy.labels[row]
            assert after[after != NO_LOSS].tolist() == before[before != NO_LOSS].tolist()
            places = noisy.document_ids[row]
            assert set(places[places > 0]) == set(plain.document_ids[row][plain.document_ids[row] > 0])
            inside = (np.diff(places) == 0) & (places[1:] > 0)
            assert (np.diff(noisy.position_ids[row])[inside] == 1).all()


def test_where_there_is_no_room_a_piece_stays(harder: HarderRows, shards: Shards) -> None:
    rewrite = harder.rewriter(Hardness())
    for number in range(50):
        start, end = int(shards.offsets[number]), int(shards.offsets[number + 1])
        tokens, learned = shards.tokens[start:end].astype(np.int64), shards.learned[start:end]
        assert len(rewrite(tokens, learned, start, 0, 0)[0]) <= len(tokens)


def test_rows_have_room_for_nearly_all(harder: HarderRows, shards: Shards, tokenizer: Tokenizer) -> None:
    share = growth(harder, shards, loader_of(shards, tokenizer, length=1024).plan)
    assert 0.02 < share < 0.5
    loader = loader_of(shards, tokenizer, reserve=int(np.ceil(SPARE * share * 1024)), length=1024)
    wanted, got, rewrite = 0, 0, harder.rewriter(Hardness())

    def counted(tokens, learned, start, epoch, room):
        nonlocal wanted, got
        free, fitted = rewrite(tokens, learned, start, epoch, 10**6), rewrite(tokens, learned, start, epoch, room)
        wanted += free[0].tolist() != tokens.tolist()
        got += fitted[0].tolist() != tokens.tolist()
        return fitted

    loader.samples(range(loader.plan.num_rows), num_rows=loader.plan.num_rows, rewrite=counted)
    assert got > 0.85 * wanted


def test_the_reserve_changes_no_row(shards: Shards, tokenizer: Tokenizer) -> None:
    """A stage with noise has the dialogues of one without in each step, in rows that are longer."""
    without, longer = loader_of(shards, tokenizer), loader_of(shards, tokenizer, reserve=32)
    assert longer.plan.sequence_length == without.plan.sequence_length + 32
    assert longer.plan.num_rows == without.plan.num_rows
    assert longer.plan.fill == without.plan.fill
    plain, same = (loader.samples(range(8), num_rows=8) for loader in (without, longer))
    assert (same.input_ids[:, :-32] == plain.input_ids).all()
    assert (same.labels[:, -32:] == NO_LOSS).all()


def test_no_piece_grows_beyond_the_context(harder: HarderRows, shards: Shards, tokenizer: Tokenizer) -> None:
    loader = loader_of(shards, tokenizer, reserve=500)
    rewrite, num_rows = harder.rewriter(Hardness()), loader.plan.num_rows
    batch = loader.samples(range(num_rows), num_rows=num_rows, rewrite=rewrite)
    assert batch.position_ids.max() == loader.plan.sequence_length - 500 - 1


def test_other_text_stays_as_it_is(harder: HarderRows, tokenizer: Tokenizer) -> None:
    ids = np.array([*tokenizer.encode("Plain text without any turns."), tokenizer.end_of_text_id], dtype=np.int64)
    marks = np.zeros(len(ids), dtype=np.uint8)
    for start in range(20):
        assert harder.rewriter(Hardness())(ids, marks, start, 0, 1000)[0].tolist() == ids.tolist()


def test_the_noise_grows_and_ends_nearly_clean() -> None:
    scales = [Hardness.at(step, is_settling=False).scale for step in (0, RAMP_STEPS // 2, RAMP_STEPS, 10**6)]
    assert scales == sorted(scales)
    assert scales[0] <= 0.01
    assert scales[-1] == 1.0
    assert Hardness.at(10**6, is_settling=True).share == 0.2


def test_harder_stage_resumes_to_the_same_rows(harder: HarderRows, shards: Shards, tokenizer: Tokenizer) -> None:
    """Whoever asks for a sample gets the same: in one go, in pieces, in another order."""
    loader, rewrite = loader_of(shards, tokenizer, reserve=32), harder.rewriter(Hardness())
    whole = loader.samples(range(8), num_rows=8, rewrite=rewrite)
    pieces = [loader.samples(range(at, at + 2), num_rows=2, rewrite=rewrite) for at in (6, 2, 0, 4)]
    for at, piece in zip((6, 2, 0, 4), pieces, strict=True):
        assert (piece.input_ids == whole.input_ids[at : at + 2]).all()
        assert (piece.labels == whole.labels[at : at + 2]).all()
