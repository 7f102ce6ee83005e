"""Any causal model that ``transformers`` loads, as the robustness suite takes one: it replies, and tells its loss.

For models of our own family the engine does the same and faster. Files with code of their own are not run, nothing is
fetched, and weights are read from safetensors alone.

Shapes: B batch, T time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from duologue.conversation import Conversation
from duologue.errors import ConfigError, ContextLengthError, ModelFolderError
from duologue.generation.config import GenerationConfig
from duologue.generation.events import FinishReason, GenerationOutput, GenerationStats
from duologue.transformer.weights import read_config

ROWS_AT_ONCE = 16
CAUSAL = ("ForCausalLM", "LMHeadModel")
USUAL_CONTEXT = 1024  # where a model does not say how much it sees


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds a causal model that only ``transformers`` runs.

    Raises:
        ModelFolderError: its config.json names no causal model at all.
    """
    try:
        read_config(folder)
    except ModelFolderError:
        named = _architecture(folder)
        if not named.endswith(CAUSAL):
            raise
        return True
    return False


def _architecture(folder: Path) -> str:
    try:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")
    except (OSError, ValueError, AttributeError):
        return ""
    return str(named[0]) if isinstance(named, list) and named else ""


class ForeignModel:
    """A model folder of any maker, by ``transformers``."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        """A model and its fast tokenizer, which has a chat template."""
        self.model, self.tokenizer, self._name = model.eval(), tokenizer, name
        self.context_length = getattr(model.config, "max_position_embeddings", None) or USUAL_CONTEXT
        ends = model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends]) - {None} | {tokenizer.eos_token_id}
        self._pad = next(iter(sorted(end for end in self._ends if end is not None)), 0)

    @classmethod
    def from_pretrained(cls, folder: Path) -> ForeignModel:
        """Loads a folder.

        Raises:
            ConfigError: transformers is not installed.
            ModelFolderError: it cannot be loaded, or has no chat template.
        """
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging
        except ImportError:
            remedy = "pip install transformers, or take a Llama or Qwen3 model"
            raise ConfigError(f"{folder}: is not of the family that duologue runs itself; {remedy}") from None
        logging.disable_progress_bar()
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **options)
            model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelFolderError(f"{folder}: transformers cannot load it ({str(error).splitlines()[0]})") from None
        if not tokenizer.chat_template:
            expected = "expected a chat_template in tokenizer_config.json, which says how turns are written"
            raise ModelFolderError(f"{folder}: has no chat template; {expected}")
        return cls(model, tokenizer, str(folder))

    # ------------------------------------------------------------------------------------ as who replies

    def check(self, prompt: Conversation, config: GenerationConfig) -> None:
        """Raises ContextLengthError where the prompt leaves no room for a reply."""
        length = len(self._prompt_ids(prompt))
        if length >= self.context_length:
            raise ContextLengthError(f"{self._name}: prompt has {length} tokens; the context is {self.context_length}")

    def generate_batch(
        self, prompts: Sequence[Conversation], config: GenerationConfig, *,
        on_finished: Callable[[int], None] | None = None,
    ) -> list[GenerationOutput]:  # fmt: skip
        """The greedy reply to each prompt."""
        ids = [self._prompt_ids(prompt) for prompt in prompts]
        found: dict[int, GenerationOutput] = {}
        for places in _batches([len(one) for one in ids]):
            found |= zip(places, self._replies([ids[place] for place in places], config.max_new_tokens), strict=True)
            if on_finished:
                on_finished(len(found))
        return [found[place] for place in range(len(prompts))]

    @torch.inference_mode()
    def _replies(self, ids: list[list[int]], max_new_tokens: int) -> list[GenerationOutput]:
        width = max(map(len, ids))
        input_ids = torch.tensor([[self._pad] * (width - len(one)) + one for one in ids])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
        room = min(max_new_tokens, self.context_length - width)
        written = self.model.generate(
            input_ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=room, pad_token_id=self._pad
        )
        return [self._output(sequence) for sequence in written[:, width:].tolist()]

    def _output(self, sequence: list[int]) -> GenerationOutput:
        end = next((place for place, token in enumerate(sequence) if token in self._ends), len(sequence))
        reason = FinishReason.LENGTH if end == len(sequence) else FinishReason.STOP
        text = self.tokenizer.decode(sequence[:end], skip_special_tokens=True).strip()
        return GenerationOutput([sequence[: end + 1]], [0.0], [0.0], [[]], [reason], [text], GenerationStats())

    # ------------------------------------------------------------------------------------ as whose loss is asked for

    def scores(self, dialogues: Sequence[Conversation]) -> list[float]:
        """Bits per byte of each last turn."""
        sizes = (max(1, len(row.messages[-1].content.encode())) for row in dialogues)
        return [bits / size for bits, size in zip(self.bits(dialogues), sizes, strict=True)]

    def bits(self, dialogues: Sequence[Conversation]) -> list[float]:
        """Bits of each last turn and its end."""
        pairs = [self._pair(row) for row in dialogues]
        found: dict[int, float] = {}
        for places in _batches([len(prompt) + len(reply) for prompt, reply in pairs]):
            found |= zip(places, self._bits([pairs[place] for place in places]), strict=True)
        return [found[place] for place in range(len(pairs))]

    @torch.inference_mode()
    def _bits(self, pairs: list[tuple[list[int], list[int]]]) -> list[float]:
        width = max(len(prompt) + len(reply) for prompt, reply in pairs)
        rows = [prompt + reply for prompt, reply in pairs]
        input_ids = torch.tensor([row + [self._pad] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        logits_BTV = self.model(input_ids, attention_mask=mask).logits
        found = []
        for row, (prompt, reply) in enumerate(pairs):
            logits = logits_BTV[row, len(prompt) - 1 : len(prompt) + len(reply) - 1].double()
            chosen = logits.log_softmax(-1).gather(1, torch.tensor(reply)[:, None])
            found.append(float(-chosen.sum()) / math.log(2))
        return found

    def saliency(self, dialogue: Conversation, turn: int) -> list[float]:
        """How much each character of a turn matters to the last turn's loss: |gradient x embedding| of its token."""
        text = dialogue.messages[turn].content
        prompt = self._prompt_text(dialogue)
        start = prompt.rfind(text)
        encoded = self.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        if start < 0 or len(encoded["input_ids"]) >= self.context_length:
            return [1.0] * len(text)
        weights, found = self._by_token(encoded["input_ids"], self._reply_ids(dialogue)), [0.0] * len(text)
        for (first, end), weight in zip(encoded["offset_mapping"], weights, strict=True):
            for place in range(max(first, start), min(end, start + len(text))):
                found[place - start] = max(found[place - start], weight)
        return found

    def _by_token(self, prompt: list[int], reply: list[int]) -> list[float]:
        ids_BT = torch.tensor([prompt + reply])
        with torch.enable_grad():
            embedded = self.model.get_input_embeddings()(ids_BT).detach().requires_grad_()
            logits = self.model(inputs_embeds=embedded).logits[0, len(prompt) - 1 : -1]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(reply))
            (gradient,) = torch.autograd.grad(loss, embedded)
        weights: list[float] = (gradient * embedded).sum(-1).abs()[0, : len(prompt)].tolist()
        return weights

    # ------------------------------------------------------------------------------------ texts and tokens

    def _pair(self, row: Conversation) -> tuple[list[int], list[int]]:
        """The prompt's last tokens, as many as there is room for, and the reply's."""
        reply = self._reply_ids(row)[: self.context_length - 1]
        return self._prompt_ids(Conversation(row.messages[:-1]))[-(self.context_length - len(reply)) :], reply

    def _reply_ids(self, row: Conversation) -> list[int]:
        ids: list[int] = self.tokenizer(row.messages[-1].content, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else ids

    def _prompt_ids(self, prompt: Conversation) -> list[int]:
        ids: list[int] = self.tokenizer(self._prompt_text(prompt, whole=True), add_special_tokens=False)["input_ids"]
        return ids

    def _prompt_text(self, row: Conversation, *, whole: bool = False) -> str:
        """A dialogue up to its last reply in the model's template; ``whole``: it ends with a question already."""
        messages = row.messages if whole else row.messages[:-1]
        turns = [{"role": str(message.role), "content": message.content} for message in messages]
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of some rows at a time, those of like length together."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for first in range(0, len(order), ROWS_AT_ONCE):
        yield order[first : first + ROWS_AT_ONCE]
