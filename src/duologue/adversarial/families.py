"""All families of noise, on a text and on the course of a dialogue, by their names and their groups."""

from __future__ import annotations

from collections.abc import Iterable

from duologue.adversarial import (
    chinese_sight,
    chinese_sound,
    chinese_typing,
    dialogue_noise,
    english_form,
    english_sound_and_sight,
    english_typing,
    english_wording,
    unicode_noise,
)
from duologue.adversarial.dialogue_noise import DialogueFamily
from duologue.adversarial.family import Family, Group
from duologue.config import did_you_mean
from duologue.errors import ConfigError

MODULES = (english_typing, english_form, english_wording, english_sound_and_sight, chinese_typing, chinese_sound,
           chinese_sight, unicode_noise)  # fmt: skip
TEXT_FAMILIES: dict[str, Family] = {family.name: family for module in MODULES for family in module.FAMILIES}


DIALOGUE_FAMILIES: dict[str, DialogueFamily] = {family.name: family for family in dialogue_noise.FAMILIES}
GROUPS: dict[str, Group] = {name: family.group for name, family in (TEXT_FAMILIES | DIALOGUE_FAMILIES).items()}
ALL_FAMILIES = tuple(GROUPS)


def select_families(names: Iterable[str]) -> tuple[str, ...]:
    """The families that names of families or of groups stand for, in their usual order.

    Raises:
        ConfigError: a name is neither; the nearest one that is known is named.
    """
    wanted: set[str] = set()
    for name in names:
        members = {family for family, group in GROUPS.items() if name in (family, group)}
        if not members:
            hint = did_you_mean(name, [*GROUPS, *sorted(set(GROUPS.values()))])
            raise ConfigError(f"{name}: no such family or group of noise{hint}")
        wanted |= members
    return tuple(family for family in ALL_FAMILIES if family in wanted)
