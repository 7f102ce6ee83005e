"""What a run learns from: its tokenizer, and the rows of each stage in its tokens, made once and kept.

Both are known again by what they were made from, so that no run goes on with another's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from duologue.config import to_mapping
from duologue.data.builtin.fingerprint import builtin_fingerprint
from duologue.data.corpus import Corpus, Split
from duologue.data.shards import Shards, write_shards
from duologue.errors import DataError, RunFolderError
from duologue.hub.hashes import sha256_of
from duologue.pipeline.display import Display
from duologue.pipeline.recipe import Recipe
from duologue.pipeline.run_folder import RunFolder, read_json, replace_folder, write_json
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.identity import difference

StageName = Literal["pretraining", "finetuning"]
NO_REPLIES = "nothing to learn from: no dialogue has an assistant turn; expected rows with a reply by the assistant"


@dataclass
class TokenizedRows:
    """The rows of a run's stages.

    Attributes:
        init: a model folder whose tokenizer is taken over.
        checks: whether this process compares what is kept with its hashes; of several, one does.
    """

    recipe: Recipe
    run: RunFolder
    display: Display
    init: Path | None = None
    checks: bool = True

    @cached_property
    def corpus(self) -> Corpus:
        """All rows to learn from, as text."""
        return Corpus(self.recipe.data)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer: that of ``init`` where there is one, else newly trained, or as it was trained before."""
        origin = self._tokenizer_origin()
        found = read_json(self.run.tokenizer / "origin.json")
        if found is None:
            taken = self._prepared or self.init
            self._keep_tokenizer(Tokenizer.from_pretrained(taken) if taken else self._train_tokenizer(), origin)
        elif other := difference(found, origin):
            raise RunFolderError(f"{self.run.tokenizer}: was made from other data or settings: {other}; give another "
                                 f"--out, or delete {self.run.path} to start anew")  # fmt: skip
        return Tokenizer.from_pretrained(self.run.tokenizer)

    def shards(self, stage: StageName, split: Split) -> Shards:
        """The tokenised rows of a stage."""
        tokenizer = self.tokenizer
        if self._prepared is not None:
            return self._prepared_shards(self._prepared.parent, split)
        if stage == "finetuning" and not self.corpus.paths:
            stage = "pretraining"  # the same rows; what carries no loss is left out when they are packed
        rows = self.corpus.pretraining_rows if stage == "pretraining" else self.corpus.finetuning_rows
        folder = self.run.data / f"{stage}-{split}"
        fingerprint = self._fingerprint(stage)
        manifest = read_json(folder / "manifest.json")
        if isinstance(manifest, dict) and manifest.get("tokenizer") == fingerprint:
            try:
                return Shards.open(folder, is_checked=not self.checks)
            except RunFolderError as error:
                self.display.note(f"{error}; the rows are tokenised anew")
        with self.display.counting(f"{stage} rows tokenised ({split})") as count:
            folder.parent.mkdir(parents=True, exist_ok=True)
            return write_shards(
                rows(split), tokenizer, folder, fingerprint=fingerprint, if_empty=NO_REPLIES, on_progress=count
            )

    def validation_shards(self, stage: StageName) -> Shards | None:
        """The rows that are kept back; None where a corpus is too small to keep any back."""
        try:
            return self.shards(stage, Split.VALID)
        except DataError:
            return None

    def _prepared_shards(self, corpus: Path, split: Split) -> Shards:
        try:
            return Shards.open(corpus / "tokens" / split, is_checked=not self.checks)
        except RunFolderError as error:  # unlike this run's own rows they cannot be made again from here
            raise RunFolderError(f"{error}; delete {corpus} and prepare it anew") from None

    @cached_property
    def _prepared(self) -> Path | None:
        """The tokenizer of a prepared corpus; None where the corpus is none.

        Raises:
            DataError: it was prepared without one, or with another than that of the model to begin with.
        """
        if not self.recipe.data.prepared:
            return None
        folder = Path(self.recipe.data.prepared)
        if not (folder / "manifest.json").is_file() or not (folder / "tokens").is_dir():
            remedy = "prepare it with duologue data prepare --tokenizer MODEL"
            raise DataError(f"{folder}: holds no finished tokens; {remedy}")
        tokenizer = folder / "tokenizer"
        if self.init and sha256_of(self.init / "tokenizer.json") != sha256_of(tokenizer / "tokenizer.json"):
            raise DataError(f"{folder}: has the tokens of another tokenizer than {self.init}; prepare it with "
                            f"--tokenizer {self.init}")  # fmt: skip
        return tokenizer

    def _train_tokenizer(self) -> Tokenizer:
        config = self.recipe.tokenizer
        with self.display.counting("texts read for the tokenizer") as count:
            texts = self.corpus.tokenizer_texts(max_bytes=config.max_train_mb * 1e6)
            return Tokenizer.train(_counted(texts, count), config)

    def _keep_tokenizer(self, tokenizer: Tokenizer, origin: dict[str, Any]) -> None:
        def fill(folder: Path) -> None:
            length = self.recipe.transformer.max_position_embeddings
            tokenizer.save_pretrained(folder, max_length=length)
            write_json(folder / "origin.json", origin)

        replace_folder(self.run.tokenizer, fill)

    def _tokenizer_origin(self) -> dict[str, Any]:
        if self._prepared is not None:
            return {"prepared": sha256_of(self._prepared / "tokenizer.json")}
        if self.init is not None:
            return {"init": sha256_of(self.init / "tokenizer.json")}
        return {"settings": to_mapping(self.recipe.tokenizer), "data": self._corpus_fingerprint()}

    def _fingerprint(self, stage: StageName) -> str:
        return _sha256_of_json([stage, self._corpus_fingerprint(), sha256_of(self.run.tokenizer / "tokenizer.json")])

    def _corpus_fingerprint(self) -> str:
        files = [[path.name, sha256_of(path)] for path in self.corpus.paths]
        builtin = builtin_fingerprint() if self.recipe.data.builtin_dialogues else None
        return _sha256_of_json([to_mapping(self.recipe.data) | {"files": files}, builtin])


def _sha256_of_json(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _counted(texts: Iterator[str], count: Callable[[int], None]) -> Iterator[str]:
    number = 0
    for number, text in enumerate(texts, start=1):
        yield text
        if number % 1000 == 0:
            count(number)
    count(number)
