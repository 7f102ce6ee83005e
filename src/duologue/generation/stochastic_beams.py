"""Stochastic beam search: beams drawn by chance, no two alike, each reply as likely as the model says.

Each beam carries its log-probability, disturbed by Gumbel noise. The children's noise is drawn so that the greatest of
them is their parent's: the k greatest of all replies are then a sample of k without replacement, although most replies
were never looked at.

Shapes: N live beams, V vocabulary.

Source: Kool et al. 2019, algorithm 1 and appendix B.3, arXiv:1903.06059.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duologue.generation.beam_search import BeamStep, Candidate, Ends, Finished
from duologue.generation.top_candidates import top_candidates


class StochasticBeams:
    """One draw of ``width`` replies.

    Attributes:
        scores: log-probabilities of the live beams, in the order of their disturbed ones, the greatest first.
        finished: replies that are complete, in that order; their score is the log-probability.
        step, is_over: as in BeamSearch.
    """

    def __init__(self, *, width: int, max_new_tokens: int) -> None:
        """A draw that has not begun."""
        self.width, self.max_new_tokens = width, max_new_tokens
        self.scores: list[float] = [0.0]
        self.finished: list[Finished] = []
        self.step = 0
        self.is_over = False
        self._disturbed: list[float] = [0.0]  # of the live beams
        self._disturbed_finished: list[float] = []

    def advance(self, logprobs_NV: Tensor, ends: Ends, noise_NV: Tensor) -> BeamStep:
        """One more token for every live beam; the noise is even, between 0 and 1."""
        self.step += 1
        device = logprobs_NV.device
        sums_NV = logprobs_NV.double() + torch.tensor(self.scores, dtype=torch.float64, device=device)[:, None]
        parents_N = torch.tensor(self._disturbed, dtype=torch.float64, device=device)
        disturbed_NV = disturb(sums_NV, parents_N, noise_NV)
        values, rows, tokens = top_candidates(disturbed_NV, self.width)
        scores = sums_NV[rows, tokens].tolist()
        found = zip(values.tolist(), rows.tolist(), tokens.tolist(), scores, strict=True)
        open_ones = [(value, Candidate(row, token, score)) for value, row, token, score in found if value > -torch.inf]
        return self._choose(open_ones, ends)

    def contenders(self) -> tuple[list[int], bool]:
        """What leads to the first reply: a live beam, or the finished one that nothing can pass any more.

        The first of all keeps its noise: one child of the first beam always has its parent's.
        """
        if self._disturbed and (not self.finished or self._disturbed[0] > self._disturbed_finished[0]):
            return [0], False
        return [], bool(self.finished)

    def _choose(self, children: Sequence[tuple[float, Candidate]], ends: Ends) -> BeamStep:
        old = [(value, finished, None) for value, finished in zip(self._disturbed_finished, self.finished, strict=True)]
        new = [(value, None, child) for value, child in children]
        best = sorted([*old, *new], key=lambda entry: -entry[0])[: self.width]
        step = BeamStep(left=[done for value, done, _ in old if all(done is not kept for _, kept, _ in best)])
        self.finished, self._disturbed_finished, self._disturbed = [], [], []
        for value, finished, child in best:
            if child is not None:
                if self.step < self.max_new_tokens and not ends(child.row, child.token_id):
                    step.live.append(child)
                    self._disturbed.append(value)
                    continue
                finished = Finished(child, self.step, child.score)
                step.entered.append(finished)
            assert finished is not None
            self.finished.append(finished)
            self._disturbed_finished.append(value)
        self.scores = [child.score for child in step.live]
        self.is_over = not step.live
        return step


def disturb(sums_NV: Tensor, parents_N: Tensor, noise_NV: Tensor) -> Tensor:
    """Log-probabilities with Gumbel noise, drawn so that the greatest of each row is that of its parent.

    Args:
        sums_NV: log-probabilities, in float64.
        parents_N: the parents' disturbed log-probabilities.
        noise_NV: even, between 0 and 1, both left out.
    """
    free_NV = sums_NV - torch.log(-torch.log(noise_NV.double()))
    greatest_N1 = free_NV.amax(dim=-1, keepdim=True)
    parents_N1 = parents_N[:, None]
    shift = parents_N1 - free_NV + torch.log1p(-torch.exp(free_NV - greatest_N1))
    disturbed = parents_N1 - shift.clamp(min=0) - torch.log1p(torch.exp(-shift.abs()))
    return disturbed.masked_fill(sums_NV == -torch.inf, -torch.inf)
