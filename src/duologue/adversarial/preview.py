"""A harder dialogue for people to look at: what was taken away in red, what stands there now in green."""

from __future__ import annotations

from rich.text import Text

from duologue.adversarial.dialogue import HarderDialogue
from duologue.adversarial.edits import Edit
from duologue.conversation import Message

OLD, NEW, SAID, ROLE = "red strike", "bold green", "dim", "bold"
INVISIBLE_FROM = {"\u00ad", *map(chr, range(0x200B, 0x2010)), *map(chr, range(0x202A, 0x202F)),
                  *map(chr, range(0x2060, 0x2070)), "\ufeff"}  # fmt: skip


def render_harder(harder: HarderDialogue) -> Text:
    """The turns, a line each, with all changes marked and named."""
    text = Text()
    for turn, message in enumerate(harder.clean.messages):
        for added in harder.changes.added.get(turn, ()):
            text.append_text(_line(added, Text(shown(added.content), NEW)))
        said = _marked(message.content, harder.changes.edits.get(turn, ()))
        text.append_text(_line(message, said))
    text.append(f"  {', '.join(harder.families) or 'left as it is'}\n", "cyan")
    return text


def _line(message: Message, said: Text) -> Text:
    return Text.assemble((f"  {message.role}  ", ROLE if message.role == "user" else SAID), said, "\n")


def _marked(content: str, edits: tuple[Edit, ...]) -> Text:
    text, at = Text(), 0
    for edit in edits:
        text.append(shown(content[at : edit.start]))
        text.append(shown(edit.old), OLD)
        text.append(shown(edit.new), NEW)
        at = edit.end
    text.append(shown(content[at:]))
    return text


def shown(text: str) -> str:
    """The text with signs that nobody would see, or that could move the line, spelled out."""
    return "".join(_spelled(sign) if sign in INVISIBLE_FROM or (sign < " ") else sign for sign in text)


def _spelled(sign: str) -> str:
    return "⏎" if sign == "\n" else f"⟨{ord(sign):04X}⟩"
