"""Logits processors: pure functions, in the order and with the meaning that they have in ``transformers``.

What is not asked for costs nothing: without any setting, the tensor that goes in comes out.

Shapes: N rows, V vocabulary. What may not be chosen gets -inf; a row where nothing may be chosen is all -inf.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import torch
from torch import Tensor

from duologue.config import require
from duologue.generation.config import GenerationConfig
from duologue.generation.constraints import Constraint

CLOSED = float("-inf")
# Runs of tokens, each with what is added to the score of its last token where the others were just said.
Runs = tuple[tuple[tuple[int, ...], float], ...]


@dataclass(slots=True)
class RowContext:
    """What the processors know of a row.

    Attributes:
        token_ids: prompt and reply so far; looked at only where a setting asks for it, so it may be made when it is.
        num_prompt: how many of them are the prompt.
        eos_token_ids: the tokens that end the reply.
        seen: which tokens stand in prompt or reply, [V] bool; None where no repetition penalty is asked for.
        constraint: what the reply has to be like.
        state: how far the reply is in its constraint.
    """

    token_ids: Sequence[int]
    num_prompt: int
    eos_token_ids: Collection[int]
    seen: Tensor | None
    constraint: Constraint | None = None
    state: Hashable = None


def process_logits(logits_NV: Tensor, config: GenerationConfig, contexts: Sequence[RowContext]) -> Tensor:
    """The logits from which the next tokens are chosen, the likeliest or by chance.

    Args:
        contexts: one for each row; not looked at where ``uses_history`` says so.

    The settings name tokens that the model has; ``check_token_settings`` sees to that.
    """
    changed_NV = _change_scores(logits_NV, config, contexts)
    if config.is_sampling:
        changed_NV = warp_for_sampling(changed_NV, config)
    return renormalise(changed_NV) if config.renormalize_logits else changed_NV


def process_scores(scores_NV: Tensor, config: GenerationConfig, contexts: Sequence[RowContext]) -> Tensor:
    """Logits or log-probabilities as a search ranks them: all changes but those that only sampling knows.

    Args and errors: as for ``process_logits``.
    """
    changed_NV = _change_scores(scores_NV, config, contexts)
    return renormalise(changed_NV) if config.renormalize_logits else changed_NV


def uses_history(config: GenerationConfig) -> bool:
    """Whether ``process_scores`` may change anything; where not, nobody has to make contexts for it."""
    lists = config.sequence_bias or config.bad_words_ids or config.suppress_tokens
    numbers = config.repetition_penalty != 1.0 or config.no_repeat_ngram_size or config.min_new_tokens
    return bool(lists or numbers or config.is_constrained or config.renormalize_logits)


def check_token_settings(config: GenerationConfig, vocab_size: int) -> None:
    """Raises ConfigError where a setting names a token that the model does not have."""
    named = {
        "suppress_tokens": [config.suppress_tokens],
        "bad_words_ids": config.bad_words_ids,
        "sequence_bias": [run for run, _ in config.sequence_bias],
    }
    for setting, runs in named.items():
        highest = max((token for run in runs for token in run), default=0)
        require(highest < vocab_size, setting, highest, f"token ids below the model's {vocab_size}")


def warp_for_sampling(logits_NV: Tensor, config: GenerationConfig) -> Tensor:
    """The logits from which tokens are drawn by chance."""
    if config.temperature != 1.0:
        logits_NV = logits_NV / config.temperature
    if config.top_k:
        logits_NV = keep_top_k(logits_NV, config.top_k)
    if config.top_p < 1.0:
        logits_NV = keep_top_p(logits_NV, config.top_p)
    if config.min_p:
        logits_NV = keep_min_p(logits_NV, config.min_p)
    if config.typical_p < 1.0:
        logits_NV = keep_typical(logits_NV, config.typical_p)
    return logits_NV


def _change_scores(scores_NV: Tensor, config: GenerationConfig, contexts: Sequence[RowContext]) -> Tensor:
    if config.sequence_bias:
        runs = tuple((tuple(run), bias) for run, bias in config.sequence_bias)
        scores_NV = add_biases(scores_NV, [runs] * len(contexts), contexts)
    if config.repetition_penalty != 1.0:
        seen = [context.seen for context in contexts if context.seen is not None]
        scores_NV = penalise_repetition(scores_NV, torch.stack(seen), config.repetition_penalty)
    if config.no_repeat_ngram_size:
        said = [said_after(context.token_ids, config.no_repeat_ngram_size) for context in contexts]
        scores_NV = forbid(scores_NV, said)
    if config.bad_words_ids:
        words = tuple(map(tuple, config.bad_words_ids))
        bad = [_bad_words(words, frozenset(context.eos_token_ids)) for context in contexts]
        scores_NV = add_biases(scores_NV, bad, contexts)
    if config.min_new_tokens:
        scores_NV = forbid(scores_NV, [_ends_too_early(context, config.min_new_tokens) for context in contexts])
    if config.is_constrained:
        scores_NV = keep_allowed(scores_NV, contexts)
    if config.suppress_tokens:
        tokens = torch.tensor(config.suppress_tokens, dtype=torch.long, device=scores_NV.device)
        scores_NV = scores_NV.index_fill(1, tokens, CLOSED)
    return scores_NV


def add_biases(scores_NV: Tensor, runs: Sequence[Runs], contexts: Sequence[RowContext]) -> Tensor:
    """Adds each row's biases to the scores of the tokens that would complete one of its runs."""
    device = scores_NV.device
    biases = [_biases_of(each, scores_NV.shape[1], device) for each in runs]
    bias_NV = torch.stack([each.always for each in biases]).to(scores_NV.dtype)
    places = [
        (row, token, bias)
        for row, (each, context) in enumerate(zip(biases, contexts, strict=True))
        for token, bias in each.after(context.token_ids)
    ]
    if places:
        rows, tokens, added = zip(*places, strict=True)
        where = torch.tensor(rows, device=device), torch.tensor(tokens, device=device)
        bias_NV.index_put_(where, torch.tensor(added, device=device).to(scores_NV.dtype), accumulate=True)
    return scores_NV + bias_NV


