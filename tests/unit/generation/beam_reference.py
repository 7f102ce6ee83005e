"""Beam search as a plain program, to compare with: whole replies are copied at every step, nothing is pruned.

It knows no model, no cache and no tensors: a function gives the log-probabilities that follow a reply, [V]. The
smallest model to search in is a table of log-probabilities by place and last token, [L, V, V], of which all replies can
be counted up; there a reply begins after token 0, and ends after L tokens at the latest.

Source: Vijayakumar et al. 2018, section 4, arXiv:1610.02424 (groups); Kasai et al. 2022, section 3, arXiv:2204.05424
(patience).
"""

import itertools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Tokens = tuple[int, ...]
NextLogprobs = Callable[[Tokens], np.ndarray]


def random_table(seed: int, *, length: int, vocab_size: int, sharpness: float) -> np.ndarray:
    """A language model in a table, [L, V, V]; the sharper, the surer it is of what comes next."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((length, vocab_size, vocab_size))
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def next_in(table: np.ndarray) -> NextLogprobs:
    """The log-probabilities that a table gives."""
    return lambda tokens: table[len(tokens), tokens[-1] if tokens else 0]


def logprob_of(table: np.ndarray, tokens: Tokens) -> float:
    """Of a reply, or its beginning."""
    return sum(float(next_in(table)(tokens[:place])[token]) for place, token in enumerate(tokens))


def all_replies(table: np.ndarray, ends: Collection[int]) -> dict[Tokens, float]:
    """Every reply that there is, with its log-probability."""
    length, vocab_size = table.shape[:2]
    found = {}
    for tokens in itertools.chain(*(itertools.product(range(vocab_size), repeat=n + 1) for n in range(length))):
        is_ended = tokens[-1] in ends or len(tokens) == length
        if is_ended and not set(ends) & set(tokens[:-1]):
            found[tokens] = logprob_of(table, tokens)
    return found


@dataclass(frozen=True)
class Settings:
    """What is searched for, in the names of ``GenerationConfig``."""

    width: int
    max_new_tokens: int
    ends: frozenset[int]
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    patience: float = 1.0
    num_groups: int = 1
    diversity_penalty: float = 0.0


@dataclass
class Beams:
    """The beams of one group and its finished replies, each with its score; the best first."""

    live: list[tuple[float, Tokens]] = field(default_factory=lambda: [(0.0, ())])
    finished: list[tuple[float, Tokens]] = field(default_factory=list)


def search(next_logprobs: NextLogprobs, settings: Settings) -> list[tuple[float, Tokens]]:
    """All finished replies that were kept, with their scores, the best first."""
    groups = [Beams() for _ in range(settings.num_groups)]
    for step in range(1, settings.max_new_tokens + 1):
        chosen: list[int] = []
        for group in groups:
            advance(group, next_logprobs, settings, step, chosen)
            chosen += [tokens[-1] for _, tokens in group.live]
    return sorted((entry for group in groups for entry in group.finished), key=lambda entry: -entry[0])


def advance(group: Beams, next_logprobs: NextLogprobs, settings: Settings, step: int, chosen: Iterable[int]) -> None:
    """One more token for a group; ``chosen`` are the tokens that the groups before it took in this step."""
    width = settings.width // settings.num_groups
    candidates = []
    for score, tokens in group.live:
        logprobs = next_logprobs(tokens).copy()
        for token in chosen:
            logprobs[token] -= settings.diversity_penalty
        candidates += [(score + float(logprobs[token]), (*tokens, token)) for token in range(len(logprobs))]
    candidates = sorted((entry for entry in candidates if entry[0] > -np.inf), key=lambda entry: -entry[0])
    is_last = step == settings.max_new_tokens
    ended = [is_last or tokens[-1] in settings.ends for _, tokens in candidates]
    done = [entry for entry, is_end in zip(candidates[:width], ended, strict=False) if is_end]
    group.live = [entry for entry, is_end in zip(candidates, ended, strict=True) if not is_end][:width]
    group.finished += [(score / step**settings.length_penalty, tokens) for score, tokens in done]
    group.finished.sort(key=lambda entry: -entry[0])
    del group.finished[round(width * settings.patience) :]
    if is_over(group, settings, step):
        group.live = []


def is_over(group: Beams, settings: Settings, step: int) -> bool:
    """Whether a group stops after this step."""
    width = settings.width // settings.num_groups
    if not group.live or len(group.finished) < round(width * settings.patience):
        return not group.live
    if settings.early_stopping is True:
        return True
    is_patient = settings.early_stopping == "never" and settings.length_penalty > 0
    length = settings.max_new_tokens if is_patient else step
    return group.live[0][0] / length**settings.length_penalty <= group.finished[-1][0]
