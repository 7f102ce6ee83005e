"""The tree that the events of a search tell is the search's own."""

import pytest

from duologue.chat.beam_tree import BeamTree
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import BeamCommitEvent, BeamExpandEvent, BeamNode, BeamPruneEvent, TokenEvent

PROMPT = [5, 9, 20]
CONFIGS = [
    GenerationConfig(num_beams=4, max_new_tokens=8, num_return_sequences=4),
    GenerationConfig(num_beams=3, max_new_tokens=8, num_return_sequences=3, length_penalty=0.0),
    GenerationConfig(num_beams=4, max_new_tokens=8, num_return_sequences=4, early_stopping=True, length_penalty=-1.0),
    GenerationConfig(num_beams=4, num_beam_groups=2, diversity_penalty=2.0, max_new_tokens=8, num_return_sequences=4),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_best_complete_replies_are_those_that_generate_gives(engine: Engine, config: GenerationConfig) -> None:
    tree = BeamTree(length_penalty=config.length_penalty)
    for event in engine.stream(PROMPT, config, tells_beams=True):
        tree.take(event)
    found, expected = tree.replies()[: config.num_beams], engine.generate(PROMPT, config)
    assert [reply.token_ids for reply in found] == expected.sequences
    assert [reply.score for reply in found] == expected.sequences_scores
    assert [reply.reason for reply in found] == expected.finish_reasons


@pytest.mark.parametrize("config", [*CONFIGS, GenerationConfig(num_beams=3, beam_mode="stochastic", seed=1)])
def test_the_leading_beam_begins_with_what_is_settled(engine: Engine, config: GenerationConfig) -> None:
    tree, settled, beginnings = BeamTree(length_penalty=config.length_penalty), [], {0: []}
    num_ahead = 0
    for event in engine.stream(PROMPT, config, tells_beams=True):
        tree.take(event)
        if isinstance(event, BeamExpandEvent):
            beginnings |= {node.id: [*beginnings[node.parent], node.token_id] for node in event.nodes}
        if isinstance(event, TokenEvent):
            settled.append(event.token_id)
            continue  # the tree is told of it by the event that follows
        num_ahead += len(tree.ahead())
        assert [*settled, *tree.ahead()] in beginnings.values()
    assert tree.ahead() == []
    assert num_ahead


def test_the_leader_is_the_best_of_those_that_live() -> None:
    tree = BeamTree(length_penalty=1.0)
    assert tree.ahead() == []
    nodes = [BeamNode(1, 0, 7, "a", -1.0, -1.0), BeamNode(2, 0, 8, "b", -1.5, -1.5)]
    tree.take(BeamExpandEvent(1, tuple(nodes)))
    assert tree.ahead() == [7]
    tree.take(BeamExpandEvent(2, (BeamNode(3, 2, 9, "c", -0.1, -1.6), BeamNode(4, 1, 9, "c", -0.9, -1.9))))
    assert tree.ahead() == [8, 9]
    tree.take(BeamPruneEvent((3,), "rank"))
    assert tree.ahead() == [7, 9]
    tree.take(BeamCommitEvent(1, 1))
    assert tree.ahead() == [9]
