"""An attacker's goals: each against the likelihood worked out in another way; saliency against finite differences."""

import pytest
import torch

from duologue.conversation import Conversation, Message, Role
from duologue.evaluation.goals import MatchDrop, ResponseLoss, ResponseMargin, Targeted, only_last_reply
from duologue.evaluation.likelihood import bits_per_byte
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model import Transformer

ROWS = [
    Conversation.of("What is up?", "Nothing.", "And the sky?", "The sky is up."),
    Conversation.of("你好吗？", "我很好。"),
]


@pytest.fixture
def loss(tiny_model: Transformer, tokenizer: Tokenizer) -> ResponseLoss:
    return ResponseLoss(tiny_model.eval(), tokenizer)


def test_response_loss_is_that_of_the_last_reply(loss: ResponseLoss) -> None:
    for row, score in zip(ROWS, loss.scores(ROWS), strict=True):
        *before, last = row.messages
        alone = Conversation((*(Message(one.role, one.content, weight=0) for one in before), last))
        assert score == pytest.approx(bits_per_byte(loss.model, loss.tokenizer, [alone]).bits_per_byte, rel=1e-6)
        assert only_last_reply(row) == alone


def test_margin_and_target(loss: ResponseLoss) -> None:
    margin = ResponseMargin(loss, {row.messages[-1].content: "No." for row in ROWS})
    others = [Conversation((*row.messages[:-1], Message(Role.ASSISTANT, "No."))) for row in ROWS]
    right, wrong = loss.bits(ROWS), loss.bits(others)
    assert margin.scores(ROWS) == pytest.approx([a - b for a, b in zip(right, wrong, strict=True)])
    assert Targeted(loss, "No.").scores(ROWS) == pytest.approx([-bits for bits in wrong])
    assert len(margin.saliency(ROWS[0], 2)) == len("And the sky?")


def test_match_drop_asks_the_engine(loss: ResponseLoss) -> None:
    engine = Engine(loss.model, loss.tokenizer)
    said = engine.generate(Conversation.of("What is up?"), GenerationConfig(max_new_tokens=96)).texts[0]
    row = Conversation.of("What is up?", said or "x")
    right = MatchDrop(engine, loss, {row.messages[-1].content: (said,)})
    wrong = MatchDrop(engine, loss, {row.messages[-1].content: ("something else",)})
    assert (right.scores([row]), wrong.scores([row])) == ([0.0], [1.0])


@pytest.mark.parametrize(("row", "turn"), [(ROWS[0], 0), (ROWS[0], 2), (ROWS[1], 0)])
def test_saliency_is_the_slope_along_each_embedding(loss: ResponseLoss, row: Conversation, turn: int) -> None:
    """Scaling one token's embedding by 1 + e changes the loss by e times gradient x embedding."""
    text = row.messages[turn].content
    weights = loss.saliency(row, turn)
    assert len(weights) == len(text)
    ids = loss.tokenizer.encode(text)
    first = ids[0]
    if ids.count(first) > 1:
        return
    scored, step = only_last_reply(row), 0.05
    before = loss.model.model.embed_tokens
    where: list[int] = []

    def scaled(factor: float) -> float:
        def hook(module, inputs, output):
            places = (inputs[0] == first).nonzero().tolist()
            where[:] = [place for _, place in places]
            moved = output.clone()
            moved[inputs[0] == first] *= factor
            return moved

        handle = before.register_forward_hook(hook)
        try:
            bits = loss.bits([scored])[0]
        finally:
            handle.remove()
        return bits

    slope = (scaled(1 + step) - scaled(1 - step)) / (2 * step) * torch.log(torch.tensor(2.0)).item()
    num_labels = len(loss.tokenizer.encode(row.messages[-1].content)) + 1
    if len(where) == 1:
        assert weights[0] == pytest.approx(abs(slope) / num_labels, rel=0.1, abs=2e-4)
