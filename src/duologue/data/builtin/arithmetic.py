"""Small arithmetic, one step after the other, so that each step is within a small model's reach.

Difficulty: sums and differences of whole numbers up to 99 (differences are never negative), digit by digit with the
carry said aloud; products of 2 to 9 by 2 to 5, by adding up. Operands are drawn so that one and two digits both occur.
Held out: the pair of operands with its operation, in every wording.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from duologue.data.builtin.skill import Exchange, Language, pick_wording

WORDINGS = {
    "en": {
        "+": ("What is {a} + {b}?", "{a} + {b} = ?", "How much is {a} plus {b}?", "Add {a} and {b}.",
              "Can you add {a} and {b}?", "Please work out {a} + {b}.", "What do {a} and {b} make together?",
              "I have {a} apples and get {b} more. How many do I have?", "compute {a}+{b}"),
        "-": ("What is {a} - {b}?", "{a} - {b} = ?", "How much is {a} minus {b}?", "Take {b} away from {a}.",
              "Can you subtract {b} from {a}?", "Please work out {a} - {b}.", "What is left of {a} without {b}?",
              "I have {a} apples and eat {b}. How many are left?", "compute {a}-{b}"),
        "×": ("What is {a} × {b}?", "{a} × {b} = ?", "How much is {a} times {b}?", "Multiply {a} by {b}.",
              "Can you multiply {a} by {b}?", "Please work out {a} × {b}.", "What is {a} * {b}?",
              "There are {b} boxes with {a} apples each. How many apples?", "compute {a}*{b}"),
    },
    "zh": {
        "+": ("{a} + {b} 等于多少？", "{a} + {b} = ？", "{a}加{b}是多少？", "请把{a}和{b}加起来。", "帮我算一下{a}加{b}。",
              "请计算 {a} + {b}。", "{a}和{b}一共是多少？", "我有{a}个苹果，又买了{b}个，一共有几个？", "算{a}+{b}"),
        "-": ("{a} - {b} 等于多少？", "{a} - {b} = ？", "{a}减{b}是多少？", "请从{a}里减去{b}。", "帮我算一下{a}减{b}。",
              "请计算 {a} - {b}。", "{a}去掉{b}还剩多少？", "我有{a}个苹果，吃了{b}个，还剩几个？", "算{a}-{b}"),
        "×": ("{a} × {b} 等于多少？", "{a} × {b} = ？", "{a}乘{b}是多少？", "请把{a}和{b}相乘。", "帮我算一下{a}乘以{b}。",
              "请计算 {a} × {b}。", "{a} * {b} 是多少？", "有{b}个盒子，每盒{a}个苹果，一共有几个？", "算{a}*{b}"),
    },
}
PHRASES = {
    "en": {"carry": "carry ", "borrow": "borrow ", "comma": ", ", "then": "; ", "so": ". So ", "stop": "."},
    "zh": {"carry": "进", "borrow": "借", "comma": "，", "then": "；", "so": "。所以", "stop": "。"},
}


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One sum, difference or product, with its working."""
    sign = rng.choice("++--×")
    if sign == "×":
        a, b = rng.randint(2, 9), rng.randint(2, 5)
    else:
        a, b = _operand(rng), _operand(rng)
        if sign == "-" and a < b:
            a, b = b, a
    wordings = WORDINGS[lang][sign]
    plain = [wording for wording in wordings if not _is_story(wording)]
    question = pick_wording(rng, plain if min(a, b) < 2 else wordings, a=a, b=b)
    return Exchange(f"{a}{sign}{b}", (question, work_out(a, sign, b, lang)))


def work_out(a: int, sign: str, b: int, lang: Language) -> str:
    """The answer with its steps: ``7+8=15, carry 1; 2+4+1=7. So 27+48=75.``"""
    say = PHRASES[lang]
    result = {"+": a + b, "-": a - b, "×": a * b}[sign]
    end = f"{a}{sign}{b}={result}{say['stop']}"
    if sign == "×":
        return say["comma"].join(str(a * times) for times in range(1, b + 1)) + say["so"] + end
    if a < 10 and b < 10:
        return end
    return (_add if sign == "+" else _subtract)(a, b, say) + say["so"] + end


def _is_story(wording: str) -> bool:
    return "apples" in wording or "苹果" in wording


def _operand(rng: random.Random) -> int:
    return rng.randint(0, 9) if rng.random() < 0.3 else rng.randint(10, 99)


def _add(a: int, b: int, say: Mapping[str, str]) -> str:
    ones = a % 10 + b % 10
    carry = ones // 10
    tens = f"{a // 10}+{b // 10}+{carry}={a // 10 + b // 10 + carry}"
    return f"{a % 10}+{b % 10}={ones}{say['comma']}{say['carry']}{carry}{say['then']}{tens}"


def _subtract(a: int, b: int, say: Mapping[str, str]) -> str:
    borrow = int(a % 10 < b % 10)
    top = a % 10 + 10 * borrow
    tens = f"{a // 10}-{b // 10}-{borrow}={a // 10 - b // 10 - borrow}"
    return f"{top}-{b % 10}={top - b % 10}{say['comma']}{say['borrow']}{borrow}{say['then']}{tens}"
