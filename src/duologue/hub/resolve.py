"""From what a user calls a model to its folder."""

from __future__ import annotations

import difflib
from pathlib import Path

from duologue.errors import ModelFolderError

RUNS = Path("runs")
MANY = 5


def resolve_model(name: str) -> Path:
    """The model folder that a name means: the folder itself, or the newest model of a run folder.

    Raises:
        ModelFolderError: it means none; the message says what was looked for and which runs are here.
    """
    folder = Path(name)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    if folder.is_dir():
        found = "the folder holds neither config.json (a model folder) nor model/config.json (a run folder)"
        raise ModelFolderError(f"{name}: {found}{_suggestion(folder.name)}")
    raise ModelFolderError(f"{name}: no such model folder or run folder{_suggestion(folder.name)}")


def _suggestion(name: str) -> str:
    runs = sorted(path.parents[1].name for path in RUNS.glob("*/model/config.json"))
    if not runs:
        return f"; there is no finished run under {RUNS}/ either: start with duologue quickstart"
    near = difflib.get_close_matches(name, runs, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {RUNS / near[0]}?"
    more = f" and {len(runs) - MANY} more" if len(runs) > MANY else ""
    return f"; finished runs here: {', '.join(str(RUNS / run) for run in runs[:MANY])}{more}"
