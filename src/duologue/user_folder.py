"""Where duologue keeps what outlives a run: pulled models, compiled code."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """The user's own folder for duologue: ``$DUOLOGUE_HOME``, else the place that the system has for caches."""
    if given := os.environ.get("DUOLOGUE_HOME"):
        return Path(given).expanduser()
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "duologue"
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "duologue"
