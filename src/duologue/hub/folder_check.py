"""Proof that a model folder is what it says: safe, whole, and the same in other people's hands."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from duologue.conversation import Conversation
from duologue.errors import DuologueError
from duologue.hub.hashes import read_hashes, sha256_of
from duologue.hub.inspection import inspect_model
from duologue.tokenizer.encode_conversation import encode_conversation, encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.attention import document_attention
from duologue.transformer.weights import load_transformer

LOGITS_WITHIN = 1e-3  # of float32 logits, on models of any depth
PROBE = "The quick brown fox jumps over the lazy dog; 12 + 30 = 42. 你好，今天天气怎么样？"
DIALOGUES = (
    Conversation.of("Hello!", "Hi there. How are you?", "Fine, thanks; and 3 + 4?"),
    Conversation.of("你好！", "你好，有什么可以帮你？", "再见。", system="请简短回答。"),
)
CARD_SECTIONS = ("Data", "Training", "Evaluation", "Limits")


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        detail: what was seen.
    """

    check: str
    outcome: Outcome
    detail: str


def check_folder(folder: Path) -> Iterator[Finding]:
    """All checks, each as it ends; one that cannot be made here says why."""
    checks: dict[str, Callable[[Path], Finding]] = {
        "nothing that can run": _is_safe,
        "files are those of SHA256SUMS": _has_its_hashes,
        "ids are those of the Jinja template": _has_the_ids_of_its_template,
        "logits are those of transformers": _has_the_logits_of_transformers,
        "card is complete": _has_a_card,
    }
    for name, check in checks.items():
        try:
            finding = check(folder)
        except DuologueError as error:
            finding = Finding("", Outcome.FAILED, str(error))
        yield Finding(name, finding.outcome, finding.detail)
        if check is _is_safe and finding.outcome is Outcome.FAILED:
            return


def _verdict(problem: str, seen: str) -> Finding:
    return Finding("", Outcome.FAILED, problem) if problem else Finding("", Outcome.PASSED, seen)


def _is_safe(folder: Path) -> Finding:
    inspect_model(folder)
    risky = [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".py")]
    return _verdict(f"holds {', '.join(risky)}; delete them" if risky else "", "safetensors and JSON only")


def _has_its_hashes(folder: Path) -> Finding:
    hashes = read_hashes(folder)
    if not hashes:
        return Finding("", Outcome.SKIPPED, "the folder has no SHA256SUMS")
    wrong = [name for name, digest in hashes.items()
             if not (folder / name).is_file() or sha256_of(folder / name) != digest]  # fmt: skip
    return _verdict(f"changed or missing: {', '.join(wrong)}" if wrong else "", f"{len(hashes)} files")


def _has_the_ids_of_its_template(folder: Path) -> Finding:
    theirs = _from_transformers("AutoTokenizer", folder)
    if theirs is None:
        return Finding("", Outcome.SKIPPED, "needs the package transformers")
    ours = Tokenizer.from_pretrained(folder)
    for dialogue in DIALOGUES:
        messages = [message.to_dict() for message in dialogue.messages]
        whole, prompt = encode_conversation(ours, dialogue).input_ids, encode_prompt(ours, dialogue)
        for adds, expected in ((False, whole), (True, prompt)):
            rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=adds)
            found = theirs(rendered, add_special_tokens=False)["input_ids"]
            if found != expected:
                place = next((i for i, pair in enumerate(zip(found, expected, strict=False)) if len({*pair}) > 1), 0)
                return _verdict(f"differ from the {place + 1}th token of {dialogue.messages[0].content!r} on", "")
    return _verdict("", f"{len(DIALOGUES)} dialogues")


def _has_the_logits_of_transformers(folder: Path) -> Finding:
    theirs = _from_transformers("AutoModelForCausalLM", folder, dtype=torch.float32)
    if theirs is None:
        return Finding("", Outcome.SKIPPED, "needs the package transformers")
    ours = load_transformer(folder)
    input_ids = torch.tensor([Tokenizer.from_pretrained(folder).encode(PROBE)])
    with torch.inference_mode():
        expected = theirs(input_ids).logits
        places = torch.arange(input_ids.shape[1])[None]
        found = ours.logits(ours.hidden(input_ids, places, document_attention(torch.ones_like(input_ids))))
    gap = float((found - expected).abs().max())
    within = f"largest difference {gap:.1e}"
    return _verdict("" if gap <= LOGITS_WITHIN else f"{within}, more than {LOGITS_WITHIN:g}", within)


def _has_a_card(folder: Path) -> Finding:
    path = folder / "README.md"
    card = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lacking = [name for name in CARD_SECTIONS if not re.search(rf"^## {name}$", card, flags=re.MULTILINE)]
    if not re.search(r"^license: \S+", card, flags=re.MULTILINE):
        lacking = ["license", *lacking]
    problem = f"README.md lacks {', '.join(lacking)}" if lacking else ""
    return _verdict(problem, "licence, data, training, evaluation, limits")


def _from_transformers(kind: str, folder: Path, **options: Any) -> Any:
    """The folder as ``transformers`` loads it: from disk alone, and never with code of its own."""
    if importlib.util.find_spec("transformers") is None:
        return None
    import transformers

    load = getattr(transformers, kind).from_pretrained
    return load(folder, local_files_only=True, trust_remote_code=False, **options)
