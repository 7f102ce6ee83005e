"""The verb ``chat``: talk to a model in the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from duologue.cli.model_arguments import add_generation_flags, add_model_arguments, generation_config, load_engine

if TYPE_CHECKING:
    from duologue.chat.session import ChatSession

HELP = """A chat with a model in the terminal; from a pipe, each line is one message of the same conversation.

examples:
  duologue chat runs/quickstart
  duologue chat runs/quickstart -p "Hello, who are you?"
  duologue chat runs/quickstart --system "You answer briefly." --temperature 0
  duologue chat runs/quickstart --num-beams 4     the search is shown as it goes on; /beams lists what it found
  duologue chat runs/quickstart --top 5           after each reply, the likeliest tokens of each place
  printf 'My name is Ada.\\nWhat is my name?\\n' | duologue chat runs/quickstart
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``chat``."""
    add_model_arguments(parser)
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="answer this one message and leave")
    parser.add_argument("--system", metavar="TEXT", help="a system message at the head of the conversation")
    top = "the N likeliest tokens of each place, with their probabilities (another name of --logprobs)"
    parser.add_argument("--top", dest="logprobs", default=argparse.SUPPRESS, metavar="N", help=top)
    add_generation_flags(parser)


def run(arguments: argparse.Namespace) -> object | None:
    """The replies, where the messages did not come from a terminal."""
    from duologue.chat.session import ChatSession
    from duologue.chat.terminal import chat_in_terminal

    engine = load_engine(arguments)
    session = ChatSession(engine, generation_config(arguments, engine.generation_config), system=arguments.system)
    if arguments.prompt is not None:
        return _answer(session, arguments.prompt)
    if not sys.stdin.isatty():
        messages = (line.rstrip("\r\n") for line in sys.stdin)
        return [_answer(session, message) for message in messages if message.strip()]
    chat_in_terminal(session)
    return None


def _answer(session: ChatSession, text: str) -> dict[str, Any]:
    from duologue.chat.alternatives import tokens_to_json
    from duologue.chat.terminal import print_reply

    reply = print_reply(session, text)
    said, finish = session.conversation.messages[-1].content, reply.finish
    found = {"text": said, "finish_reason": finish and str(finish.reason), "stats": finish and finish.stats}
    return found | ({"logprobs": tokens_to_json(reply)} if session.config.logprobs else {})