def penalise_repetition(scores_NV: Tensor, seen_NV: Tensor, penalty: float) -> Tensor:
    """Makes tokens that were seen less likely: divides their score where positive, multiplies it where negative.

    Source: Keskar et al. 2019, section 4.1, arXiv:1909.05858.
    """
    penalised = torch.where(scores_NV < 0, scores_NV * penalty, scores_NV / penalty)
    return torch.where(seen_NV, penalised, scores_NV)


def said_after(token_ids: Sequence[int], size: int) -> set[int]:
    """The tokens that would repeat a run of ``size`` tokens.

    Source: Paulus et al. 2018, section 2.5, arXiv:1705.04304.
    """
    if len(token_ids) < size:
        return set()
    ids = torch.tensor(list(token_ids), dtype=torch.long)
    follows = torch.ones(len(ids) - size + 1, dtype=torch.bool)
    for place in range(size - 1):  # of the run's beginning, which the last tokens may be
        follows &= ids[place : place + len(follows)] == ids[place - size + 1]
    return set(ids[size - 1 :][follows].tolist())


def forbid(scores_NV: Tensor, token_ids: Sequence[Collection[int]]) -> Tensor:
    """Closes some tokens of each row; those that the model does not have are closed anyway."""
    vocab_size = scores_NV.shape[1]
    places = [(row, token) for row, tokens in enumerate(token_ids) for token in tokens if token < vocab_size]
    if not places:
        return scores_NV
    rows, tokens = torch.tensor(places, device=scores_NV.device).unbind(dim=1)
    return scores_NV.index_put((rows, tokens), scores_NV.new_tensor(CLOSED))


def keep_allowed(scores_NV: Tensor, contexts: Sequence[RowContext]) -> Tensor:
    """Closes the tokens that a row's constraint does not allow."""
    masks = [context.constraint.allowed(context.state) if context.constraint else None for context in contexts]
    given = {row: mask for row, mask in enumerate(masks) if mask is not None}
    if not given:
        return scores_NV
    rows = torch.tensor(list(given), device=scores_NV.device)
    allowed = torch.stack(list(given.values())).to(scores_NV.device)
    return scores_NV.index_copy(0, rows, scores_NV[rows].masked_fill(~allowed, CLOSED))


