"""Constraints: as Python's ``re`` and a look at every short text say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import regex
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import bytes_to_unicode

from duologue.errors import ConfigError
from duologue.generation.config import GenerationConfig
from duologue.generation.constraint_automaton import MAX_STATES, ROOT, START, build_automaton
from duologue.generation.constraints import Constraint, compile_constraint
from duologue.generation.logits import RowContext, process_logits
from duologue.tokenizer.bpe import CONTROL_TOKENS
from duologue.tokenizer.tokenizer import Tokenizer

END = CONTROL_TOKENS.index("<|im_end|>")
FIRST = len(CONTROL_TOKENS)  # the id of the first token that has a text
# 你 is e4 bd a0, 佡 is e4 bd a1: tokens end in the middle of them, and one begins there.
TEXTS = [b"a", b"b", b"ab", b"1", b"\xe4", b"\xe4\xbd", b"\xbd", b"\xa0", b"\xa1", b"\xa0a"]
# All that these can begin: where one is open to a class of characters, so are others that are not told apart from it.
LETTERS = ["a", "b", "1", *(bytes([0xE4, *end]).decode() for end in itertools.product([0xBD, 0xA0, 0xA1], repeat=2))]


def tokenizer_of(texts: Sequence[bytes], readable: str = "") -> Tokenizer:
    """A tokenizer of the control tokens, then these; ``readable``: a control token that is part of the text."""
    letters = bytes_to_unicode()
    words = [*CONTROL_TOKENS, *("".join(letters[byte] for byte in text) for text in texts)]
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={word: place for place, word in enumerate(words)}, merges=[])
    )
    backend.add_special_tokens(list(CONTROL_TOKENS))
    if readable:
        backend.add_tokens([tokenizers.AddedToken(readable, special=False, normalized=False)])
    return Tokenizer(backend)


TINY = tokenizer_of(TEXTS)
VOCAB = TINY.vocab_size + 3  # models often have more rows than their tokenizer has tokens


def constraint_of(tokenizer: Tokenizer = TINY, vocab_size: int = VOCAB, **settings: object) -> Constraint:
    config = GenerationConfig(**settings)
    constraint = compile_constraint(config, tokenizer, vocab_size=vocab_size, eos_token_ids=[END])
    assert constraint is not None
    return constraint


def allowed_ids(constraint: Constraint, state: object) -> set[int]:
    mask = constraint.allowed(state)
    assert mask is not None
    return set(mask.nonzero().flatten().tolist())


def walks(constraint: Constraint, length: int) -> Iterator[tuple[bytes, set[int] | None]]:
    """All texts that the constraint lets be written in so many tokens, with what it allows next; None: all."""
    waiting = [(b"", constraint.start)]
    for _ in range(length + 1):
        after = []
        for text, state in waiting:
            is_free = constraint.allowed(state) is None
            ids = None if is_free else allowed_ids(constraint, state)
            yield text, ids
            for token_id in range(FIRST, FIRST + len(TEXTS)) if ids is None else ids - {END}:
                after.append((text + TEXTS[token_id - FIRST], constraint.advance(state, token_id)))
        waiting = after


def expected_ids(said: bytes, beginnings: set[bytes], may_end: bool) -> set[int]:
    ids = {FIRST + place for place, text in enumerate(TEXTS) if said + text in beginnings}
    return ids | {END} if may_end else ids


def beginnings_of(texts: Sequence[bytes]) -> set[bytes]:
    return {text[:length] for text in texts for length in range(len(text) + 1)}


PATTERNS = [
    "ab*", "a+b?", "(ab)*", "a|b|ab1", "(a|你)*b", "你+", "[^你]{1,3}", "[^ab]b", ".{0,2}", "a{2}", "a{1,3}b", "a{2,}",
    r"\w", r"\d*a", r"(\w\d)+", "(a?b?){2}", "(a*b*)*1", "()", "(|a)b", "[a-b1]{2}你", "(?:a|ab)(?:b1|1)", "佡?你",
]  # fmt: skip


def can_be_completed(pattern: str, said: bytes) -> bool:
    """Whether a text that matches begins with these bytes."""
    whole = said.decode(errors="ignore")
    rest = said.removeprefix(whole.encode())
    ways_on = [whole + letter for letter in LETTERS if letter.encode().startswith(rest)] if rest else [whole]
    return any(regex.fullmatch(pattern, way, partial=True) for way in ways_on)


def is_match(pattern: str, said: bytes) -> bool:
    """Whether these bytes are a text that matches as a whole."""
    try:
        return re.fullmatch(pattern, said.decode()) is not None
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_allows_what_can_be_completed(pattern: str) -> None:
    for said, ids in walks(constraint_of(regex=pattern), 4):
        expected = {FIRST + place for place, text in enumerate(TEXTS) if can_be_completed(pattern, said + text)}
        assert ids == (expected | {END} if is_match(pattern, said) else expected), said


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_ends_where_re_matches(pattern: str) -> None:
    constraint = constraint_of(regex=pattern)
    let_through = {said for said, ids in walks(constraint, 4) if ids and END in ids}
    for tokens in itertools.product(TEXTS, repeat=4):
        for length in range(5):
            said = b"".join(tokens[:length])
            assert (said in let_through) == is_match(pattern, said), said


def patterns() -> st.SearchStrategy[str]:
    """Regular expressions of all that is understood."""
    ones = st.sampled_from(
        ["a", "b", "你", "-", r"\.", ".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\n", "[ab]", "[^a]", "[a-c-]",
         "[]a]", "[^]a]", r"[\d你]", r"[^\w]", "[一-龥]", r"[\--a]", r"[\S\n]", "{", "{}", "}", "]", "{a", "{1"]
    )  # fmt: skip
    counts = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,2}", "{2,}", "{0}", "{00,01}"])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        group = st.builds("({})".format, inner) | st.builds("(?:{})".format, inner)
        repeated = st.builds("{}{}".format, group, counts)
        return group | repeated | st.builds("{}{}".format, inner, inner) | st.builds("{}|{}".format, inner, inner)

    return st.recursive(ones | st.builds("({}){}".format, ones, counts), larger, max_leaves=8)


@given(pattern=patterns(), texts=st.lists(st.text("ab你- .\n1]{}", max_size=6), min_size=1, max_size=10))
def test_any_regex_means_what_it_means_in_python(pattern: str, texts: list[str]) -> None:
    try:
        automaton = build_automaton(pattern)
    except ConfigError:  # what is put together by chance may repeat nothing, such as "{1" and "}"
        with pytest.raises(re.error):
            re.compile(pattern)
        return
    for text in texts:
        state, node = automaton.read(START, ROOT, text.encode())
        may_end = node == ROOT and bool(automaton.accepts[state])
        assert may_end == is_match(pattern, text.encode()), text
        if may_end:
            for length in range(len(text.encode())):
                assert automaton.can_match[automaton.read(START, ROOT, text.encode()[:length])]


@pytest.mark.parametrize(
    "pattern", [r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", ".", "[^a你]", "[α-я一-龥🙂]", r"[^\d\s]"]
)
def test_classes_have_the_characters_that_they_have_in_python(pattern: str) -> None:
    codes = [code for code in (*range(0x10000), *range(0x10000, 0x110000, 61)) if not 0xD800 <= code < 0xE000]
    compiled, by_length = re.compile(pattern), {length: [] for length in range(1, 5)}
    for code in codes:
        by_length[len(chr(code).encode())].append(code)
    automaton = build_automaton(pattern)
    for length, found in by_length.items():
        read = np.frombuffer("".join(map(chr, found)).encode(), dtype=np.uint8).reshape(-1, length)
        states, nodes = np.full(len(found), START), np.full(len(found), ROOT)
        for place in range(length):
            states, nodes = automaton.step(states, nodes, read[:, place])
        assert (nodes == ROOT).all()
        expected = [compiled.fullmatch(chr(code)) is not None for code in found]
        assert automaton.accepts[states].tolist() == expected


@pytest.mark.parametrize("pattern", [r".|\n", "[\0-\U0010ffff]"])
def test_bytes_that_are_no_utf8_match_nothing(pattern: str) -> None:
    automaton = build_automaton(pattern)
    whole_characters = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    beginnings = {encoded[:length] for encoded in map(str.encode, whole_characters) for length in (0, 1, 2, 3)}
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    for lead in range(256):
        for length in range(4):
            for rest in itertools.product(edges, repeat=length):
                text = bytes([lead, *rest])
                state, node = automaton.read(START, ROOT, text)
                is_character = len(text.decode(errors="ignore")) == 1 and text.decode(errors="ignore").encode() == text
                assert bool(node == ROOT and automaton.accepts[state]) == is_character, text
                assert bool(automaton.can_match[state, node]) == (is_character or text in beginnings), text


@pytest.mark.parametrize("choices", [("ab", "a", "a1"), ("你", "佡a", "你你"), ("b",), ("ab1", "b你ab")])
def test_choices_allow_what_leads_to_one_of_them(choices: tuple[str, ...]) -> None:
    encoded = [choice.encode() for choice in choices]
    beginnings, said_all = beginnings_of(encoded), set()
    for said, ids in walks(constraint_of(choices=choices), max(map(len, encoded))):
        assert ids == expected_ids(said, beginnings, said in encoded)
        said_all.add(said)
    assert set(encoded) <= said_all <= beginnings


@pytest.mark.parametrize("prefix", ["a", "ab", "你", "a你b", "佡你"])
def test_a_prefix_is_said_then_all_is_free(prefix: str) -> None:
    goal, num_free = prefix.encode(), 0
    for said, ids in walks(constraint_of(prefix=prefix), 4):
        if said.startswith(goal):
            assert ids is None
            num_free += 1
        else:
            within = {FIRST + place for place, text in enumerate(TEXTS) if goal.startswith(said + text)}
            beyond = {FIRST + place for place, text in enumerate(TEXTS) if (said + text).startswith(goal)}
            assert ids == within | beyond
    assert num_free > 0


@pytest.mark.parametrize("settings", [{"prefix": "ab"}, {"choices": ("ab", "b")}, {"regex": ".+"}], ids=str)
def test_what_is_not_allowed_leads_to_a_dead_end(settings: dict[str, object]) -> None:
    constraint = constraint_of(**settings)
    refused = set(range(VOCAB)) - allowed_ids(constraint, constraint.start)
    assert {*range(FIRST), TINY.vocab_size, VOCAB - 1} <= refused
    for token_id in refused:
        dead = constraint.advance(constraint.start, token_id)
        assert allowed_ids(constraint, dead) == set()
        assert allowed_ids(constraint, constraint.advance(dead, FIRST)) == set()


def test_after_a_prefix_any_token_leaves_all_free() -> None:
    constraint = constraint_of(prefix="a")
    state = constraint.advance(constraint.start, FIRST)
    assert all(constraint.allowed(constraint.advance(state, token_id)) is None for token_id in range(VOCAB))


@pytest.mark.parametrize("settings", [{"prefix": "b佢"}, {"choices": ("b佢",)}], ids=str)
def test_a_text_that_the_vocabulary_cannot_write_is_a_dead_end(settings: dict[str, object]) -> None:
    constraint = constraint_of(**settings)  # 佢 is e4 bd a2
    state = constraint.start
    for token in (b"b", b"\xe4\xbd"):
        token_id = FIRST + TEXTS.index(token)
        assert token_id in allowed_ids(constraint, state)
        state = constraint.advance(state, token_id)
    assert allowed_ids(constraint, state) == set()
    context = RowContext([], 0, [END], None, constraint, state)
    config = GenerationConfig(renormalize_logits=True, top_k=2, **settings)
    assert bool((process_logits(torch.randn(1, VOCAB), config, [context]) == -torch.inf).all())


def test_a_control_token_that_is_read_as_text_is_text() -> None:
    tokenizer = tokenizer_of(TEXTS, readable="<think>")
    constraint = constraint_of(tokenizer, tokenizer.vocab_size, prefix="<think>a")
    think = tokenizer.vocab_size - 1
    assert allowed_ids(constraint, constraint.start) == {think}
    assert allowed_ids(constraint, constraint.advance(constraint.start, think)) == {FIRST, FIRST + TEXTS.index(b"ab")}


@pytest.mark.parametrize(
    ("settings", "replies"),
    [
        ({"regex": "(是|不是|可能)[。！]"}, ["是。", "不是！", "可能。"]),
        ({"regex": r"\d{4}-\d\d-\d\d"}, ["2026-01-31"]),
        ({"regex": r"[\w ,]+[.?]"}, ["Yes, of course.", "I think 你好 is hello, no?"]),
        ({"choices": ("yes", "no", "不知道")}, ["yes", "no", "不知道"]),
        ({"prefix": "当然，"}, ["当然，可以。"]),
    ],
)
def test_replies_are_let_through_however_they_are_cut(
    tokenizer: Tokenizer, settings: dict[str, object], replies: list[str]
) -> None:
    constraint = constraint_of(tokenizer, tokenizer.vocab_size, **settings)
    byte_ids = {tokenizer.token_bytes(i): i for i in range(FIRST, tokenizer.vocab_size)}
    for reply in replies:
        for ids in (tokenizer.encode(reply), [byte_ids[bytes([byte])] for byte in reply.encode()]):
            state = constraint.start
            for token_id in ids:
                mask = constraint.allowed(state)
                assert mask is None or mask[token_id]
                state = constraint.advance(state, token_id)
            mask = constraint.allowed(state)
            assert mask is None or mask[tokenizer.end_of_turn_id]


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        ("^a", r"'\^'"), ("a$", r"'\$'"), (r"\ba", r"'\\\\b'"), (r"(a)\1", r"'\\\\1'"), (r"\x41", r"'\\\\x'"),
        ("a(?=b)", r"'\(\?='"), ("(?P<n>a)", r"'\(\?P'"), ("(?i)a", r"'\(\?i'"), ("a*?", r"'\?' right after"),
        ("a++", r"'\+' right after"), ("a{2}{3}", r"'\{3\}' right after"), ("*a", r"'\*' with nothing before"),
        ("a|+", r"'\+' with nothing before"), ("{2}", r"'\{2\}' with nothing before"), ("a{3,2}", "numbers that fall"),
        ("a{9999999}", "above 1000000"), ("a{" + "9" * 5000 + "}", "above 1000000"), ("(a", r"'\(' that is not closed"),
        ("a)", r"'\)' that closes no group"), ("[a", r"'\[' that is not closed"), ("[]", r"'\[' that is not closed"),
        ("[b-a]", "'b-a' that is no range"), (r"[a-\d]", "that is no range"), ("a\\", r"'\\\\' at character 2"),
        ("(" * 51 + ")" * 51, "inside 50 other groups"), ("a\ud800", "matches no text"),
        (r"[^\d\D]", "matches no text"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(pattern: str, construct: str) -> None:
    with pytest.raises(ConfigError, match=f"^regex: .*{construct}") as caught:
        constraint_of(regex=pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["(a{1000}){1000}", "(a|b)*a(a|b){20}", "(a?){5000}a{5000}", "a?" * 3000])
def test_too_large_an_automaton_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=f"^regex: .* more than {MAX_STATES} states or"):
        build_automaton(pattern)


def test_an_automaton_may_have_as_many_states_as_the_limit() -> None:
    build_automaton(f"a{{{MAX_STATES - 2}}}")  # one state for each a that is to come, none, and the dead end
    with pytest.raises(ConfigError, match="more than"):
        build_automaton(f"a{{{MAX_STATES - 1}}}")


@pytest.mark.parametrize(
    ("settings", "name"), [({"prefix": "a\ud83d"}, "prefix"), ({"choices": ("\ude00",)}, "choices")]
)
def test_half_a_character_is_refused(settings: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: has .* half a character"):
        constraint_of(**settings)


def test_nothing_asked_is_no_constraint() -> None:
    assert compile_constraint(GenerationConfig(), TINY, vocab_size=VOCAB, eos_token_ids=[END]) is None
