"""What no noise may touch: addresses, code, numbers, quotations, negations, control text.

A slip in a word can be read past; one in a number, a quoted word or a "not" asks for another answer.
"""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_NUMBER_WORDS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half|"
    "first|second|third|once|twice"
)
_NEGATIONS = "not|no|never|none|nobody|nothing|nor|neither|without|cannot|[a-z]+n['’]t"

PROTECTED = re.compile(
    "|".join(
        [
            r"```.*?```|`[^`\n]+`",  # code
            r"<\|.*?\|>|</?[A-Za-z][\w-]*>|\[/?INST\]",  # control text of chat templates
            r"(?:https?://|www\.)[^\s<>，。！？；：、）】”’]+",
            r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",  # e-mail
            r"[@#]\w+",  # handles and tags
            r"(?:[A-Za-z]:)?(?:[\\/][\w.-]+){2,}|\w+(?:_\w+)+|\b\w+\.(?:py|js|c|h|txt|json|md|html|com|org|net|cn)\b",
            r'"[^"\n]{1,200}"|“[^”\n]{1,200}”|‘[^’\n]{1,200}’|「[^」\n]{1,200}」|『[^』\n]{1,200}』|《[^》\n]{1,200}》',
            r"(?<!\w)'[^'\n]{1,200}'(?!\w)",
            r"[A-Za-z]*\d[\w.,:/%+*=^°-]*",  # numbers, and what stands with them
            r"[=+*/^<>≤≥≠±×÷√∑∫]+",
            rf"\b(?i:{_NUMBER_WORDS}|{_NEGATIONS})\b",
            r"[零〇一二三四五六七八九十百千万亿两双]+|[不没别未无非莫勿]",
        ]
    ),
    re.DOTALL,
)
