"""Noise on what the embedding gives, not on text: at random (NEFTune), or where it hurts most (FGM, FreeLB).

It is put on from outside, by a hook on the embedding's output: the table itself stays as it is, also where it is tied
to the output head. Lengths are those of the documents in a packed row, and empty places get none.

Shapes: B batch, T time, M model width, D documents of a batch.

Source: Jain et al. 2023, arXiv:2310.05914 (NEFTune); Miyato et al. 2017, arXiv:1605.07725 (FGM); Zhu et al. 2020,
arXiv:1909.11764 (FreeLB).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from duologue.transformer.model import Transformer

Kind = Literal["off", "neftune", "fgm", "freelb"]


@contextmanager
def shifted_embeddings(model: Transformer, offset_BTM: Tensor | None) -> Iterator[None]:
    """While it lasts, the embedding's output is moved by an offset."""
    if offset_BTM is None:
        yield
        return
    handle = model.model.embed_tokens.register_forward_hook(
        lambda module, inputs, output: output + offset_BTM.to(output.dtype)
    )
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class EmbeddingAdversary:
    """How the embedding's output is moved, pass after pass over the same batch.

    Attributes:
        strength: NEFTune's alpha; how long a document's noise is (FGM), or may become (FreeLB).
        num_passes: over a batch: 1 (NEFTune), 2 (FGM: a clean one first), K (FreeLB).
    """

    kind: Kind
    strength: float
    num_passes: int
    seed: int = 0

    @classmethod
    def of(cls, kind: Kind, strength: float, *, steps: int, seed: int) -> EmbeddingAdversary | None:
        """The one that a recipe asks for; None where it asks for none."""
        if kind == "off":
            return None
        return cls(kind, strength, {"neftune": 1, "fgm": 2, "freelb": steps}[kind], seed)

    def first(self, document_ids_BT: Tensor, width: int, *, step: int, rows: Sequence[int]) -> Tensor | None:
        """The offset of the first pass, [B, T, M]; None = none.

        Args:
            rows: which row of the step each row of the batch is, so that any division of a step gives the same noise.
        """
        if self.kind == "fgm":
            return torch.zeros(*document_ids_BT.shape, width, requires_grad=True, device=document_ids_BT.device)
        lengths_BT = document_lengths(document_ids_BT)
        drawn = torch.stack([self._uniform(document_ids_BT.shape[1], width, step, row) for row in rows])
        noise_BTM = drawn.to(document_ids_BT.device) * (document_ids_BT > 0)[..., None]
        scale_BT = self.strength / (lengths_BT.clamp(min=1) * width) ** 0.5
        noise_BTM = noise_BTM * scale_BT[..., None]
        return noise_BTM.requires_grad_() if self.kind == "freelb" else noise_BTM

    def following(self, offset_BTM: Tensor, document_ids_BT: Tensor) -> Tensor:
        """The offset of the next pass, from the gradient that the last one left on this one's."""
        assert offset_BTM.grad is not None
        gradient_BTM = offset_BTM.grad.float()
        norms_BT = per_document_norm(gradient_BTM, document_ids_BT)
        step = self.strength if self.kind == "fgm" else self.strength / max(1, self.num_passes - 1)
        moved_BTM = offset_BTM.detach() + step * gradient_BTM / norms_BT.clamp(min=1e-12)[..., None]
        lengths_BT = per_document_norm(moved_BTM, document_ids_BT).clamp(min=1e-12)
        kept_BT = (self.strength / lengths_BT).clamp(max=1.0) * (document_ids_BT > 0)
        return (moved_BTM * kept_BT[..., None]).requires_grad_()

    def _uniform(self, length: int, width: int, step: int, row: int) -> Tensor:
        key = blake2b(f"{self.seed}/{step}/{row}".encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little"))
        return torch.rand(length, width, generator=generator) * 2 - 1


def document_lengths(document_ids_BT: Tensor) -> Tensor:
    """How many places the document of each place has, [B, T]; 0 where a place is empty."""
    is_there_BT = (document_ids_BT > 0).float()
    return _summed(is_there_BT, document_ids_BT) * is_there_BT


def per_document_norm(values_BTM: Tensor, document_ids_BT: Tensor) -> Tensor:
    """The Euclidean length of what a document has in all its places, at each of them, [B, T]."""
    return _summed(values_BTM.float().square().sum(-1), document_ids_BT).sqrt()


def _summed(values_BT: Tensor, document_ids_BT: Tensor) -> Tensor:
    """At each place the sum over its document."""
    num_documents = int(document_ids_BT.max()) + 1
    sums_BD = torch.zeros(len(values_BT), num_documents, device=values_BT.device)
    sums_BD.scatter_add_(1, document_ids_BT, values_BT)
    return sums_BD.gather(1, document_ids_BT)
