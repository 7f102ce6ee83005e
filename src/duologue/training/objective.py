"""What a stage minimises: next-token cross-entropy over packed rows.

Shapes: B batch, T time, N places, M model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from duologue.data.loader import Batch
from duologue.tokenizer.encode_conversation import NO_LOSS
from duologue.training.cross_entropy import ChunkedCrossEntropy
from duologue.training.vocabulary_sample import Candidates
from duologue.transformer.attention import AttendIn
from duologue.transformer.model import Transformer

# How the hidden states of a packed batch are made: (model, input_ids, position_ids, document_ids) -> [B, T, M]
Forward = Callable[[Transformer, Tensor, Tensor, Tensor], Tensor]


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
    ) -> Tensor:
        """Cross-entropy in nats, summed over all labels; without gradients unless it ``learns``.

        Args:
            candidates: that stand for the vocabulary; None = all of it.
        """
        model, labels_N = self.transformer, labels_BT.flatten()
        hidden_NM = forward(model, input_ids_BT, position_ids_BT, document_ids_BT).flatten(0, 1)
        weight_VM = model.output_weight
        if not learns:
            hidden_NM, weight_VM = hidden_NM.detach(), weight_VM.detach()
        kept = (labels_N != NO_LOSS).nonzero().squeeze(1)
        labels_N, offset = labels_N[kept], None
        if candidates is not None:
            chosen, labels_N, offset = candidates.among(labels_N)
            weight_VM = weight_VM.index_select(0, chosen)
        return ChunkedCrossEntropy.apply(hidden_NM[kept], weight_VM, labels_N, self._is_native, offset)


def tensors_of(batch: Batch, device: torch.device | str) -> list[Tensor]:
    """What PackedLoss takes of a batch, on a device."""
    arrays = (batch.input_ids, batch.position_ids, batch.document_ids, batch.labels)
    return [torch.from_numpy(array).to(device) for array in arrays]


def packed_forward(attention: Callable[[Tensor], AttendIn]) -> Forward:
    """The model over packed rows; ``attention`` makes of the document ids who sees whom: each its own document."""

    def forward(model: Transformer, input_ids_BT: Tensor, position_ids_BT: Tensor, document_ids_BT: Tensor) -> Tensor:
        return model.hidden(input_ids_BT, position_ids_BT, attention(document_ids_BT))

    return forward
