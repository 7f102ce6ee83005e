"""GenerationConfig: how a reply is chosen, in the names of ``transformers``, and the model folder's file of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from duologue.config import from_mapping, require, with_flags
from duologue.errors import ModelFolderError

FILE_NAME = "generation_config.json"
# Settings that only beams read.
BEAMS_OFF: dict[str, Any] = {"num_beams": 1, "length_penalty": 1.0, "early_stopping": False, "patience": 1.0,
                             "num_beam_groups": 1, "diversity_penalty": 0.0, "beam_mode": "standard"}  # fmt: skip
# Settings that only sampling reads; each of them set to anything but off asks for sampling.
SAMPLING_OFF: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}


@dataclass(frozen=True)
class GenerationConfig:
    """How a reply is chosen. What is not set is off: one reply, at each step the most probable token."""

    max_new_tokens: Annotated[int, "most tokens of a reply, its end of turn included"] = 128
    min_new_tokens: Annotated[int, "tokens before which a reply may not end"] = 0
    num_return_sequences: Annotated[int, "number of replies, best first"] = 1
    stop_strings: Annotated[tuple[str, ...], "a reply ends before the first of these texts"] = ()
    seed: Annotated[int | None, "the same seed gives the same replies; none: others each time"] = None

    do_sample: Annotated[bool | None, "draw tokens by chance; none: where a setting of sampling is set"] = None
    temperature: Annotated[float, "above 1 more varied, below 1 more predictable, 0 = always the likeliest token"] = 1.0
    top_k: Annotated[int, "draw among this many likeliest tokens; 0 = all"] = 0
    top_p: Annotated[float, "draw among the likeliest tokens that together have this probability; 1 = all"] = 1.0
    min_p: Annotated[float, "draw among tokens at least this probable, as a share of the likeliest; 0 = all"] = 0.0
    typical_p: Annotated[float, "draw among the tokens of most usual surprise that have this probability"] = 1.0

    num_beams: Annotated[int, "beams that search for the most probable reply; 1 = no search"] = 1
    length_penalty: Annotated[float, "a beam's score is its log-probability / length ** this; above 0 for longer"] = 1.0
    early_stopping: Annotated[
        bool | Literal["never"], "stop with num_beams replies (true), when better are unlikely (false), or ruled out"
    ] = False
    patience: Annotated[float, "search until this many times num_beams replies are found"] = 1.0
    num_beam_groups: Annotated[int, "groups of beams that keep away from each other's tokens"] = 1
    diversity_penalty: Annotated[float, "taken from a token's score for each time an earlier group chose it"] = 0.0
    beam_mode: Annotated[
        Literal["standard", "stochastic"], "stochastic: beams are drawn by chance, no two alike (Gumbel top-k)"
    ] = "standard"
    prune: Annotated[Literal["exact", "off"], "exact: give up beams that can no longer be among the best"] = "exact"

    repetition_penalty: Annotated[float, "above 1: tokens that stand in prompt or reply become less likely"] = 1.0
    no_repeat_ngram_size: Annotated[int, "so many tokens in a row stand only once in prompt and reply; 0 = off"] = 0
    bad_words_ids: Annotated[tuple[tuple[int, ...], ...], "runs of tokens that may not be written, such as 5,9"] = ()
    suppress_tokens: Annotated[tuple[int, ...], "tokens that may not be written, such as 5,9"] = ()
    sequence_bias: Annotated[
        tuple[tuple[tuple[int, ...], float], ...], "added to the score of a run of tokens, such as [[[5,9],-2.0]]"
    ] = ()
    renormalize_logits: Annotated[bool, "scores are log-probabilities again after all these changes"] = False

    prefix: Annotated[str, "the reply begins with this text"] = ""
    choices: Annotated[tuple[str, ...], "the reply is one of these texts"] = ()
    regex: Annotated[str, "the reply matches this regular expression as a whole"] = ""

    prompt_lookup_num_tokens: Annotated[int, "tokens guessed ahead from what was said before; 0 = none"] = 0
    logprobs: Annotated[int, "likeliest tokens that are told for each place; 0 = none"] = 0

    def __post_init__(self) -> None:
        self._check_lengths()
        self._check_sampling()
        self._check_beams()
        self._check_changes_to_scores()
        self._check_number_of_replies()

    def _check_lengths(self) -> None:
        for name in ("stop_strings", "choices"):  # a text alone would pass for a list of letters
            given = getattr(self, name)
            require(not isinstance(given, str), name, given, f"a list of texts, such as [{given!r}]")
            object.__setattr__(self, name, tuple(given))
            require("" not in given, name, given, "texts that are not empty")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "1 or more")
        expected = f"0 to max_new_tokens = {self.max_new_tokens}"
        require(0 <= self.min_new_tokens <= self.max_new_tokens, "min_new_tokens", self.min_new_tokens, expected)
        require(self.logprobs >= 0, "logprobs", self.logprobs, "0 (off) or more")

    def _check_sampling(self) -> None:
        require(self.temperature >= 0, "temperature", self.temperature, "0 or more")
        require(self.top_k >= 0, "top_k", self.top_k, "0 (off) or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "more than 0, at most 1 (off)")
        require(0 <= self.min_p <= 1, "min_p", self.min_p, "0 (off) to 1")
        require(0 < self.typical_p <= 1, "typical_p", self.typical_p, "more than 0, at most 1 (off)")

    def _check_beams(self) -> None:
        beams, groups = self.num_beams, self.num_beam_groups
        require(beams >= 1, "num_beams", beams, "1 (no search) or more")
        require(self.patience > 0, "patience", self.patience, "more than 0; 1 is off")
        require(1 <= groups <= beams and beams % groups == 0, "num_beam_groups", groups,
                f"1, or a number that divides num_beams = {beams}")  # fmt: skip
        require(self.diversity_penalty >= 0, "diversity_penalty", self.diversity_penalty, "0 (off) or more")
        require(groups > 1 or not self.diversity_penalty, "diversity_penalty", self.diversity_penalty,
                "0 with one group of beams (set num_beam_groups)")  # fmt: skip
        require(self.temperature > 0 or not self.is_stochastic, "temperature", self.temperature,
                "more than 0 with beam_mode stochastic, which draws by chance")  # fmt: skip
        require(groups == 1 or not self.is_stochastic, "beam_mode", self.beam_mode, "standard with groups of beams")
        for name, off in BEAMS_OFF.items():
            value = getattr(self, name)
            require(beams > 1 or value == off, name, value, f"{str(off).lower()} without beams (set num_beams above 1)")
        require(beams == 1 or self.is_stochastic or not self.is_sampling, "num_beams", beams,
                "1 with sampling (do_sample false, temperature 0, or beam_mode stochastic)")  # fmt: skip
        is_alone = beams == 1 and self.num_return_sequences == 1
        require(is_alone or not self.prompt_lookup_num_tokens, "prompt_lookup_num_tokens",
                self.prompt_lookup_num_tokens, "0 with beams, and with several replies")  # fmt: skip

    def _check_changes_to_scores(self) -> None:
        require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "more than 0; 1 is off")
        size = self.no_repeat_ngram_size
        require(size >= 0, "no_repeat_ngram_size", size, "0 (off) or more")
        for name, runs in (("bad_words_ids", self.bad_words_ids), ("sequence_bias", self._biased_runs)):
            require(all(run and min(run) >= 0 for run in runs), name, getattr(self, name), "runs of token ids")
        require(min(self.suppress_tokens, default=0) >= 0, "suppress_tokens", self.suppress_tokens, "token ids")
        given = [name for name in ("prefix", "choices", "regex") if getattr(self, name)]
        require(len(given) <= 1, given[-1] if given else "", given and getattr(self, given[-1]),
                f"none where {given[0] if given else ''} is given: one of them")  # fmt: skip
        require(self.prompt_lookup_num_tokens >= 0, "prompt_lookup_num_tokens", self.prompt_lookup_num_tokens,
                "0 (off) or more")  # fmt: skip

    def _check_number_of_replies(self) -> None:
        several = self.num_return_sequences
        require(several >= 1, "num_return_sequences", several, "1 or more")
        if self.num_beams > 1:
            require(several <= self.num_beams, "num_return_sequences", several, f"at most num_beams = {self.num_beams}")
        else:
            expected = "1 where nothing is drawn by chance, since all would be alike (set a temperature above 0)"
            require(several == 1 or self.is_sampling, "num_return_sequences", several, expected)

    @property
    def _biased_runs(self) -> tuple[tuple[int, ...], ...]:
        return tuple(run for run, _ in self.sequence_bias)

    @property
    def is_sampling(self) -> bool:
        """Whether tokens are drawn by chance, one after the other."""
        if self.temperature == 0:
            return False
        return _asks_for_sampling(vars(self)) if self.do_sample is None else self.do_sample

    @property
    def is_stochastic(self) -> bool:
        """Whether beams are drawn by chance."""
        return self.beam_mode == "stochastic"

    @property
    def is_constrained(self) -> bool:
        """Whether the text of the reply is bound in some way."""
        return bool(self.prefix or self.choices or self.regex)


def read_generation_config(folder: Path) -> GenerationConfig:
    """The settings that a model folder's file gives, or the defaults; what is not known here is left to others.

    A file without ``do_sample`` means greedy, as ``transformers`` reads it.
    """
    fields = read_generation_file(folder)
    known = {field.name for field in dataclasses.fields(GenerationConfig)}
    values = {name: value for name, value in fields.items() if name in known and value is not None}
    if values.get("num_beams", 1) == 1:  # transformers passes over what only beams would read
        values |= BEAMS_OFF
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
    if "num_beams" in flags:  # a search is asked for, or none: what the model's file says of the other goes
        base = dataclasses.replace(base, num_return_sequences=1, **BEAMS_OFF)
        if not _is_off(flags["num_beams"], 1):
            base = dataclasses.replace(base, do_sample=None, **SAMPLING_OFF)
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
