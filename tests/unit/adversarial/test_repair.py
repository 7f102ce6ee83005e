"""Repairs: what was wrong carries no loss, what is right does, to the token."""

from duologue.adversarial.draws import Draws
from duologue.adversarial.repair import ASKS_BACK, Attempt, asking_back, objection, recovery, repair_rows
from duologue.conversation import Conversation, Message, Role
from duologue.data.loss_mask import spans_by_message, spans_by_token
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversation

SUM = Conversation.of("What is 27 + 48?", "27+48=75.")
WRONG = Attempt(SUM, "27+48=65, I think.")
RIGHT = Attempt(SUM, "27+48=75")


def learned(row: Conversation) -> str:
    return "".join(span.text for span in spans_by_message(row) if span.is_learned)


def test_an_objection_teaches_the_right_answer_alone() -> None:
    for attempt, first in ((WRONG, ""), (RIGHT, "27+48=75<|im_end|>")):
        row = objection(attempt, Draws(1))
        assert [message.role for message in row.messages] == [Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT]
        assert row.messages[1] == Message(Role.ASSISTANT, attempt.said, weight=int(attempt is RIGHT))
        assert learned(row) == first + "27+48=75.<|im_end|>"


def test_a_recovery_is_learned_from_where_it_turns_back(tokenizer) -> None:
    for seed in range(20):
        row = recovery(WRONG, Draws(seed))
        assert row is not None
        reply = row.messages[-1]
        slip = reply.content[: reply.loss_from]
        assert WRONG.said.startswith(slip)
        assert not SUM.messages[-1].content.startswith(slip)
        assert reply.content.endswith("27+48=75.")
        assert Conversation.from_dict(row.to_dict()) == row
        encoded = encode_conversation(tokenizer, row)
        kept = [label for label in encoded.labels if label != NO_LOSS]
        assert tokenizer.decode(kept) == reply.content[reply.loss_from :]
        assert kept[-1] == tokenizer.end_of_turn_id
        by_token = "".join(span.text for span in spans_by_token(row, tokenizer) if span.is_learned)
        assert by_token.startswith(reply.content[reply.loss_from :])
        assert tokenizer.decode(encoded.input_ids).count(slip) >= 1


def test_no_recovery_from_a_reply_that_never_went_wrong() -> None:
    assert recovery(Attempt(SUM, "27+48=75."), Draws(1)) is None
    assert recovery(Attempt(SUM, "27+4"), Draws(1)) is None


def test_asks_back_where_too_little_is_left() -> None:
    row = asking_back(Conversation.of("What is the capital of the north of France, please?", "Lille."), Draws(1))
    assert row is not None
    assert len(row.messages[0].content.split()) <= 2
    assert row.messages[-1].content == ASKS_BACK["en"]
    chinese = asking_back(Conversation.of("请问法国北部最大的城市是哪里？", "里尔。"), Draws(1))
    assert chinese is not None
    assert chinese.messages[-1].content == ASKS_BACK["zh"]
    assert asking_back(Conversation.of("And?", "No."), Draws(1)) is None


def test_right_answers_are_objected_to_as_often() -> None:
    rows = list(repair_rows([WRONG] * 10 + [RIGHT] * 30, seed=0))
    assert len(rows) == 25
    kept = [row for row in rows if row.messages[1].content == RIGHT.said]
    assert len(kept) == 15
    mended = [row for row in rows if row.messages[-1].loss_from]
    assert 1 <= len(mended) <= 7
    assert list(repair_rows([Attempt(SUM, " ")], seed=0)) == []


def test_another_reply_to_an_open_question_is_not_called_wrong() -> None:
    asked = Conversation.of("What did you do today?", "I went to the market and bought apples.")
    assert list(repair_rows([Attempt(asked, "Not much, to be honest. And you?")], seed=0)) == []
