"""The engine beyond its numbers: sampling, sharing, reuse, limits, and that nothing is lost on the way."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from duologue.conversation import Conversation, Role
from duologue.errors import ConfigError, ContextLengthError, DataError, NumericalError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import FinishEvent, FinishReason, TokenEvent
from duologue.generation.sampling import chance_of, draw, stream_of
from duologue.tokenizer.encode_conversation import encode_prompt
from duologue.transformer.config import TransformerConfig

SAMPLING = GenerationConfig(max_new_tokens=16, temperature=1.1, top_p=0.95, seed=7)
PROMPTS = [list(range(3, 3 + length)) for length in (5, 40, 17, 1, 63, 22, 9, 31, 12)]


def slots_are_conserved(engine: Engine) -> bool:
    return engine.arena.num_free + engine.arena.num_lent == engine.arena.num_slots


def all_slots_come_back(engine: Engine) -> bool:
    engine.forget()
    return engine.arena.num_free == engine.arena.num_slots


def test_a_request_gives_the_same_in_a_batch_as_alone(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=24)
    together = engine.generate_batch(PROMPTS, config)
    assert [output.sequences for output in together] == [engine.generate(p, config).sequences for p in PROMPTS]
    assert all_slots_come_back(engine)


def test_lanes_are_refilled_as_requests_finish(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With four lanes for nine prompts that end at different times, nothing gets mixed up."""
    monkeypatch.setattr("duologue.generation.scheduler.MAX_REPLYING", 4)
    ends = Counter(token for prompt in PROMPTS for token in engine.generate(prompt).sequences[0][:20])
    engine.eos_token_ids = frozenset(token for token, _ in ends.most_common(8))
    counts: list[int] = []
    config = GenerationConfig(max_new_tokens=40, repetition_penalty=1.2)
    together = engine.generate_batch(PROMPTS, config, on_finished=counts.append)
    alone = [engine.generate(prompt, config) for prompt in PROMPTS]
    assert [output.sequences for output in together] == [output.sequences for output in alone]
    assert len({len(output.sequences[0]) for output in alone}) > 3
    assert counts[-1] == len(PROMPTS)
    assert all_slots_come_back(engine)


def test_sampling_in_a_batch_is_sampling_alone(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=10, temperature=0.9, num_return_sequences=3, seed=1)
    together = engine.generate_batch(PROMPTS, config)
    assert [output.sequences for output in together] == [engine.generate(p, config).sequences for p in PROMPTS]


def test_the_same_seed_gives_the_same_replies(engine: Engine) -> None:
    first, again = (engine.generate(PROMPTS[0], SAMPLING).sequences for _ in range(2))
    other = engine.generate(PROMPTS[0], GenerationConfig(max_new_tokens=16, temperature=1.1, top_p=0.95, seed=8))
    assert first == again != other.sequences


def test_without_a_seed_replies_differ(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=16, do_sample=True)
    assert engine.generate(PROMPTS[0], config).sequences != engine.generate(PROMPTS[0], config).sequences


def test_temperature_zero_is_greedy(engine: Engine) -> None:
    cold = GenerationConfig(max_new_tokens=16, do_sample=True, temperature=0, top_p=0.5)
    greedy = engine.generate(PROMPTS[1], GenerationConfig(max_new_tokens=16))
    assert engine.generate(PROMPTS[1], cold).sequences == greedy.sequences


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0])
    stream, count = stream_of(3, [1, 2]), 20_000
    drawn = draw(probabilities.log().expand(count, -1), [chance_of(stream, 0, step) for step in range(count)])
    found = torch.bincount(drawn, minlength=5)[:4]
    expected = probabilities[:4] * count
    assert int(found.sum()) == count
    chi_square = float(((found - expected) ** 2 / expected).sum())
    assert chi_square < 16.3  # three degrees of freedom, one in a thousand


def test_the_greatest_chance_draws_no_impossible_token() -> None:
    logits = torch.tensor([[0.0, 0.0, float("-inf")]])
    assert draw(logits, [1 - 2**-52]).tolist() == [1]
    assert draw(torch.tensor([[float("-inf"), 0.0]]), [0.0]).tolist() == [1]


def test_replies_share_the_slots_of_their_prompt(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=9, min_new_tokens=9, temperature=0.9, num_return_sequences=4)
    assert engine.generate(PROMPTS[1], config).stats.peak_slots == len(PROMPTS[1]) + 4 * 8


