"""Models of other families: GPT-2, by transformers, beside what its logits say by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer

from duologue.adversarial.dialogue_noise import Material
from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import builtin_test
from duologue.errors import ContextLengthError, ModelFolderError
from duologue.evaluation.foreign_model import ForeignModel, is_foreign
from duologue.evaluation.noise_cases import cases_of
from duologue.evaluation.robustness import RobustnessSuite, Settings
from duologue.generation.config import GenerationConfig

TEMPLATE = ("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}<assistant>{% endif %}")  # fmt: skip
ASKED = Conversation.of("What is 2 + 3?", "2+3=5.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 with random weights and a chat template."""
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("gpt2")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(["What is 2 + 3? 好的"], vocab_size=300, special_tokens=["<|end|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=192, n_embd=32, n_layer=2, n_head=2,
                        bos_token_id=0, eos_token_id=0)  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> ForeignModel:
    return ForeignModel.from_pretrained(folder)


def test_its_family_is_told(folder: Path, tmp_path: Path, write_model) -> None:
    assert is_foreign(folder)
    assert not is_foreign(write_model(tmp_path / "own"))
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    with pytest.raises(ModelFolderError, match="architecture"):
        is_foreign(tmp_path)


def test_bits_are_those_of_the_logits(model: ForeignModel) -> None:
    """In a batch with others of other lengths as alone."""
    prompt = model.tokenizer("<user>What is 2 + 3?\n<assistant>", add_special_tokens=False)["input_ids"]
    reply = [*model.tokenizer("2+3=5.", add_special_tokens=False)["input_ids"], 0]
    logits = model.model(torch.tensor([prompt + reply])).logits[0].detach().log_softmax(-1)
    chosen = [float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(reply)]
    expected = -sum(chosen) / math.log(2)
    others = [Conversation.of("好", "好的"), Conversation.of("What is that? " * 3, "That is " * 4)]
    assert model.bits([ASKED])[0] == pytest.approx(expected, rel=1e-4)
    assert model.bits([*others, ASKED])[-1] == pytest.approx(expected, rel=1e-4)
    assert model.scores([ASKED])[0] == pytest.approx(expected / 6, rel=1e-4)


def test_replies_are_its_own_most_probable_tokens(model: ForeignModel) -> None:
    config = GenerationConfig(max_new_tokens=5)
    question = Conversation.of("What is 2 + 3?")
    alone = model.generate_batch([question], config)[0]
    beside = model.generate_batch([Conversation.of("好"), question], config)[1]
    assert alone.texts == beside.texts
    ids = model._prompt_ids(question)
    for token in alone.sequences[0]:
        assert int(model.model(torch.tensor([ids])).logits[0, -1].argmax()) == token
        ids.append(token)
    with pytest.raises(ContextLengthError):
        model.check(Conversation.of("long " * 400), config)


def test_saliency_is_of_the_turn(model: ForeignModel) -> None:
    weights = model.saliency(ASKED, 0)
    assert len(weights) == len(ASKED.messages[0].content)
    assert min(weights) >= 0
    assert max(weights) > min(weights)


def test_a_card_of_it(model: ForeignModel) -> None:
    cases = cases_of(builtin_test(items_per_skill=1, seed=0), 24)
    settings = Settings(("en-swap", "injection"), num_checked=4, num_attacked=2)
    card = RobustnessSuite(cases, settings, Material.of(case.row for case in cases)).measure(model)
    assert card.num_rows == len(cases)
    assert card.clean.value > 0


def test_what_cannot_be_used_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    with pytest.raises(ModelFolderError, match="cannot load it"):
        ForeignModel.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelFolderError, match="no chat template"):
        ForeignModel.from_pretrained(tmp_path)
