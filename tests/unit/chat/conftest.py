"""A tiny model that chats, and a terminal that can be looked at."""

import re
import unicodedata

import pytest
import torch

from duologue.generation.engine import Engine
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

SHAPE = TransformerConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
                          intermediate_size=16, max_position_embeddings=96)  # fmt: skip
SEQUENCE = re.compile(r"\x1b(?:\[(\??)(\d*)([A-Za-z])|([78D]))")


@pytest.fixture(scope="module")
def engine() -> Engine:
    texts = ["hello, how are you?", "你好", "user\n", "assistant\n", "system\n"]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(vocab_size=300))
    torch.manual_seed(0)
    model = Transformer(SHAPE, vocab_size=tokenizer.vocab_size).eval().requires_grad_(False)
    return Engine(model, tokenizer)


@pytest.fixture(scope="session")
def terminal() -> type["Terminal"]:
    return Terminal


class Terminal:
    """What a VT100 makes of text: wrapping, scrolling, wide characters, dim ones. It holds at the right margin."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells: dict[tuple[int, int], tuple[str, bool]] = {}  # row from the first one ever, column
        self.top = self.row = self.column = 0
        self.saved = (0, 0)
        self.is_dim = self.was_dim = False

    def write(self, text: str) -> None:
        while text:
            found = SEQUENCE.match(text)
            if found:
                text = text[found.end() :]
                self.obey(found[1], int(found[2] or 1), found[3] or found[4])
            else:
                self.put(text[0])
                text = text[1:]

    def flush(self) -> None: ...

    def obey(self, mark: str, number: int, command: str) -> None:
        if command == "7":
            self.saved = (self.row - self.top, self.column)
        elif command == "8":
            self.row, self.column = self.saved[0] + self.top, self.saved[1]
        elif command == "D":
            self.down()
        elif command == "A":
            self.row = max(self.top, self.row - number)
        elif command == "J":
            place = (self.row, min(self.column, self.columns - 1))
            self.cells = {at: cell for at, cell in self.cells.items() if at < place}
        elif command == "m":
            self.is_dim = {2: True, 22: False}[number]
        else:
            assert (mark, number, command) in (("?", 2026, "h"), ("?", 2026, "l"))

    def put(self, c: str) -> None:
        if c == "\n":
            self.down()
            self.column = 0
            return
        assert c.isprintable(), repr(c)
        width = 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if self.column + width > self.columns:
            self.put("\n")
        self.was_dim |= self.is_dim
        self.cells[self.row, self.column] = (c, self.is_dim)
        for behind in range(1, width):
            self.cells[self.row, self.column + behind] = ("", self.is_dim)
        self.column += width

    def down(self) -> None:
        self.row += 1
        self.top = max(self.top, self.row - self.rows + 1)

    def lines(self, *, dim: bool | None = None) -> list[str]:
        """All rows from the first one ever, without empty ones at the end; only those cells that are dim or not."""
        found = []
        for row in range(1 + max((row for row, _ in self.cells), default=-1)):
            cells = [self.cells.get((row, column), (" ", None)) for column in range(self.columns)]
            found.append("".join(c if dim is None or is_dim in (dim, None) else " " for c, is_dim in cells).rstrip())
        while found and not found[-1]:
            found.pop()
        return found
