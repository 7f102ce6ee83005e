"""GenerationConfig: how a reply is chosen, in the names of ``transformers``, and the model folder's file of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from duologue.config import from_mapping, require, with_flags
from duologue.errors import ModelFolderError

FILE_NAME = "generation_config.json"
# Settings that only sampling reads; each of them set to anything but off asks for sampling.
SAMPLING_OFF: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


@dataclass(frozen=True)
class GenerationConfig:
    """How a reply is chosen. What is not set is off: one reply, at each step the most probable token."""

    max_new_tokens: Annotated[int, "most tokens of a reply, its end of turn included"] = 128
    min_new_tokens: Annotated[int, "tokens before which a reply may not end"] = 0
    do_sample: Annotated[bool | None, "draw tokens by chance; none: where a setting of sampling is set"] = None
    temperature: Annotated[float, "above 1 more varied, below 1 more predictable, 0 = always the likeliest token"] = 1.0
    top_k: Annotated[int, "draw among this many likeliest tokens; 0 = all"] = 0
    top_p: Annotated[float, "draw among the likeliest tokens that together have this probability; 1 = all"] = 1.0
    min_p: Annotated[float, "draw among tokens at least this probable, as a share of the likeliest; 0 = all"] = 0.0
    repetition_penalty: Annotated[float, "above 1: tokens that stand in prompt or reply become less likely"] = 1.0
    num_return_sequences: Annotated[int, "number of replies to draw, best first"] = 1
    stop_strings: Annotated[tuple[str, ...], "a reply ends before the first of these texts"] = ()
    seed: Annotated[int | None, "the same seed gives the same replies; none: others each time"] = None

    def __post_init__(self) -> None:
        self._check_lengths()
        require(self.temperature >= 0, "temperature", self.temperature, "0 or more")
        require(self.top_k >= 0, "top_k", self.top_k, "0 (off) or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "more than 0, at most 1 (off)")
        require(0 <= self.min_p <= 1, "min_p", self.min_p, "0 (off) to 1")
        require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "more than 0; 1 is off")
        require("" not in self.stop_strings, "stop_strings", self.stop_strings, "texts that are not empty")
        several = self.num_return_sequences
        require(several >= 1, "num_return_sequences", several, "1 or more")
        expected = "1 where nothing is drawn by chance, since all would be alike (set a temperature above 0)"
        require(several == 1 or self.is_sampling, "num_return_sequences", several, expected)

    def _check_lengths(self) -> None:
        # A text alone would pass for a list of letters.
        kind = f"a list of texts, such as [{self.stop_strings!r}]"
        require(not isinstance(self.stop_strings, str), "stop_strings", self.stop_strings, kind)
        object.__setattr__(self, "stop_strings", tuple(self.stop_strings))
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "1 or more")
        expected = f"0 to max_new_tokens = {self.max_new_tokens}"
        require(0 <= self.min_new_tokens <= self.max_new_tokens, "min_new_tokens", self.min_new_tokens, expected)

    @property
    def is_sampling(self) -> bool:
        """Whether tokens are drawn by chance."""
        if self.temperature == 0:
            return False
        return _asks_for_sampling(vars(self)) if self.do_sample is None else self.do_sample


def read_generation_config(folder: Path) -> GenerationConfig:
    """The settings that a model folder's file gives, or the defaults; what is not known here is left to others.

    A file without ``do_sample`` means greedy, as ``transformers`` reads it.
    """
    fields = read_generation_file(folder)
    known = {field.name for field in dataclasses.fields(GenerationConfig)}
    values = {name: value for name, value in fields.items() if name in known and value is not None}
    if isinstance(values.get("stop_strings"), str):
        values["stop_strings"] = [values["stop_strings"]]
    return from_mapping(GenerationConfig, {"do_sample": False} | values, where=str(folder / FILE_NAME))


def write_generation_config(folder: Path, config: GenerationConfig, *, eos_token_id: int, pad_token_id: int) -> None:
    """Writes ``generation_config.json`` for this and other engines: what is not off, and the ids that end a reply."""
    off = dataclasses.asdict(GenerationConfig())
    fields = {name: value for name, value in dataclasses.asdict(config).items() if value != off[name]}
    fields |= {"do_sample": config.is_sampling, "eos_token_id": eos_token_id, "pad_token_id": pad_token_id}
    if not config.is_sampling:
        fields = {name: value for name, value in fields.items() if name not in SAMPLING_OFF}
    text = json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def lay_over(base: GenerationConfig, flags: Mapping[str, Any]) -> GenerationConfig:
    """The model's settings with a caller's laid over them.

    The caller's word on sampling wins: a sampling setting above them turns sampling on, ``do_sample`` false or a
    temperature of 0 turns off what only sampling reads.
    """
    if "do_sample" not in flags and _asks_for_sampling(flags):
        flags = {"do_sample": True, **flags}
    others = {name: value for name, value in flags.items() if name != "num_return_sequences"}
    if not with_flags(dataclasses.replace(base, num_return_sequences=1), others).is_sampling:
        base = dataclasses.replace(base, do_sample=None, num_return_sequences=1, **SAMPLING_OFF)
    return with_flags(base, flags)


def read_generation_file(folder: Path) -> dict[str, Any]:
    """``generation_config.json`` as it stands; empty where there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ModelFolderError(f"{path}: is not an object; expected settings by name")
    return fields


def _asks_for_sampling(fields: Mapping[str, Any]) -> bool:
    return any(name in fields and not _is_off(fields[name], off) for name, off in SAMPLING_OFF.items())


def _is_off(value: Any, off: float) -> bool:
    try:  # a flag is text that has still to be read
        return float(value) == off
    except (TypeError, ValueError):
        return False
