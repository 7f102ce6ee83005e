"""What the width of a beam search does to replies: held-out dialogues, many ways to search, one model.

For each way: log-probability, length, how varied the replies are and the n-best of one prompt among themselves, how
many are among the commonest, how near they come to what was really said, and what they cost. Intervals are bootstraps
over dialogues. Rows go to benchmarks/results/width.jsonl, the chart to ``--plot``.

    python benchmarks/width.py MODEL --data test.jsonl --dtype bfloat16 --plot docs/width.png
    python benchmarks/width.py MODEL --data test.jsonl --ways greedy "beams 8"

Needs sacrebleu (BLEU, Post 2018, arXiv:1804.08771). Distinct-n: Li et al. 2016, arXiv:1510.03055; self-BLEU: Zhu et al.
2018, arXiv:1802.01886.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sacrebleu.metrics import BLEU

from duologue.conversation import Conversation
from duologue.evaluation.intervals import Interval, ratio
from duologue.evaluation.items import read_rows
from duologue.evaluation.noise_cases import cases_of, spread_over
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.generation.events import GenerationOutput
from duologue.tokenizer.encode_conversation import encode_prompt

RESULTS = Path(__file__).parent / "results" / "width.jsonl"
COMMONEST = 50  # replies that count as stock phrases, of those that greedy search gives
MOST_OF_LIST = 4  # replies of a prompt that are compared with each other
SAMPLED_SEED = 0
SUBSET, NUM_SUBSETS = 100, 500  # replies among which different words are counted, and how often


def ways(max_new_tokens: int) -> dict[str, GenerationConfig]:
    """The ways to search that are compared."""

    def config(**settings: Any) -> GenerationConfig:
        return GenerationConfig(max_new_tokens=max_new_tokens, **settings)

    def beams(width: int, **settings: Any) -> GenerationConfig:
        return config(num_beams=width, num_return_sequences=min(width, MOST_OF_LIST), **settings)

    found = {"greedy": config()}
    found |= {f"beams {width}": beams(width) for width in (2, 4, 8, 16)}
    found |= {f"beams {width}, length 0": beams(width, length_penalty=0.0) for width in (4, 16)}
    found["groups 4 of 2"] = beams(8, num_beam_groups=4, diversity_penalty=0.5)
    found["stochastic 4"] = beams(4, beam_mode="stochastic", seed=SAMPLED_SEED)
    for temperature in (0.5, 0.7, 1.0):
        found[f"sampling {temperature}"] = config(
            temperature=temperature, top_p=0.9, num_return_sequences=MOST_OF_LIST, seed=SAMPLED_SEED,
            do_sample=True,
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Asked:
    """A dialogue up to its last reply, and that reply."""

    question: Conversation
    reference: str
    is_chinese: bool

    def words(self, text: str) -> list[str]:
        """Characters of Chinese, words of anything else."""
        return [sign for sign in text if not sign.isspace()] if self.is_chinese else text.lower().split()


def measure(engine: Engine, rows: list[Asked], config: GenerationConfig, common: set[str]) -> dict[str, Any]:
    """All figures of one way to search."""
    engine.forget()
    start = time.perf_counter()
    outputs = engine.generate_batch([row.question for row in rows], config)
    seconds = time.perf_counter() - start
    texts = [output.texts[0].strip() for output in outputs]
    words = [row.words(text) for row, text in zip(rows, texts, strict=True)]
    ones, expected = np.ones(len(rows)), [row.words(row.reference) for row in rows]
    self_bleu = [_self_bleu(row, output) for row, output in zip(rows, outputs, strict=True)]
    f1 = [_f1(one, other) for one, other in zip(words, expected, strict=True)]
    lengths = np.array([float(len(output.sequences[0])) for output in outputs])
    sums = np.array([output.sum_logprobs[0] for output in outputs])
    return {
        "log_probability": ratio(sums, ones),
        "log_probability_per_token": ratio(sums, lengths),
        "tokens": ratio(lengths, ones),
        "empty": ratio(np.array([float(not text) for text in texts]), ones),
        "distinct_1": _distinct(words, 1),
        "distinct_2": _distinct(words, 2),
        "self_bleu": ratio(np.array(self_bleu), ones),
        "stock_phrases": ratio(np.array([float(text in common) for text in texts]), ones),
        "repeated_4_grams": ratio(np.array([_repeats(found) for found in words]), ones),
        "f1": ratio(np.array(f1), ones),
        "bleu": _bleu(rows, texts),
        "ms_per_reply": 1e3 * seconds / len(rows),
    }


def _distinct(words: list[list[str]], size: int) -> Interval:
    """Different n-grams as a share of all in SUBSET replies, since more replies share more; 95 of 100 such subsets."""
    grams = [list(zip(*(found[at:] for at in range(size)), strict=False)) for found in words]
    rng, shares = np.random.default_rng(0), []
    for _ in range(NUM_SUBSETS):
        drawn = [gram for row in rng.permutation(len(grams))[:SUBSET] for gram in grams[row]]
        shares.append(len(set(drawn)) / max(1, len(drawn)))
    return Interval(float(np.mean(shares)), *map(float, np.percentile(shares, [2.5, 97.5])))


def _self_bleu(row: Asked, output: GenerationOutput) -> float:
    """How alike the replies to one prompt are, 0 to 1; 0 where there is one."""
    texts = output.texts[:MOST_OF_LIST]
    metric = BLEU(effective_order=True, tokenize="zh" if row.is_chinese else "13a")
    pairs = list(permutations(texts, 2))
    return sum(metric.sentence_score(one, [other]).score for one, other in pairs) / 100 / len(pairs) if pairs else 0.0


def _repeats(words: list[str]) -> float:
    grams = list(zip(*(words[at:] for at in range(4)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _f1(found: list[str], expected: list[str]) -> float:
    same = sum((Counter(found) & Counter(expected)).values())
    return 2 * same / (len(found) + len(expected)) if same else 0.0


def _bleu(rows: list[Asked], texts: list[str]) -> dict[str, float]:
    """Of all replies of a language against what was said, 0 to 100."""
    found = {}
    for lang, tokenize in (("en", "13a"), ("zh", "zh")):
        is_chinese, both = lang == "zh", zip(rows, texts, strict=True)
        pairs = [(text, row.reference) for row, text in both if row.is_chinese == is_chinese]
        if pairs:
            hypotheses, references = map(list, zip(*pairs, strict=True))
            found[lang] = BLEU(tokenize=tokenize).corpus_score(hypotheses, [references]).score
    return found


def plot(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Log-probability against variety, and what width changes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for name, row in found.items():
        x, y = row["log_probability_per_token"], row["distinct_2"]
        left.errorbar(x.value, y.value, xerr=_bars(x), yerr=_bars(y), fmt="o", markersize=4, linewidth=1)
        left.annotate(name, (x.value, y.value), textcoords="offset points", xytext=(5, 4), fontsize=7)
    left.set(xlabel="log-probability per token (accuracy)", ylabel="distinct-2 (diversity)")
    widths = {1: "greedy"} | {width: f"beams {width}" for width in (2, 4, 8, 16)}
    shown = {width: found[name] for width, name in widths.items() if name in found}
    for key, label in (("f1", "F1 to what was said"), ("stock_phrases", "stock phrases"), ("distinct_2", "distinct-2")):
        right.plot(list(shown), [row[key].value for row in shown.values()], marker="o", markersize=4, label=label)
    right.set_xscale("log", base=2)
    right.set_xticks(list(shown), [str(width) for width in shown])
    right.set(xlabel="beams", ylim=(0, None))
    right.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def _bars(found: Interval) -> list[list[float]]:
    return [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]


def main() -> None:
    """Measures, prints and keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", nargs="+")
    parser.add_argument("--name", help="of the model, in the results")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    engine = Engine.from_pretrained(given.model, dtype=given.dtype)
    asked = [
        Asked(case.question, case.row.messages[-1].content, case.row.lang == "zh")
        for case in cases_of(read_rows(given.data), limit=100_000)
    ]
    room = engine.context_length - given.max_new_tokens
    lengths = [len(encode_prompt(engine.tokenizer, row.question)) for row in asked]
    rows = spread_over([row for row, length in zip(asked, lengths, strict=True) if length <= room], given.limit)
    all_ways = ways(given.max_new_tokens)
    greedy = engine.generate_batch([row.question for row in rows], all_ways["greedy"])
    counted = Counter(output.texts[0].strip() for output in greedy)
    common = {text for text, count in counted.most_common(COMMONEST) if count > 1}
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "model": given.name or str(given.model.name),
             "dialogues": len(rows), "dtype": given.dtype}  # fmt: skip
    found = {}
    for name in given.ways or all_ways:
        found[name] = measure(engine, rows, all_ways[name], common)
        row = {key: asdict(value) if hasattr(value, "low") else value for key, value in found[name].items()}
        print(json.dumps({"way": name} | row), flush=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(about | {"way": name} | row) + "\n")
    if given.plot:
        plot(found, given.plot)


if __name__ == "__main__":
    main()
