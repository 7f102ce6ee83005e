"""From what a user calls a model to its folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from duologue.errors import ModelFolderError
from duologue.hub.cache import pulled_model
from duologue.hub.inspection import inspect_model

RUNS = Path("runs")
MANY = 5


def resolve_model(name: str) -> Path:
    """The model folder that a name means: the folder itself, the newest model of a run folder, or a pulled model.

    Raises:
        ModelFolderError: it means none; the message says what was looked for and which runs are here.
    """
    folder = Path(name)
    for candidate in (folder, folder / "model"):
        if os.path.lexists(candidate / "config.json"):  # a pipe of that name is told, not waited for
            inspect_model(candidate)
            return candidate
    pulled = pulled_model(name)
    if pulled is not None:
        inspect_model(pulled)
        return pulled
    if folder.exists() and not folder.is_dir():
        inspect_model(folder)
        raise ModelFolderError(f"{name}: is a GGUF file; make a model folder of it with duologue pull gguf:{name}")
    if folder.is_dir():
        found = "the folder holds neither config.json (a model folder) nor model/config.json (a run folder)"
        raise ModelFolderError(f"{name}: {found}{_suggestion(folder.name)}")
    raise ModelFolderError(f"{name}: no such model folder or run folder{_suggestion(folder.name)}")


def _suggestion(name: str) -> str:
    runs = sorted(path.parents[1].name for path in RUNS.glob("*/model/config.json"))
    if not runs:
        return f"; there is no finished run under {RUNS}/ either: start with duologue quickstart or duologue pull"
    near = difflib.get_close_matches(name, runs, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {RUNS / near[0]}?"
    more = f" and {len(runs) - MANY} more" if len(runs) > MANY else ""
    return f"; finished runs here: {', '.join(str(RUNS / run) for run in runs[:MANY])}{more}"
