"""The run folder: ``runs/<recipe>/``, with a folder for each stage, and what makes a stage finished."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from duologue.config import to_mapping
from duologue.durable_files import make_folder, new_folder, remove_leftovers, replace_file
from duologue.errors import BusyError, RunFolderError
from duologue.folder_lock import locked
from duologue.pipeline.recipe import NamedRecipe

LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """Where a recipe's run is kept."""

    path: Path

    @classmethod
    def of(cls, named: NamedRecipe, out: Path | None) -> RunFolder:
        """The folder given, or ``runs/<recipe>`` in the current folder."""
        return cls(out if out is not None else Path("runs") / named.name)

    @property
    def data(self) -> Path:
        """Tokenised corpora."""
        return self.path / "data"

    @property
    def tokenizer(self) -> Path:
        """The trained tokenizer."""
        return self.path / "tokenizer"

    @property
    def model(self) -> Path:
        """The newest stage's model."""
        return self.path / "model"

    def stage(self, name: str) -> Path:
        """A stage's folder."""
        return self.path / name

    def describe(self, named: NamedRecipe) -> None:
        """Writes recipe, resolved settings and environment, so that the run explains itself."""
        self.make()
        write_json(self.path / "resolved.json", to_mapping(named.recipe))
        packages = {name: _version(name) for name in ("duologue", "torch", "tokenizers", "safetensors", "numpy")}
        machine = {"python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count()}
        write_json(self.path / "env.json", {"packages": packages, **machine})
        write_text(self.path / "recipe.toml", _as_toml(to_mapping(named.recipe)))

    def publish(self, stage: str) -> None:
        """Makes a stage's model the newest one of the run."""
        trained = self.stage(stage) / "model"
        replace_folder(self.model, lambda partial: shutil.copytree(trained, partial, dirs_exist_ok=True))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """This process's alone, until it leaves or ends; what a killed one left half written is taken away.

        Raises:
            RunFolderError: another process is at work in it.
        """
        self.make()
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path / LOCK))
                for folder in (self.path, *(path for path in self.path.iterdir() if path.is_dir())):
                    remove_leftovers(folder)
            except BusyError as error:
                remedy = "wait for it, or give another --out"
                raise RunFolderError(f"{error}, which trains in this folder; {remedy}") from None
            except OSError as error:
                raise _not_written(self.path, error) from None
            yield

    def make(self) -> None:
        """Makes the folder, where it is not there yet."""
        try:
            make_folder(self.path)
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be made: {error.strerror}; give another --out") from None


def replace_folder(target: Path, fill: Callable[[Path], object]) -> None:
    """A folder that appears whole: filled under a hidden name, then put in the place of the old one."""
    try:
        with new_folder(target) as partial:
            fill(partial)
    except (OSError, SafetensorError) as error:
        raise _not_written(target, error) from None


def write_text(path: Path, text: str) -> None:
    """Writes a file whole: under another name first, then renamed."""
    try:
        replace_file(path, text.encode("utf-8"))
    except OSError as error:
        raise _not_written(path, error) from None


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file, or None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no JSON, or no UTF-8
        return None


def set_aside(path: Path) -> Path:
    """Moves a run folder out of the way, to ``<name>-<date and time>``, and gives its new place."""
    aside = path.with_name(f"{path.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        path.rename(aside)
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: cannot be set aside as {aside.name}: {error}; give another --out") from None
    return aside


def _not_written(path: Path, error: OSError | SafetensorError) -> RunFolderError:
    reason = error.strerror if isinstance(error, OSError) else error
    return RunFolderError(f"{path}: cannot be written: {reason or error}; free space and start again")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _as_toml(tables: dict[str, dict[str, Any]]) -> str:
    lines = ["# All settings of this run, defaults included."]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml_value(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
