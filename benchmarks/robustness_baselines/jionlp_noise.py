"""JioNLP's Chinese augmentation: homophones, characters swapped, added and deleted.

    python -m venv jionlp && jionlp/bin/pip install jionlp jieba
    jionlp/bin/python jionlp_noise.py train.jsonl --out train-jionlp.jsonl
"""

import random

import jionlp
from rows import main

random.seed(0)
WAYS = [
    jionlp.homophone_substitution,
    jionlp.homophone_substitution,
    jionlp.swap_char_position,
    jionlp.random_add_delete,
]


def chinese(text: str) -> str:
    """One of the ways."""
    found = random.choice(WAYS)(text, augmentation_num=1)
    return found[0] if found else text


if __name__ == "__main__":
    main(__doc__ or "", chinese=chinese)
