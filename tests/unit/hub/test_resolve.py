"""From what a user calls a model to its folder."""

from pathlib import Path

import pytest

from duologue.errors import ModelFolderError
from duologue.hub.resolve import resolve_model


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for run in ("quickstart", "dialogue-small"):
        (tmp_path / "runs" / run / "model").mkdir(parents=True)
        (tmp_path / "runs" / run / "model" / "config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("name", ["runs/quickstart", "runs/quickstart/model", "runs/quickstart/"])
@pytest.mark.usefixtures("workplace")
def test_model_folders_and_run_folders_are_found(name: str) -> None:
    assert resolve_model(name) == Path("runs/quickstart/model")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("runs/quikstart", "no such model folder or run folder; did you mean runs/quickstart"),
        ("quickstart", "did you mean runs/quickstart"),
        ("elsewhere", "finished runs here: runs/dialogue-small, runs/quickstart"),
        (".", "holds neither config.json"),
    ],
)
@pytest.mark.usefixtures("workplace")
def test_what_is_not_there_is_told_with_what_is(name: str, message: str) -> None:
    with pytest.raises(ModelFolderError, match=message):
        resolve_model(name)


def test_without_any_run_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFolderError, match="start with duologue quickstart"):
        resolve_model("mine")
