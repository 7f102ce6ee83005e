"""A run's tokenizer and tokenised rows are made once, and never taken for those of other data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from duologue.conversation import Conversation
from duologue.data.config import DataConfig
from duologue.data.corpus import Split
from duologue.errors import RunFolderError
from duologue.pipeline.display import Display
from duologue.pipeline.recipe import Recipe
from duologue.pipeline.run_folder import RunFolder
from duologue.pipeline.tokenized_rows import TokenizedRows
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer

SPLITS = (Split.TRAIN, Split.VALID)


@pytest.fixture
def rows(tmp_path: Path, dialogues: list[Conversation]) -> TokenizedRows:
    """Of sixty dialogues of a user."""
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(row.to_json() + "\n" for row in dialogues[:60]), encoding="utf-8")
    data = DataConfig(files=(str(path),), validation_rows=10)
    recipe = Recipe(tokenizer=TokenizerConfig(vocab_size=400), data=data)
    return TokenizedRows(recipe, RunFolder(tmp_path / "run"), Display(Console(quiet=True)))


def again(rows: TokenizedRows) -> TokenizedRows:
    return TokenizedRows(rows.recipe, rows.run, rows.display, rows.init)


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_is_used_again(rows: TokenizedRows) -> None:
    first = {split: rows.shards("finetuning", split).manifest for split in SPLITS}
    made = files_of(rows.run.path)
    assert made
    assert {split: again(rows).shards("finetuning", split).manifest for split in SPLITS} == first
    assert files_of(rows.run.path) == made


def test_other_data_do_not_get_into_the_same_run(rows: TokenizedRows) -> None:
    rows.shards("pretraining", Split.TRAIN)
    (path,) = rows.corpus.paths
    path.write_text(path.read_text(encoding="utf-8") + Conversation.of("a", "b").to_json() + "\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match="was made from other data or settings"):
        again(rows).shards("pretraining", Split.TRAIN)


def test_the_tokenizer_of_a_model_is_taken_over(
    rows: TokenizedRows, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    folder = write_model(tmp_path / "start")
    started = TokenizedRows(rows.recipe, RunFolder(tmp_path / "other"), rows.display, folder)
    assert started.tokenizer.to_json() == Tokenizer.from_pretrained(folder).to_json()
    with pytest.raises(RunFolderError, match="was made from other data or settings"):
        _ = TokenizedRows(rows.recipe, started.run, rows.display).tokenizer


def test_too_few_rows_to_keep_any_back(rows: TokenizedRows) -> None:
    (path,) = rows.corpus.paths
    path.write_text(Conversation.of("a", "b").to_json() + "\n", encoding="utf-8")
    assert again(rows).validation_shards("finetuning") is None
