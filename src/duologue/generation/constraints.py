"""Constraints: what the text of a reply has to be like, token by token.

A constraint reads bytes, and a token is some bytes; so it does not matter how a text is cut into tokens, nor whether a
token ends in the middle of a character.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig
from duologue.generation.constraint_automaton import ROOT, START, build_automaton
from duologue.tokenizer.tokenizer import Tokenizer

REMEMBERED_BYTES = 32 * 2**20  # of masks, for each constraint
DEAD = None  # the state from which nothing may follow
State = Any
Numbers = npt.NDArray[np.integer[Any]]


class Constraint(Protocol):
    """What a reply has to be like. States are small, can be compared, and are never changed.

    Attributes:
        start: the state in which nothing has been said.
    """

    start: Hashable

    def allowed(self, state: State) -> Tensor | None:
        """The tokens that may come next, [V] bool on the CPU, not to be changed; None where all may.

        An end token may come exactly where the text may end. Where nothing may come, all is false.
        """

    def advance(self, state: State, token_id: int) -> Hashable:
        """The state after one more token."""


def compile_constraint(
    config: GenerationConfig, tokenizer: Tokenizer, *, vocab_size: int, eos_token_ids: Collection[int]
) -> Constraint | None:
    """What a config asks of a reply's text; None where it asks nothing.

    Args:
        vocab_size: of the model, which may know more tokens than the tokenizer.
        eos_token_ids: the tokens that end a reply.

    Raises:
        ConfigError: a text cannot be written in UTF-8, or the regular expression cannot be used.
    """
    if not config.is_constrained:
        return None
    vocabulary = _vocabulary_of(tokenizer, vocab_size, frozenset(eos_token_ids))
    if config.prefix:
        return PrefixConstraint(vocabulary, _utf8(config.prefix, "prefix"))
    if config.choices:
        return ChoicesConstraint(vocabulary, [_utf8(choice, "choices") for choice in config.choices])
    return RegexConstraint(vocabulary, config.regex)


class Vocabulary:
    """The tokens of a model by the bytes that they stand for; control tokens stand for none."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_token_ids: Collection[int]) -> None:
        """Reads the tokenizer's tokens, as far as the model has them."""
        self.size = vocab_size
        self._ends = [token_id for token_id in eos_token_ids if token_id < vocab_size]
        silent = tokenizer.silent_ids | frozenset(eos_token_ids)
        known = (i for i in range(min(vocab_size, tokenizer.vocab_size)) if i not in silent)
        self._bytes = {token_id: text for token_id in known if (text := tokenizer.token_bytes(token_id))}
        self._ids: dict[bytes, list[int]] = {}
        for token_id, text in self._bytes.items():
            self._ids.setdefault(text, []).append(token_id)
        self._sorted = sorted(self._ids)
        self._longest = max(map(len, self._sorted), default=0)

    def bytes_of(self, token_id: int) -> bytes:
        """What a token stands for; empty for control tokens, end tokens, and those without a text."""
        return self._bytes.get(token_id, b"")

    def beginning(self, text: bytes) -> Iterator[int]:
        """The tokens with which a text can begin."""
        for length in range(1, min(len(text), self._longest) + 1):
            yield from self._ids.get(text[:length], ())

    def going_beyond(self, text: bytes) -> Iterator[int]:
        """The tokens that say a text and more."""
        for place in range(bisect_left(self._sorted, text), len(self._sorted)):
            if not self._sorted[place].startswith(text):
                return
            if self._sorted[place] != text:
                yield from self._ids[self._sorted[place]]

    def mask(self, token_ids: Iterable[int], *, may_end: bool) -> Tensor:
        """These tokens, and the end tokens where the text may end, [V] bool."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[torch.from_numpy(np.fromiter(token_ids, dtype=np.int64))] = True
        mask[self._ends] = may_end
        return mask

    @cached_property
    def tree(self) -> TokenTexts:
        """The texts of all tokens, letter by letter; made when it is first asked for."""
        return TokenTexts(self._ids)


class TokenTexts:
    """The beginnings of all tokens, so that what tokens have in common is read once.

    Attributes:
        levels: for each length, the beginnings of that length: where one level up each goes on from, and its last byte.
        token_ids, places: each token, and the place of its text among all beginnings.
        num_places: of all levels.
    """

    def __init__(self, ids: Mapping[bytes, Sequence[int]]) -> None:
        """Arranges tokens by their texts."""
        self.levels: list[tuple[Numbers, Numbers]] = []
        self.num_places = 0
        found: list[tuple[int, int]] = []
        texts, above = list(ids), {b"": 0}
        while texts:
            length = len(self.levels) + 1
            here = {start: place for place, start in enumerate(dict.fromkeys(text[:length] for text in texts))}
            parents, last = [above[start[:-1]] for start in here], [start[-1] for start in here]
            self.levels.append((np.array(parents), np.array(last)))
            complete = (text for text in texts if len(text) == length)
            found += [(token_id, self.num_places + here[text]) for text in complete for token_id in ids[text]]
            self.num_places += len(here)
            texts, above = [text for text in texts if len(text) > length], here
        self.token_ids, self.places = np.array(found, dtype=np.int64).reshape(-1, 2).T


class TextConstraint(ABC):
    """What constraints have in common: they read the bytes of tokens, and remember what may follow a state."""

    def __init__(self, vocabulary: Vocabulary, start: Hashable) -> None:
        """A constraint on replies that are written with this vocabulary."""
        self.start = start
        self._vocabulary = vocabulary
        self._masks: dict[Hashable, Tensor] = {}

    def allowed(self, state: State) -> Tensor | None:
        """As Constraint says."""
        mask = self._masks.get(state)
        if mask is None:
            if (len(self._masks) + 1) * self._vocabulary.size > REMEMBERED_BYTES:
                self._masks.clear()
            token_ids = () if state is DEAD else self._open(state)
            mask = self._vocabulary.mask(token_ids, may_end=state is not DEAD and self._accepts(state))
            self._masks[state] = mask
        return mask

    def advance(self, state: State, token_id: int) -> Hashable:
        """As Constraint says."""
        text = self._vocabulary.bytes_of(token_id)
        return self._read(state, text) if text and state is not DEAD else DEAD

    @abstractmethod
    def _open(self, state: State) -> Iterable[int]:
        """The tokens that may come next."""

    @abstractmethod
    def _accepts(self, state: State) -> bool:
        """Whether the text may end."""

    @abstractmethod
    def _read(self, state: State, text: bytes) -> Hashable:
        """The state after some bytes."""


class PrefixConstraint(TextConstraint):
    """The reply begins with a text. A state is the number of bytes that were said of it."""

    def __init__(self, vocabulary: Vocabulary, prefix: bytes) -> None:
        """Replies that begin so."""
        super().__init__(vocabulary, start=0)
        self._prefix = prefix

    def allowed(self, state: State) -> Tensor | None:
        """As Constraint says."""
        return None if state == len(self._prefix) else super().allowed(state)

    def advance(self, state: State, token_id: int) -> Hashable:
        """As Constraint says."""
        return state if state == len(self._prefix) else super().advance(state, token_id)

    def _open(self, state: State) -> Iterable[int]:
        rest = self._prefix[state:]
        return chain(self._vocabulary.beginning(rest), self._vocabulary.going_beyond(rest))

    def _accepts(self, state: State) -> bool:
        return False

    def _read(self, state: State, text: bytes) -> Hashable:
        rest = self._prefix[state:]
        return state + min(len(text), len(rest)) if rest.startswith(text) or text.startswith(rest) else DEAD


class ChoicesConstraint(TextConstraint):
    """The reply is one of several texts. A state is what has been said."""

    def __init__(self, vocabulary: Vocabulary, choices: Collection[bytes]) -> None:
        """Replies that are one of these."""
        super().__init__(vocabulary, start=b"")
        self._choices = frozenset(choices)

    def _open(self, state: State) -> Iterable[int]:
        rests = (choice[len(state) :] for choice in self._choices if choice.startswith(state))
        return chain.from_iterable(map(self._vocabulary.beginning, rests))

    def _accepts(self, state: State) -> bool:
        return state in self._choices

    def _read(self, state: State, text: bytes) -> Hashable:
        said = state + text
        return said if any(choice.startswith(said) for choice in self._choices) else DEAD


class RegexConstraint(TextConstraint):
    """The reply as a whole matches a regular expression. A state is a place of its automaton."""

    def __init__(self, vocabulary: Vocabulary, pattern: str) -> None:
        """Replies that match; errors as ``build_automaton`` has them."""
        super().__init__(vocabulary, start=(START, ROOT))
        self._automaton = build_automaton(pattern)

    def _open(self, state: State) -> Iterable[int]:
        tree, automaton = self._vocabulary.tree, self._automaton
        can_match = np.zeros(tree.num_places, dtype=bool)
        states, nodes = (np.array([number]) for number in state)
        begin = 0
        for parents, last in tree.levels:
            states, nodes = automaton.step(states[parents], nodes[parents], last)
            end = begin + len(last)
            can_match[begin:end] = automaton.can_match[states, nodes]
            if not can_match[begin:end].any():
                break
            begin = end
        return tree.token_ids[can_match[tree.places]]

    def _accepts(self, state: State) -> bool:
        number, node = state
        return node == ROOT and bool(self._automaton.accepts[number])

    def _read(self, state: State, text: bytes) -> Hashable:
        number, node = self._automaton.read(state[0], state[1], text)
        return (number, node) if self._automaton.can_match[number, node] else DEAD


@lru_cache(maxsize=2)  # as long to make as a hundred steps; the same for all requests to a model
def _vocabulary_of(tokenizer: Tokenizer, vocab_size: int, eos_token_ids: frozenset[int]) -> Vocabulary:
    return Vocabulary(tokenizer, vocab_size, eos_token_ids)


def _utf8(text: str, setting: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ConfigError(
            f"{setting}: has {half!r} at character {error.start + 1}, half a character; expected text"
        ) from None
