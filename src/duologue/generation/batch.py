"""Batch: requests that share their steps, a lane each; every step is one forward pass for all of them.

Shapes: R lanes, T rows of a lane, C slots in use, N replies that still grow, M model width, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from duologue.errors import NumericalError
from duologue.generation.config import GenerationConfig
from duologue.generation.events import Event
from duologue.generation.kv_arena import Lanes
from duologue.generation.logits import process_logits
from duologue.generation.prefill import prefill
from duologue.generation.request import Reply, Request
from duologue.generation.rows import Rows, closed_mask, run_rows
from duologue.generation.sampling import chance_of, choose_likeliest, draw
from duologue.transformer.model import Transformer

Growing = list[tuple[Request, Reply]]


class Batch:
    """Requests of one config in the lanes 0, 1, 2, ...; the replies to a prompt share its slots by their masks."""

    def __init__(self, model: Transformer, lanes: Lanes, config: GenerationConfig) -> None:
        """An empty batch over these lanes."""
        self._model, self._lanes, self._config = model, lanes, config
        self._device = lanes.arena.device
        self._requests: list[Request] = []
        # What each reply sees: the prompt, and its own tokens. Opened slot by slot, one mask for all layers.
        self._mask = closed_mask(lanes.num_lanes, config.num_return_sequences, lanes.width, device=self._device)

    @property
    def num_active(self) -> int:
        """Requests that are not finished."""
        return len(self._requests)

    @property
    def num_free(self) -> int:
        """Lanes that wait for a request."""
        return self._lanes.num_lanes - len(self._requests)

    @torch.inference_mode()
    def admit(self, requests: Sequence[Request]) -> list[Event]:
        """Reads the prompts of new requests, all with as many tokens ready, and chooses each reply's first token."""
        start, begin, end = time.perf_counter(), len(self._requests), len(self._requests) + len(requests)
        prompts = [request.prompt_ids for request in requests]
        hidden = prefill(self._model, self._lanes.part(begin, end), prompts, first=requests[0].num_ready)
        for lane, request in enumerate(requests, begin):
            request.num_ready = request.num_used = len(request.prompt_ids)
            self._mask[lane] = float("-inf")
            self._mask[lane, :, : request.num_used] = 0.0
        self._requests += requests
        growing = [(request, reply) for request in requests for reply in request.replies]
        self._remember_prompts(growing)
        events = self._choose(growing, self._logits(hidden.repeat_interleave(self._config.num_return_sequences, dim=0)))
        for request in requests:
            request.stats.ms_prefill += (time.perf_counter() - start) * 1e3
        return events

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One more token for every reply that still grows."""
        start, stepping = time.perf_counter(), list(self._requests)
        growing = [(request, reply) for request in stepping for reply in request.live_replies]
        events = self._choose(growing, self._logits(self._forward()))
        for request in stepping:
            request.stats.steps += 1
            request.stats.ms_decode += (time.perf_counter() - start) * 1e3
        return events

    def take_finished(self) -> list[Request]:
        """Removes finished requests; the last lanes move into the gaps, so that active lanes stay side by side."""
        finished = []
        for lane in range(len(self._requests) - 1, -1, -1):
            if not self._requests[lane].live_replies:
                finished.append(self._requests[lane])
                moved = self._requests.pop()
                if lane < len(self._requests):
                    self._move(moved, from_lane=len(self._requests), to_lane=lane)
        return finished

    def _move(self, request: Request, *, from_lane: int, to_lane: int) -> None:
        self._requests[to_lane] = request
        target = self._lanes.part(to_lane, to_lane + 1)
        self._lanes.part(from_lane, from_lane + 1).copy_into(target, request.num_used)
        self._mask[to_lane] = self._mask[from_lane]

    def _forward(self) -> Tensor:
        """What the last layer says of the newest token of each growing reply, [N, M]."""
        live = [request.live_replies for request in self._requests]
        width = max(len(replies) for replies in live)
        # A lane with fewer replies repeats one of its own: the same value is then written to the same slot twice.
        padded = [[*range(len(replies)), *[0] * (width - len(replies))] for replies in live]
        lanes = list(enumerate(padded))
        slots = self._tensor([[self._requests[lane].num_used + column for column in row] for lane, row in lanes])
        ids = self._tensor([[live[lane][column].token_ids[-1] for column in row] for lane, row in lanes])
        places = self._tensor([[self._place(lane, live[lane][column]) for column in row] for lane, row in lanes])
        mask = self._open(slots, self._tensor([[live[lane][column].index for column in row] for lane, row in lanes]))
        rows = Rows(ids, places, slots, mask)
        hidden_RTM = run_rows(self._model, self._lanes.part(0, len(live)), rows)
        for request, replies in zip(self._requests, live, strict=True):
            for column, reply in enumerate(replies):
                reply.slots.append(request.num_used + column)
            request.num_used += len(replies)
        return torch.cat([hidden_RTM[lane, : len(replies)] for lane, replies in enumerate(live)])

    def _place(self, lane: int, reply: Reply) -> int:
        return len(self._requests[lane].prompt_ids) + len(reply.token_ids) - 1

    def _open(self, slots_RT: Tensor, replies_RT: Tensor) -> Tensor:
        """Lets each row see its own new slot, and gives the mask of the rows, [R, T, C]."""
        lanes = torch.arange(len(slots_RT), device=self._device)[:, None]
        self._mask[lanes, replies_RT, slots_RT] = 0.0
        num_used = int(slots_RT.max()) + 1
        return self._mask[lanes, replies_RT, :num_used]

    def _logits(self, hidden_NM: Tensor) -> Tensor:
        return self._model.logits(hidden_NM).float()

    def _choose(self, growing: Growing, logits_NV: Tensor) -> list[Event]:
        """Chooses a token for each reply and adds it."""
        self._check_finite(growing, logits_NV)
        processed = process_logits(
            logits_NV,
            self._config,
            seen_NV=self._seen(growing),
            num_generated=[len(reply.token_ids) for _, reply in growing],
            eos_token_ids=[request.eos_token_ids for request, _ in growing],
        )
        if self._config.is_sampling:
            tokens = draw(processed, [chance_of(q.chances, reply.index, len(reply.token_ids)) for q, reply in growing])
        else:
            tokens = choose_likeliest(processed)
        logprobs = logits_NV.gather(1, tokens[:, None]).squeeze(1) - logits_NV.logsumexp(dim=-1)
        chosen = zip(growing, tokens.tolist(), logprobs.tolist(), strict=True)
        events: list[Event] = []
        for (request, reply), token, logprob in chosen:
            if reply.seen is not None:
                reply.seen[token] = True
            events += request.take(reply, token, logprob)
        return events

    def _check_finite(self, growing: Growing, logits_NV: Tensor) -> None:
        is_finite = logits_NV.sum(dim=-1).isfinite()
        if not bool(is_finite.all()):
            request, reply = growing[is_finite.tolist().index(False)]
            place = f"reply {reply.index}, token {len(reply.token_ids)} after a prompt of {len(request.prompt_ids)}"
            raise NumericalError(f"{place}: the logits are not finite; the model's weights are damaged or overflow")

    def _remember_prompts(self, growing: Growing) -> None:
        if self._config.repetition_penalty == 1.0:
            return
        for request, reply in growing:
            reply.seen = torch.zeros(self._model.vocab_size, dtype=torch.bool, device=self._device)
            reply.seen[self._tensor(request.prompt_ids)] = True

    def _seen(self, growing: Growing) -> Tensor | None:
        seen = [reply.seen for _, reply in growing if reply.seen is not None]
        return torch.stack(seen) if seen else None

    def _tensor(self, numbers: Sequence[object]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self._device)
