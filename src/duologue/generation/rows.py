"""The one primitive: rows of tokens, where each is written, and what each may see.

Reading a prompt, one reply, many replies, scoring: all are rows. There is no other way through the model here.

Shapes: R lanes, T rows of a lane, C slots of a lane, H query heads, K key-value heads, G = H/K, D head width, M width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from duologue.generation.kv_arena import Lanes
from duologue.transformer.attention import AttendIn
from duologue.transformer.model import Transformer

MAX_ROWS = 512  # of one forward pass when a prompt is read: enough to fill a processor, little enough memory


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens to run through the model at once.

    Attributes:
        input_ids: [R, T].
        position_ids: [R, T], the place of each token in its own text.
        slots: [R, T], where in its lane each token's key and value are written.
        mask: [R or 1, T, C], added to the scores: 0 where a row may see a slot, -inf where not. A row sees at least
            itself. C is as many slots as are in use, at most the width of the lanes.
    """

    input_ids: Tensor
    position_ids: Tensor
    slots: Tensor
    mask: Tensor


@torch.inference_mode()
def run_rows(model: Transformer, lanes: Lanes, rows: Rows) -> Tensor:
    """What the last layer says of each row: [R, T, M]; writes the rows' keys and values into their slots."""
    return model.hidden(rows.input_ids, rows.position_ids, attention_over_lanes(lanes, rows))


def attention_over_lanes(lanes: Lanes, rows: Rows) -> AttendIn:
    """Writes each row's key and value into its slot, then lets the rows see the slots that their mask opens.

    The query heads that share a key-value head become rows of one product, so the cache is read once for all of them
    and is never repeated or moved.
    """
    num_used = rows.mask.shape[-1]
    written = _places(lanes, rows.slots)
    mask_by_group: list[Tensor] = []  # made by the first layer, which knows how many query heads share a key

    def attend(layer: int, q_RHTD: Tensor, k_RKTD: Tensor, v_RKTD: Tensor) -> Tensor:
        R, H, T, D = q_RHTD.shape
        K = k_RKTD.shape[1]
        keys_RKCD, values_RKCD = lanes.keys(layer), lanes.values(layer)
        keys_RKCD.view(-1, D).index_copy_(0, written, k_RKTD.reshape(-1, D))
        values_RKCD.view(-1, D).index_copy_(0, written, v_RKTD.reshape(-1, D))
        if not mask_by_group:
            mask_by_group.append(_mask_for_groups(rows.mask, H // K).to(q_RHTD.dtype))
        found = F.scaled_dot_product_attention(
            q_RHTD.reshape(R, K, H // K * T, D),
            keys_RKCD[:, :, :num_used],
            values_RKCD[:, :, :num_used],
            attn_mask=mask_by_group[0],
        )
        return found.reshape(R, H, T, D)

    return lambda layer: partial(attend, layer)


def closed_mask(*shape: int, device: torch.device | str) -> Tensor:
    """A mask under which nothing is seen yet."""
    return torch.full(shape, float("-inf"), device=device)


def causal_rows(input_ids_RT: Tensor, *, first: int) -> Rows:
    """Rows that follow ``first`` tokens already in their lanes: each sees all before it and itself."""
    num_lanes, length = input_ids_RT.shape
    places = torch.arange(first, first + length, device=input_ids_RT.device)
    slots = torch.arange(first + length, device=input_ids_RT.device)
    mask = closed_mask(1, length, first + length, device=input_ids_RT.device)
    mask = mask.masked_fill(slots[None, None, :] <= places[None, :, None], 0.0)
    every_lane = places.expand(num_lanes, length)
    return Rows(input_ids_RT, every_lane, every_lane, mask)


def _places(lanes: Lanes, slots_RT: Tensor) -> Tensor:
    """Where the rows' keys lie in the lanes' keys seen as [R * K * C, D]."""
    heads = lanes.keys(0).shape[1]
    lane = torch.arange(lanes.num_lanes, device=slots_RT.device)[:, None, None]
    head = torch.arange(heads, device=slots_RT.device)[None, :, None]
    return ((lane * heads + head) * lanes.width + slots_RT[:, None, :]).flatten()


def _mask_for_groups(mask_RTC: Tensor, groups: int) -> Tensor:
    """[R, T, C] -> [R, 1, G * T, C], the same for each query head of a group."""
    return mask_RTC[:, None].repeat(1, 1, groups, 1) if groups > 1 else mask_RTC[:, None]
