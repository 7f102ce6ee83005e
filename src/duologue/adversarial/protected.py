"""What no noise may touch: addresses, code, numbers, quotations, negations, control text.

A slip in a word can be read past; one in a number, a quoted word or a "not" asks for another answer.
"""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
NUMBER_WORDS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|(?:hundred|thousand|million|billion)s?|half|"
    "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|once|twice"
)
NEGATIONS = (
    "not|no|never|none|nobody|nothing|nor|neither|without|cannot|[a-z]{1,8}n['’]t|dont|doesnt|didnt|cant|wont|isnt|arent|"
    "wasnt|werent|couldnt|wouldnt|shouldnt|hasnt|havent"
)
NUMERALS = "零〇一二三四五六七八九十百千万亿两双半壹贰叁肆伍陆柒捌玖拾"
NEGATION_SIGNS = "不没别未无非莫勿否"

# Each alternative looks at a bounded number of characters from each place on, so that no text takes long.
PROTECTED = re.compile(
    "|".join(
        [
            r"```.*?(?:```|\Z)|`[^`]{1,400}`",  # code
            r"<\|[^|<>\n]{0,64}\|>|</?[A-Za-z][^<>\n]{0,200}>|\[/?INST\]",  # control text, tags
            r"\\[A-Za-z]{1,20}(?:\{[^{}\n]{0,80}\})*",  # TeX
            r"(?:https?://|www\.)[^\s<>，。！？；：、）】”’]+",
            r"(?<![\w.+-])[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64})+",  # e-mail
            r"[@#]\w{1,64}",  # handles and tags
            r"(?:[A-Za-z]:)?(?:[\\/][\w.-]{1,64}){2,}",  # paths
            r"(?<![A-Za-z0-9_])[A-Za-z0-9]{1,64}(?:_[A-Za-z0-9]{1,64})+",  # names with underscores
            r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{1,64}\.(?:py|js|c|h|txt|json|csv|md|html|com|org|net|cn|io)\b[\w/.-]{0,64}",
            r'"[^"]{1,300}"|“[^”]{1,300}”|‘[^’]{1,300}’|「[^」]{1,300}」|『[^』]{1,300}』|《[^》]{1,300}》',
            r"(?<!\w)'[^'\n]{1,200}'(?!\w)",
            r"(?<![A-Za-z])[A-Za-z]{1,32}\d[\w.,:/%+*=^°-]*|\.?\d[\w.,:/%+*=^°-]*",  # numbers, and what is with them
            r"(?<=\d)\s?[^\w\s]{1,3}\s?(?=\d)",  # marks between numbers
            r"[=+*/^<>≤≥≠±×÷√∑∫]+",
            r"\b[B-HJ-Zb-hj-z]\b|\b[A-Za-z]\b(?=\s?[-+*/=^])",  # variables
            r"(?<=[-+*/=^] )[A-Za-z]\b|(?<=[-+*/=^])[A-Za-z]\b",
            r"\b[IVXLCDM]{2,15}\b",  # Roman numbers
            rf"\b(?i:{NUMBER_WORDS}|{NEGATIONS})\b",
            rf"[{NUMERALS}]+|[{NEGATION_SIGNS}]",
        ]
    ),
    re.DOTALL,
)
# What noise may not bring in, since it would ask for something else.
MEANS_MUCH = re.compile(
    rf"\b(?i:{NUMBER_WORDS}|{NEGATIONS})\b|[{NUMERALS}{NEGATION_SIGNS}]|(?<![A-Za-z\d])\d+(?![A-Za-z\d])"
)
OPPOSITES = ("买卖", "左右", "来去", "大小", "多少", "高低", "上下", "前后", "早晚", "男女", "爸妈", "哥弟", "姐妹")
REACH = 16  # characters beside an edit that a word with it may take


def brings_in_much(text: str, start: int, end: int, new: str) -> bool:
    """Whether an edit makes a number or a negation that was not there, or the opposite of what stood there."""
    head, tail = text[max(0, start - REACH) : start], text[end : end + REACH]
    old = text[start:end]
    if any(len(old) == len(new) == 1 and old in pair and new in pair for pair in OPPOSITES):
        return True
    after = head + new + tail
    if not MEANS_MUCH.search(after):
        return False
    return len(MEANS_MUCH.findall(after)) > len(MEANS_MUCH.findall(head + old + tail))