def test_events_tell_the_whole_reply(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=20, temperature=1.5, num_return_sequences=3, seed=2)
    events = list(engine.stream(PROMPTS[0], config))
    output = engine.generate(PROMPTS[0], config)
    for index in range(3):
        own = [event for event in events if event.sequence == index]
        ids = [event.token_id for event in own if isinstance(event, TokenEvent)]
        place = output.sequences.index(ids)
        assert "".join(event.text for event in own) == output.texts[place]
        assert isinstance(own[-1], FinishEvent)
        assert own[-1].sum_logprob == pytest.approx(output.sequences_scores[place], abs=1e-4)


def test_closing_the_stream_cancels_and_keeps_what_was_read(engine: Engine) -> None:
    stream = engine.stream(PROMPTS[1], GenerationConfig(max_new_tokens=50))
    written = [next(stream) for _ in range(10)]
    stream.close()
    assert slots_are_conserved(engine)
    ids = PROMPTS[1] + [event.token_id for event in written if isinstance(event, TokenEvent)]
    output = engine.generate([*ids, 5], GenerationConfig(max_new_tokens=1))
    assert output.stats.cached_tokens == len(ids) - 1
    assert all_slots_come_back(engine)


def test_two_streams_run_side_by_side(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=12)
    alone = [engine.generate(prompt, config).sequences[0] for prompt in PROMPTS[:2]]
    streams = [engine.stream(prompt, config) for prompt in PROMPTS[:2]]
    mixed: list[list[int]] = [[], []]
    for events in zip(*streams, strict=True):
        for ids, event in zip(mixed, events, strict=True):
            ids += [event.token_id] if isinstance(event, TokenEvent) else []
    assert mixed == alone


def test_the_next_turn_reads_only_what_is_new(engine: Engine) -> None:
    row = Conversation.of("hello")
    config = GenerationConfig(max_new_tokens=10)
    prompt = encode_prompt(engine.tokenizer, row)
    first = engine.generate(prompt, config)
    second = engine.generate([*prompt, *first.sequences[0], 4, 5, 6], config)
    assert first.stats.cached_tokens == 0
    # The last token of a reply was never read, so it has no key and value.
    assert second.stats.cached_tokens == len(prompt) + 9
    fresh = engine.generate_batch([[*prompt, *first.sequences[0], 4, 5, 6]], config)[0]
    assert second.sequences == fresh.sequences


def test_the_best_of_several_replies_is_kept(engine: Engine) -> None:
    config = GenerationConfig(max_new_tokens=10, temperature=1.2, num_return_sequences=4, seed=4)
    best = engine.generate(PROMPTS[2], config).sequences[0]
    longer = [*PROMPTS[2], *best, 8]
    again = engine.generate(longer, GenerationConfig(max_new_tokens=8))
    assert again.stats.cached_tokens == len(PROMPTS[2]) + len(best) - 1
    engine.forget()
    assert engine.generate(longer, GenerationConfig(max_new_tokens=8)).sequences == again.sequences


def test_a_branch_copies_and_leaves_the_other_as_it_was(engine: Engine) -> None:
    trunk = PROMPTS[4]
    config = GenerationConfig(max_new_tokens=4)
    engine.generate(trunk, config)
    branch = engine.generate([*trunk[:30], 9, 9, 9], config)
    assert branch.stats.cached_tokens == 30
    again = engine.generate([*trunk, 7], config)
    assert again.stats.cached_tokens == len(trunk)
    engine.forget()
    assert engine.generate([*trunk, 7], config).sequences == again.sequences


def test_what_is_kept_makes_room(model_folder: Path) -> None:
    small = Engine.from_pretrained(model_folder, max_slots=300)
    for prompt in PROMPTS * 2:
        small.generate(prompt, GenerationConfig(max_new_tokens=30))
        assert slots_are_conserved(small)
    with pytest.raises(ContextLengthError, match="slots of key-value memory are needed"):
        small.generate([5] * 20, GenerationConfig(max_new_tokens=100, do_sample=True, num_return_sequences=4))
    assert all_slots_come_back(small)


