"""The one primitive: rows of tokens, where each is written, and what each may see.

Reading a prompt, one reply, many replies, beams, guesses, scoring: all are rows. There is no other way through the
model here. Rows of several requests go through it together; each sees its own lane only.

Shapes: N rows, R lanes, T rows of a lane, C slots in use, H query heads, K key-value heads, D head width, M width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from duologue.generation.kv_arena import Lanes
from duologue.transformer.attention import AttendIn
from duologue.transformer.model import Transformer

MAX_ROWS = 512  # of one forward pass when a prompt is read: enough to fill a processor, little enough memory
CLOSED = float("-inf")


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens of one lane to run through the model, T of them.

    Attributes:
        lane: where their keys and values are kept.
        token_ids: the tokens.
        positions: the place of each in its own text.
        slots: where in the lane each one's key and value are written.
        mask: [T, C], added to the scores: 0 where a row may see a slot, -inf where not. A row sees at least itself.
            C is as many slots as are in use, at most the width of the lane.
        depths: for each slot, the place in its own text of what it holds.
    """

    lane: Lanes
    token_ids: Sequence[int]
    positions: Sequence[int]
    slots: Sequence[int]
    mask: Tensor
    depths: Sequence[int] = ()

    def __len__(self) -> int:
        """T."""
        return len(self.slots)


@torch.inference_mode()
def run_rows(model: Transformer, batch: Sequence[Rows]) -> Tensor:
    """What the last layer says of each row, in order: [N, M]; writes the rows' keys and values into their slots."""
    device = batch[0].mask.device
    input_ids = torch.tensor([[token for rows in batch for token in rows.token_ids]], device=device)
    positions = torch.tensor([[place for rows in batch for place in rows.positions]], device=device)
    return model.hidden(input_ids, positions, attention_over_lanes(batch))[0]


def attention_over_lanes(batch: Sequence[Rows]) -> AttendIn:
    """Writes each row's key and value into its slot, then lets the rows see the slots that their mask opens.

    The query heads that share a key-value head become rows of one product, so the cache is read once for all of them
    and is never repeated or moved.
    """
    arena, device = batch[0].lane.arena, batch[0].mask.device
    places_N = torch.tensor([rows.lane.start + slot for rows in batch for slot in rows.slots], device=device)
    groups = [_Group.of(run) for run in _side_by_side(batch)]
    lengths = [group.num_rows for group in groups]
    masks: list[Tensor] = []  # made by the first layer, which knows how many query heads share a key

    def attend(layer: int, q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor) -> Tensor:
        arena.write(layer, places_N, k_1KND[0].transpose(0, 1), v_1KND[0].transpose(0, 1))
        if not masks:
            shared = q_1HND.shape[1] // k_1KND.shape[1]
            masks.extend(_mask_for_groups(group.mask.to(q_1HND.dtype), shared) for group in groups)
        queries = q_1HND.split(lengths, dim=2)
        found = [_attend(layer, *each) for each in zip(groups, masks, queries, strict=True)]
        return torch.cat(found, dim=2) if len(found) > 1 else found[0]

    return lambda layer: partial(attend, layer)


@dataclass(frozen=True, slots=True)
class _Group:
    """Equally many rows of lanes that lie side by side; its mask is [R, T, C]."""

    lanes: Lanes
    mask: Tensor

    @classmethod
    def of(cls, run: Sequence[Rows]) -> _Group:
        """The rows of neighbouring lanes as one."""
        first, width = run[0].lane, max(rows.mask.shape[-1] for rows in run)
        if len(run) == 1:
            return cls(first, run[0].mask[None])
        masks = [F.pad(rows.mask, (0, width - rows.mask.shape[-1]), value=CLOSED) for rows in run]
        return cls(Lanes(first.arena, first.start, len(run), first.width), torch.stack(masks))

    @property
    def num_rows(self) -> int:
        """R * T."""
        return self.mask.shape[0] * self.mask.shape[1]


def _side_by_side(batch: Sequence[Rows]) -> list[list[Rows]]:
    """Runs of lanes that are next to each other, equally wide, with equally many rows: one product for all of them."""
    runs: list[list[Rows]] = []
    for rows in batch:
        if runs and _follows(runs[-1][-1], rows):
            runs[-1].append(rows)
        else:
            runs.append([rows])
    return runs


def _follows(before: Rows, rows: Rows) -> bool:
    a, b = before.lane, rows.lane
    return b.start == a.start + a.width and b.width == a.width and len(rows) == len(before)


def _attend(layer: int, group: _Group, mask_R1QC: Tensor, q_1HND: Tensor) -> Tensor:
    """What the rows of one group find, [1, H, R * T, D]."""
    (R, T, C), (_, H, _, D) = group.mask.shape, q_1HND.shape
    keys_RKCD, values_RKCD = group.lanes.keys(layer), group.lanes.values(layer)
    q_RHTD = q_1HND[0].unflatten(1, (R, T)).transpose(0, 1)
    found = F.scaled_dot_product_attention(
        q_RHTD.reshape(R, keys_RKCD.shape[1], -1, D), keys_RKCD[:, :, :C], values_RKCD[:, :, :C], attn_mask=mask_R1QC
    )
    return found.reshape(R, H, T, D).transpose(0, 1).reshape(1, H, R * T, D)


def _mask_for_groups(mask_RTC: Tensor, shared: int) -> Tensor:
    """[R, T, C] -> [R, 1, shared * T, C], the same for each query head that shares a key."""
    return mask_RTC[:, None].repeat(1, 1, shared, 1) if shared > 1 else mask_RTC[:, None]
