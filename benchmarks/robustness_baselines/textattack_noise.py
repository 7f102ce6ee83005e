"""TextAttack's EasyData without the parts that need WordNet (swap and delete of words), and its CharSwap.

    python -m venv textattack && textattack/bin/pip install textattack torch
    textattack/bin/python textattack_noise.py train.jsonl --out train-textattack.jsonl
"""

import random

from rows import main
from textattack.augmentation import Augmenter, CharSwapAugmenter
from textattack.transformations import WordDeletion, WordInnerSwapRandom

random.seed(0)
AUGMENTERS = [
    Augmenter(transformation=WordInnerSwapRandom(), pct_words_to_swap=0.1, transformations_per_example=1),
    Augmenter(transformation=WordDeletion(), pct_words_to_swap=0.1, transformations_per_example=1),
    CharSwapAugmenter(pct_words_to_swap=0.1, transformations_per_example=1),
]


def english(text: str) -> str:
    """One of the three, CharSwap half of the time."""
    augmenter = random.choice([*AUGMENTERS[:2], AUGMENTERS[2], AUGMENTERS[2]])
    try:
        return augmenter.augment(text)[0]
    except (IndexError, ValueError, AssertionError):  # it cannot do with very short texts
        return text


if __name__ == "__main__":
    main(__doc__ or "", english=english)