def keep_top_k(logits_NV: Tensor, k: int) -> Tensor:
    """Closes what is less likely than the k-th likeliest.

    Source: Fan et al. 2018, section 5.4, arXiv:1805.04833.
    """
    least = logits_NV.topk(min(k, logits_NV.shape[1]), dim=-1).values[:, -1:]
    return logits_NV.masked_fill(logits_NV < least, CLOSED)


def keep_top_p(logits_NV: Tensor, p: float) -> Tensor:
    """Closes the least likely tokens, as long as what stays open has probability p; the likeliest always stays.

    Source: Holtzman et al. 2020, section 3.1, arXiv:1904.09751.
    """
    rising, order = torch.sort(logits_NV, descending=False)
    closed = rising.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    closed[:, -1] = False
    return logits_NV.masked_fill(closed.scatter(1, order, closed), CLOSED)


def keep_min_p(logits_NV: Tensor, p: float) -> Tensor:
    """Closes what is less than p times as probable as the likeliest.

    Source: Nguyen et al. 2024, section 3, arXiv:2407.01082.
    """
    probabilities = logits_NV.softmax(dim=-1)
    return logits_NV.masked_fill(probabilities < p * probabilities.amax(dim=-1, keepdim=True), CLOSED)


def keep_typical(logits_NV: Tensor, p: float) -> Tensor:
    """Closes the tokens whose surprise is furthest from the usual, as long as what stays open has probability p.

    Source: Meister et al. 2023, arXiv:2202.00666.
    """
    logprobs = logits_NV.log_softmax(dim=-1)
    entropy = -(logprobs * logprobs.exp()).nansum(dim=-1, keepdim=True)  # what is closed already adds nothing
    distance = (-logprobs - entropy).abs()
    rising, order = distance.sort(dim=-1)
    cumulated = logits_NV.gather(1, order).softmax(dim=-1).cumsum(dim=-1)
    last = (cumulated < p).sum(dim=-1, keepdim=True).clamp(max=logits_NV.shape[1] - 1)
    return logits_NV.masked_fill(distance > rising.gather(1, last), CLOSED)


def renormalise(scores_NV: Tensor) -> Tensor:
    """Log-probabilities of what is open."""
    # A row where nothing is open has no distribution; it stays as it is.
    return scores_NV.log_softmax(dim=-1).masked_fill(scores_NV == CLOSED, CLOSED)


@dataclass(frozen=True, slots=True)
class _Biases:
    """Runs of tokens, laid out for looking up what the next token would complete.

    Attributes:
        always: [V], the biases of runs of one token.
        by_beginning: what is added to which token, by all tokens of the run before it.
        lengths: of these beginnings, rising.
    """

    always: Tensor
    by_beginning: dict[tuple[int, ...], list[tuple[int, float]]]
    lengths: tuple[int, ...]

    def after(self, token_ids: Sequence[int]) -> Iterable[tuple[int, float]]:
        """The tokens that complete a run of several now, with their biases."""
        if not self.lengths:
            return ()
        last = tuple(token_ids[-self.lengths[-1] :])
        beginnings = (last[-length:] for length in self.lengths if length <= len(last))
        return chain.from_iterable(self.by_beginning.get(beginning, ()) for beginning in beginnings)


@lru_cache(maxsize=16)  # the same at every step of a request
def _biases_of(runs: Runs, vocab_size: int, device: torch.device) -> _Biases:
    always_V = torch.zeros(vocab_size)
    by_beginning: dict[tuple[int, ...], list[tuple[int, float]]] = {}
    for run, bias in dict(runs).items():  # of two biases for one run the last counts, as in transformers
        if len(run) == 1:
            always_V[run[0]] = bias
        else:
            by_beginning.setdefault(run[:-1], []).append((run[-1], bias))
    return _Biases(always_V.to(device), by_beginning, tuple(sorted({len(run) for run in by_beginning})))


@lru_cache(maxsize=16)
def _bad_words(words: tuple[tuple[int, ...], ...], eos_token_ids: frozenset[int]) -> Runs:
    """Bad words as biases; the end of a reply alone is none, or no reply could end."""
    return tuple((word, CLOSED) for word in words if len(word) > 1 or word[0] not in eos_token_ids)


def _ends_too_early(context: RowContext, min_new_tokens: int) -> Collection[int]:
    is_short = len(context.token_ids) - context.num_prompt < min_new_tokens
    return context.eos_token_ids if is_short else ()
