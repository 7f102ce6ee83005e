"""Settings: frozen dataclasses, filled from TOML files and from flags, and strict about both.

A setting is a field of a dataclass, ``name: Annotated[type, "what it does"] = default``. The same field serves a
recipe's table (``[pretraining] minutes = 10``) and a flag (``--pretraining.minutes 10``). A class checks its own ranges
in ``__post_init__`` by raising ConfigError.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from duologue.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings class, with its place and its help."""

    path: str
    kind: Any
    default: Any
    help: str


def settings_of(cls: type, *, prefix: str = "") -> Iterator[Setting]:
    """All settings of a dataclass, tables inside tables included, by dotted path."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        kind, help_text = _split_annotation(hints[field.name])
        if dataclasses.is_dataclass(kind):
            yield from settings_of(typing.cast(type, kind), prefix=f"{prefix}{field.name}.")
        else:
            yield Setting(f"{prefix}{field.name}", kind, _default_of(field), help_text)


def from_mapping(cls: type[T], values: Mapping[str, Any], *, where: str, base: T | None = None) -> T:
    """A settings object from a nested mapping, over ``base`` or the defaults.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named) or a value has the wrong type.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(f"{where} {key}: unknown key{did_you_mean(key, hints)}")
        kind, _ = _split_annotation(hints[key])
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where} {key}: is {value!r}; expected a table [{key}]")
            inner = getattr(base, key) if base is not None else None
            changes[key] = from_mapping(typing.cast(type, kind), value, where=f"{where} [{key}]", base=inner)
        else:
            changes[key] = convert(value, kind, where=f"{where} {key}")
    try:
        return cls(**changes) if base is None else dataclasses.replace(typing.cast(Any, base), **changes)
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from None


def with_flags(base: T, flags: Mapping[str, Any]) -> T:
    """The settings with flags laid over them: ``{"pretraining.minutes": "10"}``."""
    nested: dict[str, Any] = {}
    for path, value in flags.items():
        *tables, key = path.split(".")
        table = nested
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return from_mapping(type(base), nested, where="flag", base=base) if nested else base


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a nested mapping, its ``extends`` file (one parent, beside it) already merged in."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise ConfigError(f"{path} extends: is {parent!r}; expected the name of a TOML file beside it")
    base = read_toml(path.parent / parent)
    return merge(base, values)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a key, ``over`` wins."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def to_mapping(settings: Any) -> dict[str, Any]:
    """The settings as a nested mapping, None included, for JSON."""
    return dataclasses.asdict(settings)


def convert(value: Any, kind: Any, *, where: str) -> Any:
    """The value as the given type; text (from a flag) is read as what it says.

    Raises:
        ConfigError: the value does not have that type.
    """
    options = [kind]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        options = list(typing.get_args(kind))
    for option in options:
        try:
            return _convert_to(value, option)
        except (ValueError, TypeError):
            continue
    raise ConfigError(f"{where}: is {value!r}; expected {describe(kind)}")


def describe(kind: Any) -> str:
    """A type in a user's words: "a whole number", "one of balanced, precise"."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(choice).lower() for choice in typing.get_args(kind))
    if origin is tuple:
        kinds = typing.get_args(kind)
        return f"a list, each {describe(kinds[0])}" if kinds[-1] is ... else " and ".join(map(describe, kinds))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(option) for option in typing.get_args(kind) if option is not type(None))
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def did_you_mean(word: str, known: Any) -> str:
    """``"; did you mean X?"`` with the nearest known word, or the list of all where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"


def require(condition: bool, field: str, value: Any, expected: str) -> None:
    """Raises ConfigError saying which field has which value and what was expected, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{field}: is {value!r}; expected {expected}")


def _split_annotation(annotation: Any) -> tuple[Any, str]:
    if typing.get_origin(annotation) is typing.Annotated:
        kind, help_text, *_ = typing.get_args(annotation)
        return kind, str(help_text)
    return annotation, ""


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _convert_to(value: Any, kind: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        for choice in typing.get_args(kind):
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
            if isinstance(value, str) and value.lower() == str(choice).lower():
                return choice
        raise ValueError
    if origin is tuple:
        return _convert_to_tuple(value, typing.get_args(kind))
    if kind is type(None):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        raise ValueError
    return _convert_scalar(value, kind)


def _convert_to_tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list of one kind, or one item of each kind; text is JSON where it begins like it, else separated by commas."""
    if isinstance(value, str):
        value = json.loads(value) if value.startswith("[") else value.split(",")
    if not isinstance(value, list | tuple):
        raise TypeError
    kinds = (kinds[0],) * len(value) if kinds[-1] is ... else kinds
    return tuple(_convert_to(item, kind) for item, kind in zip(value, kinds, strict=True))


def _convert_scalar(value: Any, kind: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false"):
            raise ValueError
        return str(value).lower() == "true"
    if isinstance(value, bool):
        raise TypeError
    if kind is int and (isinstance(value, int) or (isinstance(value, str) and value.strip())):
        return int(value)
    if kind is float and isinstance(value, int | float | str):
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError
        return number
    if kind is str and isinstance(value, str):
        return value
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise TypeError
