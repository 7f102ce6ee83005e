"""nlpaug's keyboard and OCR noise, as it comes.

    python -m venv nlpaug && nlpaug/bin/pip install nlpaug==1.1.11
    nlpaug/bin/python nlpaug_noise.py train.jsonl --out train-nlpaug.jsonl
"""

import random

import nlpaug.augmenter.char as nac
import numpy as np
from rows import main

random.seed(0)
np.random.seed(0)
AUGMENTERS = [nac.KeyboardAug(aug_word_p=0.1), nac.OcrAug(aug_word_p=0.1)]


def english(text: str) -> str:
    """One of the two."""
    found = random.choice(AUGMENTERS).augment(text)
    return (found[0] if isinstance(found, list) else found) or text


if __name__ == "__main__":
    main(__doc__ or "", english=english)
