"""Changes of meaning: each changes what is asked, and is undone like any other edit."""

import pytest

from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import apply_edits, undo_edits
from duologue.adversarial.family import perturb
from duologue.adversarial.meaning import MEANING_FAMILIES
from duologue.adversarial.table_files import read_table
from duologue.adversarial.text_view import TextView

EXAMPLES = {
    "number": ("What is 48 + 7?", "把三个苹果给我", "I have two dogs."),
    "order": ("What is 48 - 7?", "7减5等于多少？", "8 divided by 2?"),
    "entity": ("What is the capital of France?", "法国的首都是哪里？", "It is Monday today"),
    "antonym": ("Which is the largest?", "把这些数从小到大排列", "Is it the first letter?"),
    "en-negation": ("Is it warm?", "I don't like it", "You can't do that"),
    "zh-negation": ("我可以游泳", "我没有时间", "这是苹果吗"),
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EXAMPLES.items() for text in texts])
def test_changes_each_example(name: str, text: str) -> None:
    for number in range(20):
        edits = perturb(TextView(text), MEANING_FAMILIES[name], 0.01, Draws(number))
        changed = apply_edits(text, edits)
        assert changed != text
        assert undo_edits(changed, edits) == text


def one(name: str, text: str) -> set[str]:
    view = TextView(text)
    return {apply_edits(text, perturb(view, MEANING_FAMILIES[name], 0.01, Draws(number))) for number in range(60)}


def test_what_they_write() -> None:
    assert one("order", "What is 48 - 7?") == {"What is 7 - 48?"}
    assert one("antonym", "Find the largest of them") == {"Find the smallest of them"}
    assert one("antonym", "请从小到大排列") == {"请从大到小排列"}
    assert one("en-negation", "It won't rain") == {"It will rain"}
    assert one("en-negation", "It is rain") == {"It is not rain"}
    assert one("zh-negation", "我没有时间") == {"我有时间"}
    assert one("order", "3 plus 5, on 2026-11-28") == {"3 plus 5, on 2026-11-28"}
    assert one("zh-negation", "社会很重要，但是会不会") <= {"社会很重要，但是会会"}
    assert one("antonym", "多少钱") == {"多少钱"}
    numbers = one("number", "5 apples")
    assert numbers <= {f"{digit} apples" for digit in range(10)} - {"5 apples"}
    assert len(numbers) > 6
    assert all(len(text) == len("48 apples") and text[0] != "0" for text in one("number", "48 apples"))


def test_every_word_of_the_tables_has_another() -> None:
    for kind, *words in read_table("alternatives"):
        family = MEANING_FAMILIES["antonym" if kind == "antonym" else "entity"]
        for word in words:
            edits = perturb(TextView(f"Well, {word} it is"), family, 0.01, Draws(word))
            is_alone = len(word) == 1 and not word.isascii()  # part of too many other words
            assert edits or is_alone or word == "没有", word  # whose opposite is such a character
