"""Chat templates that would eat time or memory: each is refused, or does little; what they may do stays the same."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from duologue.errors import DataError, ModelFolderError
from duologue.tokenizer.template_guard import check_template, render_template

MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "\n Hi there </think> you \n"}]
PEAK_BYTES, SECONDS = 40_000_000, 5.0
LONG = "{% set a0 = '" + "x" * 30_000 + "' %}{% set b0 = '" + "x" * 30_000 + "' %}"
LISTS = LONG + "{% set a0 = [a0] %}"
HOLDERS = LONG + "{% set a0 = [{'held': a0}] %}"


def doubled(name: str, times: int) -> str:
    """``name0`` added to itself, ``times`` times over, without a loop."""
    return "".join(f"{{% set {name}{i + 1} = {name}{i} + {name}{i} %}}" for i in range(times))


def thousand(inside: str, test: str = "") -> str:
    return f"{{% for i in range(100) %}}{{% for j in range(10) {test} %}}{inside}{{% endfor %}}{{% endfor %}}"


TEXTS = LONG + doubled("a", 4) + doubled("b", 4)
HUNGRY = {
    "join of one text": LISTS + doubled("a", 12) + "{{ ''.join(a12) }}",
    "join from the end": LISTS + doubled("a", 12) + "{{ a12|reverse|join }}",
    "join of attributes": HOLDERS + doubled("a", 12) + "{{ a12|map(attribute='held')|join }}",
    "slices": TEXTS + thousand("{% set x = a4[1:] %}"),
    "a text in a text": TEXTS + thousand("{% set x = 'y' in a4 %}"),
    "a test for a text in a text": TEXTS + thousand("{% set x = 'y' is in(a4) %}"),
    "equal texts": TEXTS + thousand("{% set x = a4 == b4 %}"),
    "a text searched": TEXTS + thousand("{% set x = a4.find('y') %}"),
    "a text counted": TEXTS + thousand("{% set x = a4|trim|length %}"),
    "equal texts in a list": LISTS + "{% set l = a0 + a0 + a0 %}" + thousand("{% set x = l.count(b0) %}"),
    "what a loop asks at each turn": thousand("", "if " + " == ".join(["i"] * 400)),
}


@pytest.mark.parametrize("name", HUNGRY)
def test_what_reads_or_makes_much_is_stopped(name: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(ModelFolderError, match="makes too much of"):
        check_template(HUNGRY[name], where=name)
    assert time.perf_counter() - begin < SECONDS


@pytest.mark.parametrize("name", [name for name in HUNGRY if name.startswith("join")])
def test_a_text_is_paid_for_before_it_is_there(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelFolderError, match="makes too much of"):
            check_template(HUNGRY[name], where=name)
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()


def render(source: str) -> str:
    return render_template(source, messages=MESSAGES, add_generation_prompt=False)


def test_namespaces_in_each_other_are_not_written_out() -> None:
    nesting = "".join(f"{{% set n{i + 1} = namespace(a=n{i}, b=n{i}) %}}" for i in range(18))
    assert len(render("{% set n0 = namespace(a=1) %}" + nesting + "{{ n18 }}{{ [n18]|string }}")) < 100


def test_a_view_of_a_dict_is_paid_for_like_the_dict() -> None:
    views = LISTS + doubled("a", 6) + "{% set d = {'a': 1} %}{% set d = {'a': a0} %}" + thousand("{{ d.values() }}")
    with pytest.raises(ModelFolderError, match="makes too much of"):
        render(views)


@pytest.mark.parametrize("step", ["{% set n.a = n.b + n.b %}{% set n.b = n.a + n.a %}",
                                  "{% set n.a = n.a - n.b %}{% set n.b = n.b - n.a %}"])  # fmt: skip
def test_whole_numbers_stay_short(step: str) -> None:
    with pytest.raises(ModelFolderError, match="fails on this conversation: OverflowError: a number beyond"):
        render("{% set n = namespace(a=1, b=-1) %}{% for i in range(200) %}" + step + "{% endfor %}{{ n.a }}")


@pytest.mark.parametrize(
    ("source", "construct"),
    [
        ("{{ 1|round(300000000, 'ceil') }}", "the filter round"),
        ("{{ 1|round(precision=300000000, method='ceil') }}", "the filter round"),
        ("{{ messages[0].content|int(0, 16) }}", "the filter int"),
        ("{{ messages[0].content|int(base=16) }}", "the filter int"),
        ("{{ 'a'|trim(messages[0].content) }}", "the filter trim"),
        ("{{ messages|select('in', messages)|list }}", "the filter select"),
        ("{{ messages|rejectattr('role', 'in', messages)|list }}", "the filter rejectattr"),
        ("{{ 'a'.strip(messages[0].content) }}", "the method strip"),
        ("{{ 'a'.rfind(messages[0].content) }}", "the method rfind"),
        ("{{ 'a'.rsplit(sep=messages[0].content) }}", "the method rsplit"),
    ],
)
def test_what_takes_more_than_linear_time_takes_small_constants_only(source: str, construct: str) -> None:
    with pytest.raises(ModelFolderError, match=construct):
        check_template(source, where="here")


@pytest.mark.parametrize(
    "source",
    [
        "{{ 7.126|round(2) }} {{ 7.126|round(1, 'floor') }} {{ '12'|int }} {{ 'x'|int(3) }} {{ 'x'|int(default=4) }}",
        "{% for m in messages %}{{ m.content.strip('\n') ~ m.content|trim ~ m.content.rfind('</think>') }}{% endfor %}",
        "{% for m in messages %}{{ m.content.rsplit('</think>', 1)[-1] ~ m['content'][1:-1] }}{% endfor %}",
        "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join(', ') }}",
        "{{ messages|rejectattr('role', 'in', ['user'])|map(attribute='content')|list|length - 3 }}",
        "{{ messages|map(attribute='role')|reject('eq', 'user')|first }} {{ ', '.join(messages[0].values()) }}",
        "{% for k, v in messages[0].items() %}{{ k == 'role' }} {{ v in ['user', 7] }} {{ 1 < 2 <= k|length }}"
        "{% endfor %}",
        "{% set n = namespace(a=[]) %}{% for m in messages if m.role != 'user' %}{% set n.a = n.a + [m] %}{% endfor %}"
        "{{ n.a|length }} {{ n.a.index(messages[1]) }} {{ n.b is defined }} {{ x is none }} {{ nothing == 1 }}",
        "{{ messages[0].items() }} {{ (messages|map(attribute='role'))|list }} {{ loop is defined }}",
    ],
)  # fmt: skip
def test_what_is_allowed_writes_what_it_writes_in_transformers(source: str) -> None:
    theirs, _ = render_jinja_template([MESSAGES], chat_template=source)
    assert render(source) == theirs[0]


def test_an_objection_is_one_printable_line() -> None:
    with pytest.raises(DataError) as caught:
        render("{{ raise_exception('no\x1b[2J\nway') }}")
    assert str(caught.value).isprintable()
