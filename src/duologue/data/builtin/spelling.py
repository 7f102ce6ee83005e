"""Spelling: a word taken apart, its letters or characters counted, its first, its last, and the word backwards.

A model that reads tokens never sees letters, so it must learn each word's spelling by heart and then work on what it
has said: every reply first takes the word apart. English letters stand after a space and Chinese characters between
quotes or digits, so that each is the same token wherever it stands.

Difficulty: some 200 English words of 3 to 6 letters and some 200 Chinese words of 2 to 4 characters, each met in
several operations. Taking a word apart is memory alone; first, last and backwards (English: only words of up to 5
letters) copy from what was just said; counting says the parts once more, each with its number. In Chinese, one exchange in eight spells
an English word.
Held out: the word with its operation, in every wording; each word is met in other operations.
"""

from __future__ import annotations

import random
from typing import Literal

from duologue.data.builtin.skill import Exchange, Language, pick_wording
from duologue.data.builtin.words import CHINESE, ENGLISH

Operation = Literal["spell", "count", "first", "last", "backwards", "english"]

LONGEST_BACKWARDS = 5
OPERATIONS: dict[Language, tuple[Operation, ...]] = {
    "en": ("spell", "spell", "count", "count", "first", "last", "backwards", "backwards"),
    "zh": ("spell", "spell", "count", "count", "first", "last", "backwards", "english"),
}
WORDINGS: dict[Language, dict[Operation, tuple[str, ...]]] = {
    "en": {
        "spell": ("How do you spell {word}?", "Spell the word {word}.", "spell {word}", "Can you spell {word} for me?",
                  'Please spell "{word}".', "What are the letters of {word}?", "how is {word} spelled?",
                  'Could you spell out "{word}", please?', "I forgot how to write {word}. How is it spelled?",
                  "Give me the letters in {word}.", "Say {word} letter by letter."),
        "count": ("How many letters are in {word}?", "How many letters does {word} have?",
                  "Count the letters in {word}.", "how long is the word {word}?",
                  'How many letters are there in "{word}"?', "count letters: {word}",
                  "Can you count the letters of {word} for me?", "Please tell me how many letters {word} has.",
                  'What is the number of letters in "{word}"?', "number of letters in {word}"),
        "first": ("What is the first letter of {word}?", "Which letter does {word} start with?",
                  "first letter of {word}", "What letter does {word} begin with?",
                  'Tell me the first letter of "{word}".', "Can you give me the first letter in {word}?",
                  "With which letter does the word {word} start?", 'what does "{word}" start with?',
                  "Please name the first letter of {word}."),
        "last": ("What is the last letter of {word}?", "Which letter does {word} end with?", "last letter of {word}",
                 "What letter does {word} end in?", 'Tell me the last letter of "{word}".',
                 "Can you give me the last letter in {word}?", "With which letter does the word {word} end?",
                 'what does "{word}" end with?', "Please name the final letter of {word}."),
        "backwards": ("Spell {word} backwards.", "What is {word} backwards?", "{word} backwards",
                      "Can you reverse {word}?", 'How do you spell "{word}" backwards?', "reverse the word {word}",
                      "Write {word} from back to front.", 'Please spell "{word}" in reverse.',
                      "What do you get if you spell {word} backwards?", "Turn the letters of {word} around."),
    },
    "zh": {
        "spell": ("请把“{word}”一个字一个字地说出来。", "“{word}”拆开是哪几个字？", "{word}拆成单个的字",
                  "把“{word}”逐字念出来。", "“{word}”这个词由哪些字组成？", "帮我把“{word}”拆成一个一个的字。",
                  "逐字说出这个词：{word}", "你能把“{word}”逐字写出来吗？", "“{word}”是哪几个字？",
                  "麻烦把“{word}”一字一字地念一遍。"),
        "count": ("“{word}”有几个字？", "{word}有几个字", "“{word}”一共有多少个字？", "请数一数“{word}”有几个字。",
                  "“{word}”这个词是几个字的？", "帮我数数“{word}”的字数。", "数一下这个词有几个字：{word}",
                  "“{word}”的字数是多少？", "你知道“{word}”由几个字组成吗？"),
        "first": ("“{word}”的第一个字是什么？", "{word}第一个字是啥", "“{word}”开头的字是哪个？",
                  "请说出“{word}”的第一个字。", "“{word}”这个词以什么字开头？", "告诉我“{word}”的头一个字。",
                  "这个词的第一个字是什么：{word}", "你能说出“{word}”的第一个字吗？", "“{word}”是什么字打头的？"),
        "last": ("“{word}”的最后一个字是什么？", "{word}最后一个字是啥", "“{word}”结尾的字是哪个？",
                 "请说出“{word}”的最后一个字。", "“{word}”这个词以什么字结尾？", "告诉我“{word}”最后那个字。",
                 "这个词的最后一个字是什么：{word}", "你能说出“{word}”的最后一个字吗？", "“{word}”末尾是什么字？"),
        "backwards": ("“{word}”倒过来怎么念？", "把{word}倒过来念", "请把“{word}”倒着写。", "“{word}”反过来是什么？",
                      "“{word}”倒着说是什么？", "帮我把“{word}”的字颠倒一下。", "倒着念这个词：{word}",
                      "你能把“{word}”反过来说一遍吗？", "如果把“{word}”从后往前念，是什么？"),
        "english": ("英文单词 {word} 怎么拼？", "{word} 怎么拼写？", "请拼写英语单词 {word}。",
                    "告诉我 {word} 的拼写。", "英语里的 {word} 是怎么拼的？", "帮我拼一下 {word} 这个单词。",
                    "{word} 由哪些字母组成？", "你会拼 {word} 吗？", "请把单词 {word} 的字母一个一个说出来。"),
    },
}
REPLIES: dict[Language, dict[Operation, str]] = {
    "en": {
        "spell": "It is spelled {parts}.",
        "count": "It is spelled {parts}: {numbered}, so it has {length} letters.",
        "first": "It is spelled {parts}, so the first letter is {first}.",
        "last": "It is spelled {parts}, so the last letter is {last}.",
        "backwards": "It is spelled {parts}, so backwards it is {reverse}.",
    },
    "zh": {
        "spell": "拆开是：“{parts}”。",
        "count": "拆开是：“{parts}”，{numbered}，一共{length}个字。",
        "first": "拆开是：“{parts}”，第一个字是：“{first}”。",
        "last": "拆开是：“{parts}”，最后一个字是：“{last}”。",
        "backwards": "拆开是：“{parts}”，倒过来是：“{reverse}”。",
        "english": "拼写是 {parts}。",
    },
}


def draw(rng: random.Random, lang: Language) -> Exchange:
    """One word, with one thing to do to it."""
    operation = rng.choice(OPERATIONS[lang])
    word = rng.choice(_words(operation, lang))
    question = pick_wording(rng, WORDINGS[lang][operation], word=word)
    return Exchange(f"{operation}:{word}", (question, take_apart(word, operation, lang)))


def take_apart(word: str, operation: Operation, lang: Language) -> str:
    """The reply: the word's parts, then what was asked of them."""
    chinese = lang == "zh" and operation != "english"
    between = "”“" if chinese else " "
    pairs = [f"{i}{part}" if chinese else f"{part}{i}" for i, part in enumerate(word, 1)]
    numbered = ("" if chinese else " ").join(pairs)
    return REPLIES[lang][operation].format(
        parts=between.join(word), numbered=numbered, length=len(word),
        first=word[0], last=word[-1], reverse=between.join(reversed(word)),
    )


def _words(operation: Operation, lang: Language) -> tuple[str, ...]:
    if lang == "zh" and operation != "english":
        return CHINESE
    return tuple(w for w in ENGLISH if operation != "backwards" or len(w) <= LONGEST_BACKWARDS)
