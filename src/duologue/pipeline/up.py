"""All stages of a recipe, with bits per byte before and after each."""

from __future__ import annotations

import itertools

from duologue.conversation import Conversation
from duologue.data.corpus import Split
from duologue.evaluation.likelihood import bits_per_byte
from duologue.pipeline.run_folder import write_json
from duologue.pipeline.stages import STAGES, Pipeline
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

MEASURED_ROWS = 300


def run_all(pipeline: Pipeline) -> dict[str, object]:
    """Tokenizer, pretraining, fine-tuning; gives the model's folder and its bits per byte after each stage."""
    pipeline.describe()
    for line in pipeline.corpus.survey():
        pipeline.display.note(line)
    pipeline.choose()
    for stage in STAGES:
        pipeline.plan(stage)  # what is wrong with the data is said before anything long begins
    bits = {"start": measure(pipeline, pipeline.first_model())}
    bits |= train_stages(pipeline)
    report: dict[str, object] = {"model": str(pipeline.run.model), "bits_per_byte": bits}
    write_json(pipeline.run.path / "report.json", report)
    pipeline.display.title(f"done: duologue chat {pipeline.run.path}")
    return report


def train_stages(pipeline: Pipeline) -> dict[str, float | None]:
    """Pretraining, then fine-tuning from it; gives bits per byte of held-out replies after each."""
    pipeline.display.title("pretraining")
    pretrained = pipeline.pretrain()
    bits = {"pretraining": measure(pipeline, load_transformer(pretrained))}
    pipeline.display.note(f"bits per byte of held-out replies: {bits['pretraining']}")
    pipeline.display.title("finetuning")
    bits["finetuning"] = measure(pipeline, load_transformer(pipeline.finetune(pretrained)))
    pipeline.display.note(f"bits per byte of held-out replies: {bits['finetuning']}")
    return bits


def measure(pipeline: Pipeline, model: Transformer) -> float | None:
    """Bits per byte of a model on replies that were kept back; None where the corpus was too small to keep any."""
    rows: list[Conversation] = [row for row in _held_out(pipeline) if isinstance(row, Conversation)]
    return round(bits_per_byte(model.eval(), pipeline.tokenizer, rows).bits_per_byte, 4) if rows else None


def _held_out(pipeline: Pipeline) -> list[object]:
    return list(itertools.islice(pipeline.corpus.finetuning_rows(Split.VALID), MEASURED_ROWS))
