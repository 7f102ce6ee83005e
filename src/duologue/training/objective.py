"""What a stage minimises: next-token cross-entropy over packed rows.

Shapes: B batch, T time, N places, M model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from duologue.data.loader import Batch
from duologue.tokenizer.encode_conversation import NO_LOSS
from duologue.training.config import CHUNK
from duologue.training.consistency import divergence
from duologue.training.cross_entropy import ChunkedCrossEntropy
from duologue.training.embedding_adversary import shifted_embeddings
from duologue.training.vocabulary_sample import Candidates
from duologue.transformer.attention import AttendIn
from duologue.transformer.model import Transformer

# How the hidden states of a packed batch are made: (model, input_ids, position_ids, document_ids) -> [B, T, M]
Forward = Callable[[Transformer, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Clean:
    """The rows of a batch without their noise, and how much it counts that replies to both are alike."""

    tensors: list[Tensor]
    weight: float


class PackedLoss(nn.Module):
    """The loss of packed rows as a module, so that it can be spread over processes from outside."""

    def __init__(self, model: Transformer, *, is_native: bool = False) -> None:
        """The loss of this model; by the C++ of native/ where that is here."""
        super().__init__()
        self.transformer, self._is_native = model, is_native

    def forward(
        self,
        forward: Forward,
        input_ids_BT: Tensor,
        position_ids_BT: Tensor,
        document_ids_BT: Tensor,
        labels_BT: Tensor,
        learns: bool = True,
        candidates: Candidates | None = None,
        clean: Clean | None = None,
        offset_BTM: Tensor | None = None,
        by_place: bool = False,
    ) -> Tensor:
        """Cross-entropy in nats, summed over all labels; without gradients unless it ``learns``.

        With ``by_place``, that of each place [B, T], without gradients. With ``clean``, two numbers: what is to be
        minimised, the divergence included, and the cross-entropy alone.

        Args:
            candidates: that stand for the vocabulary; None = all of it.
            clean: the same rows without noise, from whose replies those here should not differ.
            offset_BTM: moves what the embedding gives.
        """
        if by_place:
            return loss_by_place(self.transformer, forward, [input_ids_BT, position_ids_BT, document_ids_BT, labels_BT])
        model, labels_N = self.transformer, labels_BT.flatten()
        # What is not learned from comes first, so that its activations are gone before the others are there.
        clean_NM = self._learned_places(forward, clean.tensors) if clean else None
        with shifted_embeddings(model, offset_BTM):
            hidden_NM = forward(model, input_ids_BT, position_ids_BT, document_ids_BT).flatten(0, 1)
        weight_VM = model.output_weight
        if not learns:
            hidden_NM, weight_VM = hidden_NM.detach(), weight_VM.detach()
        kept = (labels_N != NO_LOSS).nonzero().squeeze(1)
        labels_N, offset = labels_N[kept], None
        if candidates is not None:
            chosen, labels_N, offset = candidates.among(labels_N)
            weight_VM = weight_VM.index_select(0, chosen)
        loss = ChunkedCrossEntropy.apply(hidden_NM[kept], weight_VM, labels_N, self._is_native, offset)
        if clean is None or clean_NM is None:
            return loss
        apart = divergence(hidden_NM[kept], clean_NM, model.output_weight)
        return torch.stack([loss + clean.weight * apart, loss.detach()])

    def _learned_places(self, forward: Forward, tensors: list[Tensor]) -> Tensor:
        """Hidden states of the places that carry loss, without their gradients.

        They are computed as if there were any: a forward pass without would be compiled once more.
        """
        input_ids_BT, position_ids_BT, document_ids_BT, labels_BT = tensors
        hidden_BTM = forward(self.transformer, input_ids_BT, position_ids_BT, document_ids_BT).detach()
        return hidden_BTM[labels_BT != NO_LOSS]


def loss_by_place(model: Transformer, forward: Forward, tensors: list[Tensor]) -> Tensor:
    """Nats at each place of packed rows, [B, T]; 0 where there is no label."""
    input_ids_BT, position_ids_BT, document_ids_BT, labels_BT = tensors
    hidden_BTM = forward(model, input_ids_BT, position_ids_BT, document_ids_BT).detach()
    kept_BT, weight_VM = labels_BT != NO_LOSS, model.output_weight.detach()
    nats_BT = torch.zeros(labels_BT.shape, device=labels_BT.device)
    parts = [
        nn.functional.cross_entropy((hidden @ weight_VM.T).float(), labels, reduction="none")
        for hidden, labels in zip(hidden_BTM[kept_BT].split(CHUNK), labels_BT[kept_BT].split(CHUNK), strict=True)
    ]
    nats_BT[kept_BT] = torch.cat(parts)
    return nats_BT


def tensors_of(batch: Batch, device: torch.device | str) -> list[Tensor]:
    """What PackedLoss takes of a batch, on a device."""
    arrays = (batch.input_ids, batch.position_ids, batch.document_ids, batch.labels)
    return [torch.from_numpy(array).to(device) for array in arrays]


def packed_forward(attention: Callable[[Tensor], AttendIn]) -> Forward:
    """The model over packed rows; ``attention`` makes of the document ids who sees whom: each its own document."""

    def forward(model: Transformer, input_ids_BT: Tensor, position_ids_BT: Tensor, document_ids_BT: Tensor) -> Tensor:
        return model.hidden(input_ids_BT, position_ids_BT, attention(document_ids_BT))

    return forward
