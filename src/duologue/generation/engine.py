"""Engine: a model folder, loaded, that replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import torch

from duologue.conversation import Conversation, Role
from duologue.errors import ConfigError
from duologue.generation.batch import Batch
from duologue.generation.config import GenerationConfig, read_generation_config, read_generation_file
from duologue.generation.events import Event, GenerationOutput
from duologue.generation.kv_arena import KVArena
from duologue.generation.prefix_cache import PrefixCache
from duologue.generation.prompt import Prompt, check_ids, check_length, encode, read_prompt
from duologue.generation.request import Request
from duologue.generation.rows import MAX_ROWS
from duologue.generation.scoring import CandidateScore, num_slots_for, score_candidates
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MAX_LANES = 64  # rows of one step in a batch
ARENA_BYTES = 2 * 2**30  # most memory for keys and values, unless max_slots says otherwise
SPARE_SLOTS = 256  # lanes are rounded up to this, so that the next turn often finds room in the same one


class Engine:
    """Generates with one model; keeps what it has read, so that the next turn of a chat reads only what is new."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        eos_token_ids: Sequence[int] = (),
        generation_config: GenerationConfig | None = None,
        max_slots: int | None = None,
    ) -> None:
        """An engine over a model that is in memory.

        Args:
            model: in evaluation mode, on its device, in its number format.
            tokenizer: the model's own.
            eos_token_ids: tokens that end a reply; a dialogue's turn ends with its end-of-turn token in any case.
            generation_config: what the model's maker recommends; only kept, see ``generation_config``.
            max_slots: tokens whose keys and values are in memory at once, over all that runs and is kept.
        """
        self.model, self.tokenizer = model, tokenizer
        self.generation_config = generation_config or GenerationConfig()
        ends = {token for token in eos_token_ids if token < model.vocab_size}
        self.eos_token_ids = frozenset(ends or {tokenizer.end_of_turn_id})
        weight = model.output_weight
        slots = _default_slots(model) if max_slots is None else max_slots
        self.arena = KVArena(model.config, num_slots=slots, dtype=weight.dtype, device=weight.device)
        self._prefixes = PrefixCache(self.arena)

    @classmethod
    def from_pretrained(
        cls, model: Path | str, device: str = "cpu", dtype: str = "float32", *, max_slots: int | None = None
    ) -> Engine:
        """The engine of a model folder.

        Raises:
            ModelFolderError: the folder is incomplete, or not of this architecture.
            ConfigError: there is no such device or number format here.
        """
        _check_place(device, dtype)
        folder = Path(model)
        loaded = load_transformer(folder, dtype=DTYPES[dtype]).to(device)
        config = read_generation_config(folder)
        ends = _end_ids(folder)
        tokenizer = Tokenizer.from_pretrained(folder)
        return cls(loaded, tokenizer, eos_token_ids=ends, generation_config=config, max_slots=max_slots)

    @property
    def context_length(self) -> int:
        """The most tokens that the model sees at once, prompt and reply together."""
        return self.model.config.max_position_embeddings

    def generate(
        self, prompt: Prompt, config: GenerationConfig | None = None, *, role: Role = Role.ASSISTANT
    ) -> GenerationOutput:
        """Replies to a dialogue, or goes on from ids; what the config does not set is off.

        Raises:
            ContextLengthError: the prompt leaves no room for a token.
            DataError: the prompt is neither messages nor ids of this model.
            NumericalError: the model gave something that is no number.
        """
        request = self._request(prompt, config or GenerationConfig(), role)
        for _ in self._run(request):
            pass
        return request.output()

    def stream(
        self, prompt: Prompt, config: GenerationConfig | None = None, *, role: Role = Role.ASSISTANT
    ) -> Generator[Event, None, None]:
        """The same as events, as they come; closing the iterator cancels. Errors as in ``generate``, at the call."""
        return self._run(self._request(prompt, config or GenerationConfig(), role))

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        config: GenerationConfig | None = None,
        *,
        on_finished: Callable[[int], None] | None = None,
    ) -> list[GenerationOutput]:
        """Replies to many prompts, up to 64 at once; each gets what it would get alone.

        Args:
            prompts: dialogues or ids, in any order; the outputs come in the same order.
            config: for all of them.
            on_finished: told how many prompts are done, as it grows.
        """
        config = config or GenerationConfig()
        requests = [self._request(prompt, config, Role.ASSISTANT) for prompt in prompts]
        if requests:
            self._run_together(sorted(requests, key=lambda request: len(request.prompt_ids)), config, on_finished)
        return [request.output() for request in requests]

    def score(self, prompt: Prompt, candidates: Sequence[str | Sequence[int]]) -> list[CandidateScore]:
        """How probable each candidate reply is, the most probable first.

        A text stands for its tokens and the end of the turn; ids stand for themselves.
        """
        ids = self._checked_ids(read_prompt(prompt), Role.ASSISTANT)
        replies = [self._candidate_ids(place, candidate) for place, candidate in enumerate(candidates)]
        if not replies:
            return []
        check_length(len(ids), num_new=max(map(len, replies)), context_length=self.context_length)
        lane, num_ready = self._prefixes.lend(ids, width=num_slots_for(ids, replies))
        try:
            scores = score_candidates(self.model, lane, ids, replies, num_ready=num_ready)
        except BaseException:
            lane.free()
            raise
        self._prefixes.keep(ids, range(len(ids)), lane)
        return sorted(scores, key=lambda score: -score.sum_logprob)

    def check(self, prompt: Prompt, config: GenerationConfig | None = None) -> None:
        """Raises what ``generate`` would raise before it computes."""
        self._request(prompt, config or GenerationConfig(), Role.ASSISTANT)

    def forget(self) -> None:
        """Gives up all that was kept of earlier prompts."""
        self._prefixes.clear()

    def _request(self, prompt: Prompt, config: GenerationConfig, role: Role) -> Request:
        read = read_prompt(prompt)
        ids = self._checked_ids(read, role)
        check_length(len(ids), num_new=1, context_length=self.context_length)
        ends = self.eos_token_ids
        if isinstance(read, Conversation):
            ends |= {self.tokenizer.end_of_turn_id}
        return Request(ids, config, tokenizer=self.tokenizer, eos_token_ids=ends, context_length=self.context_length)

    def _checked_ids(self, prompt: Conversation | list[int], role: Role) -> list[int]:
        ids = encode(self.tokenizer, prompt, role)
        check_ids(ids, vocab_size=self.model.vocab_size)
        return ids

    def _candidate_ids(self, place: int, candidate: str | Sequence[int]) -> list[int]:
        if isinstance(candidate, str):
            return [*self.tokenizer.encode(candidate), self.tokenizer.end_of_turn_id]
        ids = list(candidate)
        check_ids(ids, vocab_size=self.model.vocab_size, name=f"candidate {place}")
        return ids

    def _run(self, request: Request) -> Generator[Event, None, None]:
        """One request to its end; what was read stays for the next one, also where the caller stops early."""
        rounded = -(-request.num_slots // SPARE_SLOTS) * SPARE_SLOTS
        width = max(request.num_slots, min(rounded, self.arena.num_slots))
        lane, request.num_ready = self._prefixes.lend(request.prompt_ids, width=width)
        request.stats.cached_tokens = request.num_ready
        is_sound = True
        try:
            batch = Batch(self.model, lane, request.config)
            yield from batch.admit([request])
            while request.live_replies:
                yield from batch.step()
        except Exception:  # closing the iterator and Ctrl-C are not among these
            is_sound = False
            raise
        finally:
            request.cancel()
            ids, slots = request.best_path() if is_sound else ([], [])
            self._prefixes.keep(ids, slots, lane)

    def _run_together(
        self, waiting: list[Request], config: GenerationConfig, on_finished: Callable[[int], None] | None
    ) -> None:
        width = max(request.num_slots for request in waiting)
        num_lanes = max(1, MAX_LANES // config.num_return_sequences)
        num_lanes = max(1, min(num_lanes, len(waiting), self.arena.num_slots // width))
        lanes = self._prefixes.lend_empty(num_lanes=num_lanes, width=width)
        num_done, total = 0, len(waiting)
        try:
            batch = Batch(self.model, lanes, config)
            while num_done < total:
                while group := _next_group(waiting, batch):
                    batch.admit(group)
                    del waiting[: len(group)]
                if any_finished := len(batch.take_finished()):
                    num_done += any_finished
                    if on_finished:
                        on_finished(num_done)
                elif batch.num_active:
                    batch.step()
        finally:
            lanes.free()


def _next_group(waiting: list[Request], batch: Batch) -> list[Request]:
    """The requests to read in next: as many as fill one pass, and none while there is room for a few only."""
    group: list[Request] = []
    for request in waiting[: batch.num_free]:
        if group and (len(group) + 1) * len(request.prompt_ids) > MAX_ROWS:
            return group
        group.append(request)
    is_worth_it = len(group) == len(waiting) or not batch.num_active or batch.num_free > batch.num_active // 8
    return group if is_worth_it else []


def _default_slots(model: Transformer) -> int:
    config, weight = model.config, model.output_weight
    slot_bytes = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * weight.element_size()
    return max(4 * SPARE_SLOTS, min((MAX_LANES + 2) * config.max_position_embeddings, ARENA_BYTES // slot_bytes))


def _check_place(device: str, dtype: str) -> None:
    if dtype not in DTYPES:
        later = " (int8 is not there yet)" if dtype == "int8" else ""
        raise ConfigError(f"dtype: is {dtype!r}; expected one of {', '.join(DTYPES)}{later}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: is {device!r}, which this machine cannot use ({reason}); try cpu") from None


def _end_ids(folder: Path) -> list[int]:
    """The tokens that end a reply, as ``transformers`` finds them: the generation file's, else the model's."""
    found = read_generation_file(folder).get("eos_token_id")
    if found is None:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("eos_token_id")
    ids = found if isinstance(found, list) else [found]
    return [token for token in ids if isinstance(token, int)]
