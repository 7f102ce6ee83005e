"""JSON from strangers: what is refused costs no time."""

from __future__ import annotations

import time

import pytest

from duologue.errors import ModelFolderError
from duologue.transformer.strict_json import parse_object

SECONDS = 2.0


def test_a_key_that_stands_twice_among_very_many_is_found_at_once() -> None:
    keys = [f'"{number:x}": 1' for number in range(100_000)]
    begin = time.perf_counter()
    with pytest.raises(ModelFolderError, match="the key '1869f' stands twice"):
        parse_object(("{" + ", ".join([*keys, keys[-1]]) + "}").encode(), where="here")
    assert time.perf_counter() - begin < SECONDS


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "-Infinity"])
def test_a_number_is_finite(number: str) -> None:
    with pytest.raises(ModelFolderError, match="number"):
        parse_object(f'{{"rope_theta": {number}}}'.encode(), where="here")
