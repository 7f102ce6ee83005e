"""The names that other people's programs rely on."""

import subprocess
import sys

import pytest

import duologue


def test_public_names_are_sorted() -> None:
    assert duologue.__all__ == sorted(duologue.__all__)


@pytest.mark.parametrize("name", duologue.__all__)
def test_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(duologue, name)
    assert value.__name__ == name
    assert (value.__doc__ or "").strip()
    # A dataclass without a docstring is given its signature for one.
    assert not value.__doc__.startswith(f"{name}(")


def test_public_names_are_those_that_dir_shows() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import duologue; print(*(n for n in dir(duologue) if n in duologue.__all__))"],
        capture_output=True, text=True, check=True,
    )
    assert shown.stdout.split() == duologue.__all__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Enigne'"):
        duologue.Enigne  # noqa: B018
