"""Rows whose result does not depend on what runs beside them, to the last bit.

A fast kernel adds in an order that depends on the shape of the whole problem, so a neighbour changes the last bits of a
row. Here every problem has one shape: the layers see tiles of TILE rows, and each row attends alone, over its own text
in its own order, filled up to a multiple of BLOCK. That costs speed; it is what ``Engine(deterministic=True)`` is for.

Shapes: N rows, T rows of a lane, C slots, H query heads, K key-value heads, D head width, M width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from duologue.generation.kv_arena import KVArena
from duologue.generation.rows import Rows
from duologue.transformer.attention import AttendIn
from duologue.transformer.model import Transformer

TILE = 16
BLOCK = 32


@dataclass(frozen=True, slots=True)
class _Row:
    """A token, where it is written, and the slots of its text in order, itself last."""

    token_id: int
    position: int
    place: int
    seen: Tensor


@torch.inference_mode()
def run_rows_exactly(model: Transformer, batch: Sequence[Rows]) -> Tensor:
    """What ``run_rows`` gives, [N, M], the same bits for the same text whatever else runs."""
    rows = [row for part in batch for row in _rows_of(part)]
    arena = batch[0].lane.arena
    tiles = [_run_tile(model, arena, rows[first : first + TILE]) for first in range(0, len(rows), TILE)]
    return torch.cat(tiles)


def logits_exactly(model: Transformer, hidden_NM: Tensor) -> Tensor:
    """[N, M] -> [N, V], in tiles as well."""
    tiles = [hidden_NM[first : first + TILE] for first in range(0, len(hidden_NM), TILE)]
    return torch.cat([model.logits(_filled_up(tile))[: len(tile)] for tile in tiles])


def _rows_of(rows: Rows) -> list[_Row]:
    """The rows of a lane; they come in an order in which a row stands after all that it sees."""
    depths = torch.tensor(rows.depths, device=rows.mask.device)
    found = []
    for token_id, position, slot, mask_C in zip(rows.token_ids, rows.positions, rows.slots, rows.mask, strict=True):
        seen = (mask_C == 0).nonzero()[:, 0]
        in_order = seen[depths[seen].argsort()] + rows.lane.start
        found.append(_Row(token_id, position, rows.lane.start + slot, in_order))
    return found


def _run_tile(model: Transformer, arena: KVArena, rows: Sequence[_Row]) -> Tensor:
    device = rows[0].seen.device
    empty = [0] * (TILE - len(rows))
    ids = torch.tensor([[*(row.token_id for row in rows), *empty]], device=device)
    positions = torch.tensor([[*(row.position for row in rows), *empty]], device=device)
    return model.hidden(ids, positions, _attention_alone(arena, rows))[0, : len(rows)]


def _attention_alone(arena: KVArena, rows: Sequence[_Row]) -> AttendIn:
    count = len(rows)
    places_N = torch.tensor([row.place for row in rows], device=arena.device)

    def attend(layer: int, q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor) -> Tensor:
        k_NKD, v_NKD = k_1KND[0, :, :count].transpose(0, 1), v_1KND[0, :, :count].transpose(0, 1)
        arena.write(layer, places_N, k_NKD, v_NKD)
        found = torch.zeros_like(q_1HND)
        for number, row in enumerate(rows):
            found[0, :, number] = _attend_alone(arena, layer, row, q_1HND[0, :, number])
        return found

    return lambda layer: partial(attend, layer)


def _attend_alone(arena: KVArena, layer: int, row: _Row, q_HD: Tensor) -> Tensor:
    length = len(row.seen)
    filling = -length % BLOCK
    keys_KLD, values_KLD = (
        F.pad(slab[row.seen], (0, 0, 0, 0, 0, filling)).transpose(0, 1).contiguous()
        for slab in (arena.key_slabs[layer], arena.value_slabs[layer])
    )
    mask_1L = torch.zeros(1, length + filling, dtype=q_HD.dtype, device=q_HD.device)
    mask_1L[:, length:] = float("-inf")
    q_1KGD = q_HD.view(1, keys_KLD.shape[0], -1, q_HD.shape[-1])
    found = F.scaled_dot_product_attention(q_1KGD, keys_KLD[None], values_KLD[None], attn_mask=mask_1L)
    return found.reshape(q_HD.shape)


def _filled_up(tile_NM: Tensor) -> Tensor:
    return F.pad(tile_NM, (0, 0, 0, TILE - len(tile_NM)))
