"""Putting numbers in order: lists of three or four, the largest or smallest of three, the larger or smaller of two.

Difficulty: whole numbers from 0 to 99, all different. A list has three numbers, one list in four has four; seven lists
in eight have each number in a ten of its own, so that the first digits decide. The reply to a list names the tens, in
the order given, and then sorts in one go. Of two numbers the tens are compared aloud and, where they are equal, the
ones (two numbers below 10: only the ones).
Held out: the set of numbers with the order asked for; of two numbers, the pair as asked.
"""

from __future__ import annotations

import random
from typing import Literal

from duologue.data.builtin.skill import Exchange, Language, pick_wording

Order = Literal["ascending", "descending", "largest", "smallest", "larger", "smaller"]

ORDERS: tuple[Order, ...] = (
    "ascending", "ascending", "ascending", "descending", "descending", "largest", "smallest", "larger", "smaller",
)
SEPARATORS = {"en": (", ", ", ", " "), "zh": ("、", "，", " ")}
WORDINGS: dict[Language, dict[Order, tuple[str, ...]]] = {
    "en": {
        "ascending": ("Sort {numbers} from smallest to largest.", "Put {numbers} in ascending order.", "sort {numbers}",
                      "Can you sort these numbers: {numbers}?", "Order these from low to high: {numbers}",
                      "Please arrange {numbers} from small to large.", "sort ascending: {numbers}",
                      "What is the right order of {numbers}, smallest first?", "Put these in order: {numbers}",
                      "I have {numbers}. Sort them, please, smallest first."),
        "descending": ("Sort {numbers} from largest to smallest.", "Put {numbers} in descending order.",
                       "sort {numbers} backwards, largest first", "Can you sort these from high to low: {numbers}?",
                       "Order these from biggest to smallest: {numbers}", "sort descending: {numbers}",
                       "Please arrange {numbers} from large to small.", "List {numbers} with the largest first.",
                       "I have {numbers}. Sort them, please, largest first."),
        "largest": ("Which is the largest: {numbers}?", "What is the largest of {numbers}?", "largest of {numbers}",
                    "Find the biggest number: {numbers}", "Which of these numbers is the highest: {numbers}?",
                    "Tell me the biggest of {numbers}.", "Can you find the maximum of {numbers}?", "max of {numbers}",
                    "Out of {numbers}, which number is the largest?"),
        "smallest": ("Which is the smallest: {numbers}?", "What is the smallest of {numbers}?", "smallest of {numbers}",
                     "Find the smallest number: {numbers}", "Which of these numbers is the lowest: {numbers}?",
                     "Tell me the smallest of {numbers}.", "Can you find the minimum of {numbers}?", "min of {numbers}",
                     "Out of {numbers}, which number is the smallest?"),
        "larger": ("Which is larger, {a} or {b}?", "Which number is bigger: {a} or {b}?", "{a} or {b}, which is more?",
                   "Which is the larger number, {a} or {b}?", "Tell me the larger of {a} and {b}.",
                   "what is bigger, {a} or {b}", "Can you tell me which is greater, {a} or {b}?",
                   "Compare {a} and {b}. Which one is larger?", "Please pick the bigger one: {a} or {b}."),
        "smaller": ("Which is smaller, {a} or {b}?", "Which number is lower: {a} or {b}?", "{a} or {b}, which is less?",
                    "Which is the smaller number, {a} or {b}?", "Tell me the smaller of {a} and {b}.",
                    "what is smaller, {a} or {b}", "Can you tell me which is less, {a} or {b}?",
                    "Compare {a} and {b}. Which one is smaller?", "Please pick the smaller one: {a} or {b}."),
    },
    "zh": {
        "ascending": ("把{numbers}从小到大排列。", "请将{numbers}按升序排列。", "{numbers}从小到大怎么排？",
                      "从小到大排序：{numbers}", "帮我把这几个数从小到大排好：{numbers}。", "{numbers}，从小到大排一下",
                      "请给{numbers}排个序，小的在前。", "你能把{numbers}由小到大排列吗？", "给这些数排序：{numbers}",
                      "升序排列：{numbers}"),
        "descending": ("把{numbers}从大到小排列。", "请将{numbers}按降序排列。", "{numbers}从大到小怎么排？",
                       "从大到小排序：{numbers}", "帮我把这几个数从大到小排好：{numbers}。",
                       "{numbers}，从大到小排一下", "请给{numbers}排个序，大的在前。",
                       "你能把{numbers}由大到小排列吗？", "降序排列：{numbers}"),
        "largest": ("{numbers}里哪个最大？", "{numbers}中最大的数是多少？", "请找出最大的数：{numbers}。",
                    "这几个数里谁最大：{numbers}？", "{numbers}，最大的是哪个", "告诉我{numbers}当中最大的一个。",
                    "{numbers}的最大值是多少？", "你能从{numbers}里挑出最大的数吗？", "帮我看看哪个数最大：{numbers}"),
        "smallest": ("{numbers}里哪个最小？", "{numbers}中最小的数是多少？", "请找出最小的数：{numbers}。",
                     "这几个数里谁最小：{numbers}？", "{numbers}，最小的是哪个", "告诉我{numbers}当中最小的一个。",
                     "{numbers}的最小值是多少？", "你能从{numbers}里挑出最小的数吗？", "帮我看看哪个数最小：{numbers}"),
        "larger": ("{a}和{b}哪个大？", "{a}和{b}比，哪个更大？", "{a}跟{b}谁大", "请问{a}与{b}中较大的是哪个？",
                   "比较一下{a}和{b}，哪个数大？", "{a}大还是{b}大？", "告诉我{a}和{b}里比较大的那个。",
                   "你知道{a}和{b}哪个数更大吗？", "帮我比一比，{a}和{b}谁更大？"),
        "smaller": ("{a}和{b}哪个小？", "{a}和{b}比，哪个更小？", "{a}跟{b}谁小", "请问{a}与{b}中较小的是哪个？",
                    "比较一下{a}和{b}，哪个数小？", "{a}小还是{b}小？", "告诉我{a}和{b}里比较小的那个。",
                    "你知道{a}和{b}哪个数更小吗？", "帮我比一比，{a}和{b}谁更小？"),
    },
}
REPLIES: dict[Language, dict[Order, str]] = {
    "en": {
        "ascending": "Tens: {tens}. Smallest first: {numbers}.",
        "descending": "Tens: {tens}. Largest first: {numbers}.",
        "largest": "Tens: {tens}. The largest is {numbers}.", "smallest": "Tens: {tens}. The smallest is {numbers}.",
        "larger": "{steps}. The larger is {numbers}.", "smaller": "{steps}. The smaller is {numbers}.",
    },
    "zh": {
        "ascending": "十位 {tens}，从小到大：{numbers}。", "descending": "十位 {tens}，从大到小：{numbers}。",
        "largest": "十位 {tens}，最大的是{numbers}。", "smallest": "十位 {tens}，最小的是{numbers}。",
        "larger": "{steps}，更大的是{numbers}。", "smaller": "{steps}，更小的是{numbers}。",
    },
}
TENS = {"en": "Tens: {}", "zh": "十位 {}"}
ONES = {"en": "Ones: {}", "zh": "个位 {}"}
JOINT = {"en": ". ", "zh": "，"}


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One list to put in order, or two or three numbers to choose from."""
    order = rng.choice(ORDERS)
    if order in ("larger", "smaller"):
        return _draw_pair(rng, order, lang)
    count = 4 if order in ("ascending", "descending") and rng.random() < 0.25 else 3
    numbers = _different_tens(rng, count)
    if rng.random() < 1 / 8:
        numbers = _with_shared_ten(rng, numbers)
    listed = rng.choice(SEPARATORS[lang]).join(map(str, numbers))
    question = pick_wording(rng, WORDINGS[lang][order], numbers=listed)
    key = f"{order}:{','.join(map(str, sorted(numbers)))}"
    return Exchange(key, (question, put_in_order(numbers, order, lang)))


def put_in_order(numbers: list[int], order: Order, lang: Language) -> str:
    """The reply to a list: its tens, then the numbers in the order asked for, or the one at its end."""
    ordered = sorted(numbers, reverse=order in ("descending", "largest"))
    answer = ordered[:1] if order in ("largest", "smallest") else ordered
    between = ", " if lang == "en" else "、"
    tens = between.join(str(number // 10) for number in numbers)
    return REPLIES[lang][order].format(tens=tens, numbers=between.join(map(str, answer)))


def compare(a: int, b: int, order: Order, lang: Language) -> str:
    """The reply to two numbers: their tens compared, their ones where that does not settle it, and the answer."""
    steps = []
    if max(a, b) >= 10:
        steps.append(TENS[lang].format(_compared(a // 10, b // 10)))
    if a // 10 == b // 10:
        steps.append(ONES[lang].format(_compared(a % 10, b % 10)))
    worked, answer = JOINT[lang].join(steps), max(a, b) if order == "larger" else min(a, b)
    return REPLIES[lang][order].format(steps=worked, numbers=answer)


def _draw_pair(rng: random.Random, order: Order, lang: Language) -> Exchange:
    a, b = rng.sample(range(10), 2) if rng.random() < 0.2 else rng.sample(range(100), 2)
    question = pick_wording(rng, WORDINGS[lang][order], a=a, b=b)
    return Exchange(f"{order}:{a},{b}", (question, compare(a, b, order, lang)))


def _compared(a: int, b: int) -> str:
    sign = "<" if a < b else ">" if a > b else "="
    return f"{a} {sign} {b}"


def _different_tens(rng: random.Random, count: int) -> list[int]:
    return [10 * ten + rng.randint(0, 9) for ten in rng.sample(range(10), count)]


def _with_shared_ten(rng: random.Random, numbers: list[int]) -> list[int]:
    ten, one = divmod(numbers[0], 10)
    neighbour = 10 * ten + (one + rng.randint(1, 9)) % 10
    shared = [numbers[0], neighbour, *numbers[2:]]
    rng.shuffle(shared)
    return shared
