import itertools

import pytest

from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import builtin_dialogues


@pytest.fixture(scope="session")
def builtin_rows() -> list[Conversation]:
    """Dialogues of the built-in corpus, English and Chinese."""
    rows = builtin_dialogues(num_dialogues=5000, seed=3, split="train")
    return [row for row in itertools.islice(rows, 5000) if isinstance(row, Conversation)]
