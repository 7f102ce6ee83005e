"""Chooses tokens: the likeliest, or one drawn by chance.

Chance is a pure function of (seed, prompt, sequence, step), so a reply does not depend on what else runs in the batch.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import torch
from torch import Tensor


def choose_likeliest(logits_NV: Tensor) -> Tensor:
    """The token of greatest logit in each row, [N]."""
    return logits_NV.argmax(dim=-1)


def draw(logits_NV: Tensor, chances: Sequence[float]) -> Tensor:
    """A token for each row, [N]: where its chance, a number from 0 to below 1, falls in the row's distribution.

    A row where nothing may be chosen has none; some token stands for it all the same.
    """
    cumulated = logits_NV.double().softmax(dim=-1).cumsum(dim=-1)
    chance = torch.tensor(chances, dtype=torch.float64, device=logits_NV.device)[:, None]
    # The place is below the total, which rounding leaves a little off 1, so a token of probability 0 is never drawn.
    places = torch.searchsorted(cumulated, chance * cumulated[:, -1:], right=True).squeeze(-1)
    return places.clamp(max=logits_NV.shape[1] - 1)


def stream_of(seed: int, prompt_ids: Sequence[int]) -> bytes:
    """The name of a request's stream of chances: another for each seed and prompt, so that turns are independent."""
    return hashlib.blake2b(f"{seed}/{list(prompt_ids)}".encode(), digest_size=16).digest()


def chance_of(stream: bytes, sequence: int, step: int) -> float:
    """A number from 0 to below 1, evenly spread, the same for the same three."""
    digest = hashlib.blake2b(f"{sequence}/{step}".encode(), key=stream, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 12) / 2**52


def noise_of(stream: bytes, token_ids: Sequence[int], count: int) -> Tensor:
    """Numbers between 0 and 1, both left out, in float64: others after each run of tokens, [count], on the CPU."""
    digest = hashlib.blake2b(str(list(token_ids)).encode(), key=stream, digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.rand(count, generator=generator, dtype=torch.float64).clamp(min=1e-300)


def fresh_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbits(64)