def test_a_reply_stops_at_the_end_of_the_context(engine: Engine) -> None:
    output = engine.generate([5] * 120, GenerationConfig(max_new_tokens=100, min_new_tokens=50))
    assert len(output.sequences[0]) == 8
    assert output.finish_reasons == [FinishReason.LENGTH]


def test_one_token_fits_after_the_longest_prompt(engine: Engine) -> None:
    assert len(engine.generate([5] * 127).sequences[0]) == 1
    expected = "prompt has 128 tokens and at least 1 must follow; the context is 128"
    with pytest.raises(ContextLengthError, match=expected):
        engine.stream([5] * 128)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt: is empty"),
        ([5, 99_999], "holds id 99999 at place 1"),
        ([-1], "holds id -1"),
        ("hello", "is str; expected messages"),
        (7, "is int; expected messages"),
        ([{"role": "robot", "content": ""}], "role is 'robot'"),
        ([[1, 2]], "holds list; expected"),
    ],
)
def test_a_wrong_prompt_is_one_clear_line(engine: Engine, prompt: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        engine.generate(prompt)


def test_messages_in_any_form_are_the_same(engine: Engine) -> None:
    row = Conversation.of("hello there", system="Be kind.")
    config = GenerationConfig(max_new_tokens=6)
    forms = [row, row.messages, row.to_dict()["messages"], encode_prompt(engine.tokenizer, row)]
    assert len({str(engine.generate(form, config).sequences) for form in forms}) == 1


def test_the_user_side_can_be_opened(engine: Engine) -> None:
    row = Conversation.of("hello", "hi")
    ids = encode_prompt(engine.tokenizer, row, Role.USER)
    assert ids[-3:] == [engine.tokenizer.start_of_turn_id, *engine.tokenizer.encode("user\n")][-3:]
    output = engine.generate(row, GenerationConfig(max_new_tokens=4), role=Role.USER)
    assert output.stats.prompt_tokens == len(ids)


def test_damaged_weights_are_a_numerical_error_and_spoil_nothing(engine: Engine) -> None:
    good = engine.generate(PROMPTS[0], GenerationConfig(max_new_tokens=5)).sequences
    engine.forget()
    weight = engine.model.model.layers[0].mlp.up_proj.weight
    kept = weight.clone()
    weight.fill_(math.nan)
    with pytest.raises(NumericalError, match="step 0 after a prompt of 5 tokens: the logits are not finite"):
        engine.generate(PROMPTS[0])
    with pytest.raises(NumericalError, match="a candidate"):
        engine.score(PROMPTS[0], ["a"])
    with pytest.raises(NumericalError):
        engine.generate_batch(PROMPTS)
    weight.copy_(kept)
    assert engine.arena.num_free == engine.arena.num_slots
    assert engine.generate(PROMPTS[0], GenerationConfig(max_new_tokens=5)).sequences == good


def test_bfloat16_runs_and_is_close(model_folder: Path, engine: Engine) -> None:
    half = Engine.from_pretrained(model_folder, dtype="bfloat16")
    config = GenerationConfig(max_new_tokens=8)
    exact = engine.generate(PROMPTS[1], config)
    assert half.generate(PROMPTS[1], config).sequences_scores == pytest.approx(exact.sequences_scores, rel=0.05)
    assert half.score(PROMPTS[1], [[5, 6]])[0].sum_logprob == pytest.approx(
        engine.score(PROMPTS[1], [[5, 6]])[0].sum_logprob, rel=0.05
    )


@pytest.mark.parametrize(("options", "message"), [
    ({"dtype": "int4"}, "dtype: is 'int4'; expected one of float32, bfloat16, int8"),
    ({"device": "toaster"}, "device: is 'toaster'"),
])  # fmt: skip
def test_a_place_that_is_not_there_is_refused(model_folder: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Engine.from_pretrained(model_folder, **options)


def test_ids_beyond_the_tokenizer_have_no_text(tmp_path: Path, write_model: Callable[..., Path]) -> None:
    shape = TransformerConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
                              head_dim=8, intermediate_size=16, max_position_embeddings=64)  # fmt: skip
    engine = Engine.from_pretrained(write_model(tmp_path, shape, extra_vocabulary=4000))
    output = engine.generate([5, 6], GenerationConfig(max_new_tokens=40, do_sample=True, seed=0))
    assert max(output.sequences[0]) >= engine.tokenizer.vocab_size
    assert isinstance(output.texts[0], str)
