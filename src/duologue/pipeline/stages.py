"""The stages of a recipe, one after the other: pretraining, fine-tuning.

Each stage looks for what it has done already, so the same command again goes on where the last one stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from duologue.adversarial.policy import Policy
from duologue.adversarial.table_files import tables_version
from duologue.config import to_mapping
from duologue.conversation import Conversation
from duologue.data.corpus import Corpus, Split
from duologue.data.loader import Loader
from duologue.data.packing import PackingPlan, plan_packing
from duologue.data.shards import Shards
from duologue.errors import ConfigError, ContextLengthError, DataError, RunFolderError
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.hub.hashes import sha256_of
from duologue.pipeline.card_facts import card_facts
from duologue.pipeline.choice import Choice
from duologue.pipeline.choosing import Chooser, settled_choice
from duologue.pipeline.display import Display
from duologue.pipeline.memory import Setup, describe_memory, require_memory
from duologue.pipeline.model_folder import write_model_folder
from duologue.pipeline.recipe import NamedRecipe, Recipe
from duologue.pipeline.run_folder import RunFolder, read_json, replace_folder, write_json
from duologue.pipeline.tokenized_rows import NO_REPLIES, TokenizedRows
from duologue.pipeline.tokenized_rows import StageName as StageName
from duologue.runtime import Machine, best_device, keep_freed_memory, measure_machine, seed_everything
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.config import StageConfig
from duologue.training.cost import MemoryEstimate
from duologue.training.counted_start import count_pairs, counted_start
from duologue.training.harder_rows import ROUND, SPARE, HarderRows, growth
from duologue.training.identity import difference
from duologue.training.loop import Trainer
from duologue.training.metrics import plot_loss
from duologue.training.stage import Hooks, Stage
from duologue.training.world import World, joined_world
from duologue.transformer.lora import add_lora, merge_lora, save_adapter
from duologue.transformer.lora_config import LoRAConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer, read_config, weight_files

STAGES: tuple[StageName, ...] = ("pretraining", "finetuning")
FIXED_PROMPTS = ("Hello! Who are you?", "你好！你是谁？")
MAX_COUNTED_VOCAB = 16_384  # the table of its pairs takes 1 GiB, and is held twice
MATERIAL_ROWS = 5_000  # from which exchanges for noise are taken
LONGEST_ROW = 1024  # unless the recipe asks for more: attention costs the square of it


@dataclass(frozen=True)
class StagePlan:
    """What a stage will do, settled before it starts.

    Attributes:
        config: with the length of a row.
        shards: the training rows, tokenised.
        packing: how they are packed.
        harder: makes them harder as they are read, where the recipe wants that.
        memory: what it will hold in memory.
    """

    config: StageConfig
    shards: Shards
    packing: PackingPlan
    harder: HarderRows | None
    memory: MemoryEstimate


@dataclass
class Pipeline:
    """A recipe on its way through its stages.

    Attributes:
        init: a model folder to start from; its tokenizer and shape are taken over.
        world: the processes that train together; the first one writes, speaks and prepares for all.
        choice: what was chosen for the minutes, where the recipe leaves the size open.
    """

    named: NamedRecipe
    run: RunFolder
    display: Display
    init: Path | None = None
    world: World = World()  # noqa: RUF009
    choice: Choice | None = None
    _choosing_s = 0.0

    @property
    def recipe(self) -> Recipe:
        """The settings."""
        return self.named.recipe

    @cached_property
    def rows(self) -> TokenizedRows:
        """What the stages learn from."""
        return TokenizedRows(self.recipe, self.run, self.display, self.init, checks=self.world.is_first)

    @property
    def corpus(self) -> Corpus:
        """All rows to learn from, as text."""
        return self.rows.corpus

    @property
    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer."""
        return self.rows.tokenizer

    @cached_property
    def machine(self) -> Machine:
        """Measured once, the first process's for all; sets the process up for training too."""
        keep_freed_memory()
        return Machine(**self.world.first(asdict(measure_machine())))

    @contextlib.contextmanager
    def together(self) -> Iterator[World]:
        """Joins the processes that torchrun has started; the first one claims the run folder and speaks for all."""
        with joined_world(best_device()) as world:
            self.world = world
            if not world.is_first:
                self.display = Display.silent()
            claim = self.run.claimed() if world.is_first else contextlib.nullcontext()
            with claim, world.listening(lambda: str(self.run.path)):
                yield world

    def choose(self) -> None:
        """Settles shape, batch and rows where the recipe leaves them to the minutes; once, and kept."""
        if not self.recipe.pretraining.is_open or self.init:
            return
        with self.world.first_goes_first():
            train, validation = self.rows.shards("pretraining", Split.TRAIN), self.rows.validation_shards("pretraining")
        start = time.monotonic()
        chooser = Chooser(self.recipe, self.tokenizer.vocab_size, train, validation, self.machine, self.world)
        self.choice = settled_choice(chooser, self.run.stage("pretraining"), on_note=self.display.note)
        self.named, self._choosing_s = self.choice.applied(self.named), time.monotonic() - start

    def describe(self) -> None:
        """Writes recipe, settings and environment into the run folder."""
        if self.world.is_first:
            self.run.describe(self.named)

    def pretrain(self) -> Path:
        """Next-token prediction on everything; gives the model's folder."""
        self.choose()
        self.describe()  # with what was chosen
        return self._train("pretraining", self.init)

    def finetune(self, start: Path | None = None) -> Path:
        """Learns the assistant's turns, from ``start``, else ``init``, else this run's pretrained model."""
        start = start or self._start("finetuning")
        if start is None:
            found = f"{self.run.path}: has no pretrained model to fine-tune"
            raise RunFolderError(f"{found}; run duologue pretrain first, or give --init MODEL")
        return self._train("finetuning", start)

    def plan(self, stage: StageName) -> StagePlan:
        """How a stage's training rows are packed, and what memory it needs.

        Raises:
            ConfigError: a stage that is still to be trained does not fit into the machine's memory.
        """
        config = self._stage_config(stage)
        shards = self.rows.shards(stage, Split.TRAIN)
        packing, harder = self._pack(stage, shards, config), self._harder_rows(stage)
        if harder:
            packing = self._with_room(packing, harder, shards, config)
        epoch_steps = packing.num_rows / config.rows_a_step
        steps = 0 if config.minutes else config.steps or config.epochs * epoch_steps
        is_compiled = config.is_worth_compiling(steps)
        setup = Setup(stage, self.shape(stage), config, is_compiled, self.world)
        is_finished = (self.run.stage(stage) / "finished.json").is_file()
        memory = setup.memory(self.machine) if is_finished else require_memory(setup, self.machine)
        return StagePlan(config, shards, packing, harder, memory)

    def shape(self, stage: StageName) -> Transformer:
        """A stage's model without numbers, to be counted; with LoRA's factors, where it trains those."""
        start = self._start(stage)
        known = read_config(start) if start else (self.recipe.transformer, self.tokenizer.vocab_size)
        with torch.device("meta"):
            model = Transformer(known[0], vocab_size=known[1])
        return add_lora(model, self._lora(stage), seed=0)

    def first_model(self) -> Transformer:
        """The model before any training: that of ``init``, or freshly drawn."""
        return self._first_model(self.init)

    def _train(self, name: StageName, start: Path | None) -> Path:
        target, world = self.run.stage(name) / "model", self.world
        _ = self.machine  # which all processes measure together
        with world.first_goes_first():
            tokenizer, plan = self.tokenizer, self.plan(name)
            identity = self._identity(name, plan, start)
            if self._is_finished(name, identity):
                self.display.note(f"{name}: done already")
                return target
            stage = self._stage(name, plan, identity)
        model = add_lora(self._first_model(start), self._lora(name), seed=plan.config.seed)
        with self.display.training(name) as view:
            show_replies = lambda model, metrics: self._show_replies(model, metrics.step)  # noqa: E731
            hooks = Hooks(view.on_step, show_replies, self.display.note) if world.is_first else Hooks()
            trainer = Trainer(stage, model, hooks, world)
            trained = trainer.run()
        if self.choice and name == "pretraining" and trainer.looks.last_loss:
            self.display.note(f"{name}: {self.choice.reached(trainer.looks.last_loss)}")
        if world.is_first:
            self._keep(name, self._merged(name, trained, start), tokenizer, trainer)
            self.run.publish(name)
            write_json(self.run.stage(name) / "finished.json", identity)
        world.wait()
        return target

    def _stage(self, name: StageName, plan: StagePlan, identity: dict[str, Any]) -> Stage:
        config, packing, shards = plan.config, plan.packing, plan.shards
        validation_shards = self.rows.validation_shards(name)
        started = time.monotonic() - (self._choosing_s if name == "pretraining" else 0.0)
        loader = self._loader(name, config, packing, shards)
        validation = None
        if validation_shards is not None:
            kept_back = self._plan_packing(name, validation_shards, config, reserve=packing.reserve)
            validation = self._loader(name, config, kept_back, validation_shards) if kept_back.num_rows else None
        if config.patience and validation is None:
            self.display.note(f"{name}: too few dialogues to keep any back, so it trains to its end")
        rows = f"{packing.num_rows:,} rows of {packing.sequence_length}, {packing.fill:.1%} full"
        self.display.note(f"{name}: {shards.manifest.num_tokens / 1e6:.1f} M tokens in {rows}")
        self.display.note(f"{name}: {describe_memory(plan.memory, self.machine)}")
        if packing.num_dropped:
            too_long = f"longer than {packing.sequence_length} tokens with their question"
            self.display.note(f"{packing.num_dropped:,} replies are {too_long} and left out")
        folder, prepare = self.run.stage(name), self._first_weights(config, shards)
        return Stage(name, config, loader, validation, folder, self.machine, started, identity, prepare, plan.harder)

    def _harder_rows(self, name: StageName) -> HarderRows | None:
        """What makes a stage's rows harder, with material from the first of its dialogues."""
        config = self.recipe.adversarial
        if name != "finetuning" or not config.is_on:
            return None
        rows = itertools.islice(self.corpus.finetuning_rows(Split.TRAIN), MATERIAL_ROWS)
        policy = Policy.of(config, (row for row in rows if isinstance(row, Conversation)))
        return HarderRows(policy, self.tokenizer)

    def _with_room(self, packing: PackingPlan, harder: HarderRows, shards: Shards, config: StageConfig) -> PackingPlan:
        """The same rows, longer by what noise adds to them: each step has the dialogues that it has without noise."""
        reserve = ROUND * math.ceil(SPARE * growth(harder, shards, packing) * packing.sequence_length / ROUND)
        return self._plan_packing("finetuning", shards, config, reserve=reserve)

    def _first_weights(self, config: StageConfig, shards: Shards) -> Callable[[Transformer, torch.dtype], None] | None:
        if config.start == "random":
            return None

        def prepare(model: Transformer, dtype: torch.dtype) -> None:
            with self.display.counting("steps of a table of pairs fitted to what was counted") as count:
                pairs = count_pairs(shards, model.vocab_size)
                counted_start(model, pairs, seed=config.seed, dtype=dtype, on_step=count)

        return prepare

    def _loader(self, name: StageName, config: StageConfig, packing: PackingPlan, shards: Shards) -> Loader:
        only_learned, pad = name == "finetuning", self.tokenizer.end_of_text_id
        return Loader(shards, packing, config.seed, only_learned, pad)

    def _pack(self, name: StageName, shards: Shards, config: StageConfig) -> PackingPlan:
        packing = self._plan_packing(name, shards, config)
        if not packing.num_rows:
            length = config.sequence_length
            too_long = f"{name}: every reply, with its question, is longer than the context of {length} tokens"
            remedy = "raise transformer.max_position_embeddings"
            raise DataError(f"{too_long}; {remedy}" if packing.num_dropped else NO_REPLIES)
        return packing

    def _plan_packing(
        self, name: StageName, shards: Shards, config: StageConfig, *, reserve: int = 0
    ) -> PackingPlan:
        return plan_packing(
            shards, sequence_length=config.sequence_length, turn_id=self.tokenizer.start_of_turn_id,
            only_learned=name == "finetuning", seed=config.seed, reserve=reserve,
        )  # fmt: skip

    def _stage_config(self, name: StageName) -> StageConfig:
        config: StageConfig = getattr(self.recipe, name)
        start = self._start(name)
        shape = read_config(start)[0] if start else self.recipe.transformer
        context = shape.max_position_embeddings
        length = config.sequence_length or min(context, config.batch_tokens, LONGEST_ROW)
        if length > context:
            raise ConfigError(f"{name}.sequence_length: is {length}; the model's context is {context}: raise "
                              "transformer.max_position_embeddings")  # fmt: skip
        if config.start == "counts":
            self._require_countable(name, start)
        lora = self._lora(name)
        rate = lora.learning_rate if lora.rank else config.learning_rate
        config = replace(config, sequence_length=length, learning_rate=rate)
        if config.rows_a_step < self.world.size:
            found = f"is {config.batch_tokens}, which are {config.rows_a_step} rows a step"
            expected = f"one for each of {self.world.size} processes: {self.world.size * length}"
            raise ConfigError(f"{name}.batch_tokens: {found}; expected {expected}")
        return config

    def _require_countable(self, name: StageName, start: Path | None) -> None:
        """Counts are a start for a fresh model, and a table of all pairs has to fit."""
        where = f"{name}.start: is 'counts'"
        if start is not None:
            raise ConfigError(f"{where}, which is for a fresh model, not for one that knows something; take 'random'")
        if self.tokenizer.vocab_size > MAX_COUNTED_VOCAB:
            found = f"a vocabulary of {self.tokenizer.vocab_size:,} tokens has too many pairs"
            raise ConfigError(f"{where}, and {found}; expected at most {MAX_COUNTED_VOCAB:,}, or 'random'")

    def _first_model(self, start: Path | None) -> Transformer:
        if start is not None:
            return load_transformer(start).requires_grad_(True).train()
        seed_everything(self.recipe.pretraining.seed)
        return Transformer(self.recipe.transformer, vocab_size=self.tokenizer.vocab_size)

    def _keep(self, name: StageName, model: Transformer, tokenizer: Tokenizer, trainer: Trainer) -> None:
        folder = self.run.stage(name)
        plot_loss(folder / "metrics.jsonl", folder / "loss.png", title=f"{self.named.name}: {name}")
        facts = card_facts(self.named, name, trainer, self.init)
        generation = self.recipe.generation
        replace_folder(folder / "model", lambda path: write_model_folder(path, model, tokenizer, generation, facts))

    def _is_finished(self, name: StageName, identity: dict[str, Any]) -> bool:
        finished = read_json(self.run.stage(name) / "finished.json")
        if finished is None or not (self.run.stage(name) / "model" / "config.json").is_file():
            return False
        if found := difference(finished, identity):
            remedy = "give another --out, or delete that folder to train it anew"
            raise RunFolderError(f"{self.run.stage(name)}: holds a finished stage with another {found}; {remedy}")
        return True

    def _identity(self, name: StageName, plan: StagePlan, start: Path | None) -> dict[str, Any]:
        config, lora = plan.config, self._lora(name).description or None
        settings = config.binding | {"lora": lora, "rows_a_step": config.rows_a_step}
        if plan.harder:
            noise = to_mapping(self.recipe.adversarial) | {"tables": tables_version()}
            settings["adversarial"] = {key: list(one) if isinstance(one, tuple) else one for key, one in noise.items()}
        shape = to_mapping(self.recipe.transformer)
        origin = {"init": _fingerprint(start)} if start else {"shape": shape}
        return {"data": plan.shards.manifest.tokenizer, **settings, **origin}

    def _lora(self, name: StageName) -> LoRAConfig:
        return self.recipe.lora if name == "finetuning" else LoRAConfig()

    def _merged(self, name: StageName, model: Transformer, start: Path | None) -> Transformer:
        """The plain model; the adapter that is in it, if there is one, is kept apart too."""
        lora = self._lora(name)
        if start is None or not lora.rank:
            return model
        adapter = self.run.stage(name) / "adapter"
        replace_folder(adapter, lambda folder: save_adapter(model, folder, lora, base=str(start)))
        # Training in bfloat16 rounded the frozen weights; what is added to are those of the folder.
        model.load_state_dict(load_transformer(start).state_dict(), strict=False)
        return merge_lora(model)

    def _start(self, name: StageName) -> Path | None:
        return self.init or (self._pretrained() if name == "finetuning" else None)

    def _pretrained(self) -> Path | None:
        folder = self.run.stage("pretraining") / "model"
        return folder if (folder / "config.json").is_file() else None

    def _show_replies(self, model: Transformer, step: int) -> None:
        if step == 0:
            return  # it would only babble
        engine = Engine(model, self.tokenizer, max_slots=1024)
        config = GenerationConfig(max_new_tokens=32)
        for prompt in FIXED_PROMPTS:
            with contextlib.suppress(ContextLengthError):
                said = engine.generate(Conversation.of(prompt), config).sequences[0]
                self.display.note(f"step {step}  {prompt} → {self.tokenizer.decode(said)!r}")


def _fingerprint(folder: Path) -> str:
    """SHA-256 of a model's weights; of the hashes of its files, where they are several."""
    hashes = [sha256_of(path) for path in weight_files(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
