"""Engine: a model folder, loaded, that replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from duologue.conversation import Conversation, Role
from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig, read_generation_config, read_generation_file
from duologue.generation.events import Event, GenerationOutput
from duologue.generation.exact_rows import logits_exactly, run_rows_exactly
from duologue.generation.kv_arena import KVArena
from duologue.generation.logits import check_token_settings
from duologue.generation.native_rows import NativeRows
from duologue.generation.prefix_cache import PrefixCache
from duologue.generation.prompt import Prompt, check_ids, check_length, encode, read_prompt
from duologue.generation.reply import Task
from duologue.generation.request import RESERVE, Request
from duologue.generation.rows import run_rows
from duologue.generation.sampling import fresh_seed, stream_of
from duologue.generation.scheduler import MAX_REPLYING, Scheduler
from duologue.generation.scoring import CandidateScore, Scorer, num_slots_for
from duologue.generation.token_tree import TokenTree
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.int8 import to_int8
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

if TYPE_CHECKING:
    from duologue.generation.constraints import Constraint

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.bfloat16}
NUM_CONSTRAINTS = 16  # compiled ones that are kept
ARENA_BYTES = 2 * 2**30  # most memory for keys and values, unless max_slots says otherwise


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
        deterministic: bool = False,
        native: bool = True,
    ) -> None:
        """An engine over a model that is in memory.

        Args:
            model: in evaluation mode, on its device, in its number format.
            tokenizer: the model's own.
            eos_token_ids: tokens that end a reply; a dialogue's turn ends with its end-of-turn token in any case.
            generation_config: what the model's maker recommends; only kept, see ``generation_config``.
            max_slots: tokens whose keys and values are in memory at once, over all that runs and is kept.
            deterministic: a request gives the same bits whatever else runs, was read before or is kept; slower.
            native: compiled code runs a bfloat16 or int8 model on the CPU, where there is a compiler.
        """
        self.model, self.tokenizer = model, tokenizer
        self.generation_config = generation_config or GenerationConfig()
        ends = {token for token in eos_token_ids if token < model.vocab_size}
        self.eos_token_ids = frozenset(ends or {tokenizer.end_of_turn_id})
        weight = model.output_weight
        slots = _default_slots(model) if max_slots is None else max_slots
        self.arena = KVArena(model.config, num_slots=slots, dtype=weight.dtype, device=weight.device)
        self._prefixes = PrefixCache(self.arena)
        self._constraints: dict[Hashable, Constraint | None] = {}
        scorer = scorer_of(model, self.arena, deterministic=deterministic, native=native)
        self.scheduler = Scheduler(scorer, self._prefixes)

    @classmethod
    def from_pretrained(
        cls,
        model: Path | str,
        device: str = "cpu",
        dtype: str = "float32",
        *,
        max_slots: int | None = None,
        deterministic: bool = False,
        native: bool = True,
    ) -> Engine:
        """The engine of a model folder.

        Raises:
            ModelFolderError: the folder is incomplete, or not of this architecture.
            ConfigError: there is no such device or number format here.
        """
        _check_place(device, dtype)
        folder = Path(model)
        loaded = load_transformer(folder, dtype=DTYPES[dtype]).to(device)
        if dtype == "int8":
            loaded = to_int8(loaded)
        config = read_generation_config(folder)
        ends = _end_ids(folder)
        tokenizer = Tokenizer.from_pretrained(folder)
        return cls(loaded, tokenizer, eos_token_ids=ends, generation_config=config, max_slots=max_slots,
                   deterministic=deterministic, native=native)  # fmt: skip

    @property
    def is_native(self) -> bool:
        """Whether compiled code runs the model."""
        return self.scheduler.scorer.is_native

    @property
    def context_length(self) -> int:
        """The most tokens that the model sees at once, prompt and reply together."""
        return self.model.config.max_position_embeddings

    def generate(
        self, prompt: Prompt, config: GenerationConfig | None = None, *, role: Role = Role.ASSISTANT
    ) -> GenerationOutput:
        """Replies to a dialogue, or goes on from ids; what the config does not set is off.

        Raises:
            ContextLengthError: the prompt leaves no room for a token, or takes more than the key-value memory.
            DataError: the prompt is neither messages nor ids of this model.
            NumericalError: the model gave something that is no number.
        """
        request = self.request(prompt, config, role=role)
        for _ in self._run(request):
            pass
        return request.output()

    def stream(
        self,
        prompt: Prompt,
        config: GenerationConfig | None = None,
        *,
        role: Role = Role.ASSISTANT,
        tells_beams: bool = False,
    ) -> Generator[Event, None, None]:
        """The same as events, as they come; closing the iterator cancels. Errors as in ``generate``, at the call.

        With ``tells_beams`` a beam search tells its whole tree too.
        """
        return self._run(self.request(prompt, config, role=role, tells_beams=tells_beams))

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        config: GenerationConfig | None = None,
        *,
        on_finished: Callable[[int], None] | None = None,
    ) -> list[GenerationOutput]:
        """Replies to many prompts, many at once; each gets what it would get alone.

        Args:
            prompts: dialogues or ids, in any order; the outputs come in the same order.
            config: for all of them.
            on_finished: told how many prompts are done, as it grows.
        """
        config = config or GenerationConfig()  # the same object for all, so that their tokens are chosen together
        requests = [self.request(prompt, config, is_awaited=False) for prompt in prompts]
        for request in sorted(requests, key=lambda request: request.width):
            self.scheduler.submit(request)
        num_done = 0
        try:
            while num_done < len(requests):
                self.scheduler.step()
                now_done = sum(request.is_over for request in requests)
                if on_finished and now_done > num_done:
                    on_finished(now_done)
                num_done = now_done
        finally:
            for request in requests:
                self.scheduler.cancel(request)
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
        is_sound = False
        try:
            scores = self.scheduler.scorer.scores(TokenTree(lane, ids[:num_ready]), ids, replies)
            is_sound = True
        finally:
            self._prefixes.keep(ids if is_sound else [], range(len(ids)), lane)
        return sorted(scores, key=lambda score: -score.sum_logprob)

    def check(self, prompt: Prompt, config: GenerationConfig | None = None) -> None:
        """Raises what ``generate`` would raise before it computes."""
        self.request(prompt, config)

    def forget(self) -> None:
        """Gives up all that was kept of earlier prompts."""
        self._prefixes.clear()

    def request(
        self,
        prompt: Prompt,
        config: GenerationConfig | None = None,
        *,
        role: Role = Role.ASSISTANT,
        tells_beams: bool = False,
        is_awaited: bool = True,
    ) -> Request:
        """A checked request for the scheduler. Errors as in ``generate``."""
        config, read = config or GenerationConfig(), read_prompt(prompt)
        check_token_settings(config, self.model.vocab_size)
        ids = self._checked_ids(read, role)
        check_length(len(ids), num_new=1, context_length=self.context_length)
        ends = self.eos_token_ids
        if isinstance(read, Conversation):
            ends |= {self.tokenizer.end_of_turn_id}
        task = Task(
            prompt_ids=ids,
            config=config,
            tokenizer=self.tokenizer,
            vocab_size=self.model.vocab_size,
            eos_token_ids=ends,
            max_new_tokens=min(config.max_new_tokens, self.context_length - len(ids)),
            chances=stream_of(fresh_seed() if config.seed is None else config.seed, ids),
            constraint=self._constraint(config, ends),
        )
        request = Request(task, tells_beams=tells_beams, is_awaited=is_awaited)
        if request.width > self.arena.num_slots:
            raise self.arena.no_room(request.width)
        return request

    def _constraint(self, config: GenerationConfig, ends: frozenset[int]) -> Constraint | None:
        if not config.is_constrained:
            return None
        from duologue.generation.constraints import compile_constraint

        key = (config.prefix, config.choices, config.regex, ends)
        if key not in self._constraints:
            if len(self._constraints) >= NUM_CONSTRAINTS:
                self._constraints.pop(next(iter(self._constraints)))
            self._constraints[key] = compile_constraint(
                config, self.tokenizer, vocab_size=self.model.vocab_size, eos_token_ids=ends
            )
        return self._constraints[key]

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
        """One request to its end; others that were submitted move on with it."""
        self.scheduler.submit(request)
        try:
            while not request.is_over:
                self.scheduler.step()
                while request.events:
                    yield request.events.popleft()
            if request.error is not None:
                raise request.error
        finally:
            self.scheduler.cancel(request)


def scorer_of(model: Transformer, arena: KVArena, *, deterministic: bool = False, native: bool = True) -> Scorer:
    """The way through a model: exact, compiled, or PyTorch's."""
    if deterministic:
        return Scorer(partial(run_rows_exactly, model), partial(logits_exactly, model))
    compiled = NativeRows.of(model, arena) if native else None
    if compiled:
        return Scorer(compiled.run, compiled.logits, is_native=True)
    return Scorer(partial(run_rows, model), model.logits)


def _default_slots(model: Transformer) -> int:
    config, weight = model.config, model.output_weight
    slot_bytes = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * weight.element_size()
    return max(4 * RESERVE, min((MAX_REPLYING + 2) * config.max_position_embeddings, ARENA_BYTES // slot_bytes))


def _check_place(device: str, dtype: str) -> None:
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: is {dtype!r}; expected one of {', '.join(DTYPES)}")
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
