"""What preparing needs beyond the package itself."""

from __future__ import annotations

import importlib.util

from duologue.errors import DuologueError


def require_extra(executor: str) -> None:
    """Raises DuologueError where datatrove, or Ray for its executor, is not installed."""
    needed = ["datatrove", *(["ray"] if executor == "ray" else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise DuologueError(f'{" and ".join(missing)} not installed; preparing needs: pip install "duologue[scale]"')
