"""All families of noise on one text, by name, and which of them a run holds out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from duologue.adversarial import (
    chinese_sight,
    chinese_sound,
    chinese_typing,
    english_form,
    english_sound_and_sight,
    english_typing,
    english_wording,
    unicode_noise,
)
from duologue.adversarial.family import Family, Group
from duologue.config import did_you_mean
from duologue.errors import ConfigError

MODULES = (english_typing, english_form, english_wording, english_sound_and_sight, chinese_typing, chinese_sound,
           chinese_sight, unicode_noise)  # fmt: skip
TEXT_FAMILIES: dict[str, Family] = {family.name: family for module in MODULES for family in module.FAMILIES}


def select_families(names: Iterable[str], groups: Mapping[str, Group]) -> tuple[str, ...]:
    """The families that names of families or of groups stand for, in their usual order.

    Args:
        groups: the families that there are, each with its group.

    Raises:
        ConfigError: a name is neither; the nearest one that is known is named.
    """
    wanted: set[str] = set()
    for name in names:
        members = {family for family, group in groups.items() if name in (family, group)}
        if not members:
            hint = did_you_mean(name, [*groups, *sorted(set(groups.values()))])
            raise ConfigError(f"{name}: no such family or group of noise{hint}")
        wanted |= members
    return tuple(family for family in groups if family in wanted)
