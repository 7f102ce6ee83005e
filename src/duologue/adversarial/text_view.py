"""A text as the families of noise see it: its words, its Chinese characters, and what of it they may touch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from duologue.adversarial.edits import Span
from duologue.adversarial.protected import HAN, PROTECTED

Lang = Literal["en", "zh"]

WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")
GAP = re.compile(r"(?<=[A-Za-z,;]) (?=[A-Za-z])")
HAN_RUN = re.compile(f"[{HAN}]+")
MARK = re.compile("[,.!?;:，。！？；：、…]+")


class TextView:
    """One text, read once for all families.

    Attributes:
        text: as it is before any edit.
        words: spans of English words that may be touched.
        gaps: spans of the single spaces between two words.
        hanzi: places of the Chinese characters that may be touched.
        marks: spans of punctuation that may be touched.
    """

    def __init__(self, text: str, protected: Iterable[Span] = ()) -> None:
        """Reads the text.

        Args:
            protected: spans that may not be touched, beside those that never may.
        """
        self.text = text
        self._mask = bytearray(len(text))
        for start, end in protected:
            self._mask[start:end] = b"\x01" * (end - start)
        for found in PROTECTED.finditer(text):
            start, end = found.span()
            self._mask[start:end] = b"\x01" * (end - start)

    def is_free(self, start: int, end: int) -> bool:
        """Whether nothing in the span is protected; an empty span is free where it does not split a protected one."""
        if start == end:
            return not (0 < start < len(self.text) and self._mask[start - 1] and self._mask[start])
        return self._mask.find(1, start, end) < 0

    @cached_property
    def words(self) -> list[Span]:
        return self._spans(WORD)

    @cached_property
    def gaps(self) -> list[Span]:
        return self._spans(GAP)

    @cached_property
    def marks(self) -> list[Span]:
        return self._spans(MARK)

    @cached_property
    def hanzi(self) -> list[int]:
        text, mask = self.text, self._mask
        runs = (range(*run.span()) for run in HAN_RUN.finditer(text))
        return [place for run in runs for place in run if not mask[place]]

    @cached_property
    def num_words(self) -> int:
        """English words, the protected ones too."""
        return num_words(self.text)

    @cached_property
    def num_hanzi(self) -> int:
        """Chinese characters, the protected ones too."""
        return num_hanzi(self.text)

    @cached_property
    def lang(self) -> Lang:
        """The language of most of the text."""
        return language_of(self.text)

    def _spans(self, pattern: re.Pattern[str]) -> list[Span]:
        spans = (found.span() for found in pattern.finditer(self.text))
        return [span for span in spans if self.is_free(*span)]


def num_words(text: str) -> int:
    """English words."""
    return sum(1 for _ in WORD.finditer(text))


def num_hanzi(text: str) -> int:
    """Chinese characters."""
    return sum(run.end() - run.start() for run in HAN_RUN.finditer(text))


def language_of(text: str) -> Lang:
    """Which of the two languages more of a text is in; a Chinese word has about two characters."""
    return "zh" if num_hanzi(text) > 2 * num_words(text) else "en"
