"""How users correct themselves, or someone who was right; what is said back, one form for each kind.

In the wordings ``{right}`` is what the user means now, ``{wrong}`` what was said before, ``{sentence}`` the right thing
as a whole sentence without its full stop. Where the user insists on something false, that is ``{claim}``.
"""

from __future__ import annotations

from dataclasses import dataclass

from duologue.data.builtin.skill import Language


@dataclass(frozen=True, slots=True)
class PlainTruth:
    """Something that everybody knows: a question, the true sentence and a false one, without full stops."""

    question: str
    truth: str
    claim: str


ACCEPTED: dict[Language, str] = {"en": "Thank you. {answer}", "zh": "明白了，{answer}"}
SUM_ACCEPTED: dict[Language, str] = {"en": "No problem: {equation}.", "zh": "没问题，{equation}。"}
SUM_KEPT: dict[Language, str] = {"en": "I still get {equation}.", "zh": "我算出来还是 {equation}。"}
TRUTH_KEPT: dict[Language, str] = {"en": "I still think that {truth}.", "zh": "我还是认为{truth}。"}

SENTENCES: dict[Language, dict[str, str]] = {
    "en": {
        "name": "my name is {right}", "colour": "my favourite colour is {right}", "city": "I live in {right}",
        "job": "I am {right}", "food": "my favourite food is {right}", "age": "I am {right}",
        "tomorrow": "tomorrow I want to {right}", "event": "it is on {right}",
    },
    "zh": {
        "name": "我叫{right}", "colour": "我最喜欢的颜色是{right}", "city": "我住在{right}", "job": "我是{right}",
        "food": "我最喜欢吃{right}", "age": "我{right}岁", "tomorrow": "我明天要{right}", "event": "是{right}",
    },
}
OWN_SLIPS: dict[Language, tuple[str, ...]] = {
    "en": (
        "No, {sentence}, not {wrong}.", "Sorry, {sentence}, not {wrong}.", "That is wrong, {sentence}.",
        "I said it wrong: {sentence}.", "Wait, {sentence}.", "Oh no, {sentence}!", "Excuse me, {sentence}.",
        "Sorry, I meant {right}.", "No, {right}, not {wrong}.", "I made a mistake: {right}, not {wrong}.",
        "Oops, I meant {right}.", "Not {wrong}, {right}!", "Wait, not {wrong} but {right}.",
        "That is wrong, I meant {right}.", "Please make that {right} instead of {wrong}.", "i meant {right}",
        "no, {right}, not {wrong}", "sorry, {sentence}",
    ),
    "zh": (
        "不对，{sentence}，不是{wrong}。", "不好意思，{sentence}，不是{wrong}。", "说错了，{sentence}。",
        "我刚才说错了，{sentence}。", "等等，{sentence}。", "哎呀，{sentence}！", "抱歉，{sentence}。",
        "对不起，我是说{right}。", "不对，我是说{right}。", "不是{wrong}，是{right}。",
        "我弄错了，是{right}，不是{wrong}。", "口误，我想说的是{right}。", "不是{wrong}，是{right}！",
        "等一下，不是{wrong}，应该是{right}。", "错了，我指的是{right}。", "请把{wrong}改成{right}。",
        "我是说{right}", "不对，是{right}",
    ),
}
EVENT_TOLD: dict[Language, tuple[str, ...]] = {
    "en": (
        "The {event} is on {day}.", "Our {event} is on {day}.", "Please note: the {event} is on {day}.",
        "the {event} is on {day}", "There is a {event} on {day}.", "We have a {event} on {day}.",
        "My {event} is on {day}.", "On {day} we have a {event}.", "I have a {event} on {day}.",
        "Next {day} is the {event}.", "The {event} will be on {day}.",
    ),
    "zh": (
        "{event}在{day}。", "我们的{event}在{day}。", "记一下，{event}在{day}。", "{event}在{day}",
        "{day}有{event}。", "我们{day}有{event}。", "我的{event}是{day}。", "到了{day}有{event}。",
        "我{day}有{event}。", "{event}定在{day}。", "{event}的时间是{day}。",
    ),
}
EVENT_ACKNOWLEDGED: dict[Language, str] = {"en": "I see, the {event} is on {day}.", "zh": "好的，{event}在{day}。"}
EVENT_ANSWER: dict[Language, str] = {"en": "The {event} is on {day}.", "zh": "{event}在{day}。"}

SUM_SLIPS: dict[Language, tuple[str, ...]] = {
    "en": (
        "Sorry, I meant {right}.", "No, I meant {right}.", "Not {wrong}, {right}!", "Oops, {right} is what I meant.",
        "I made a mistake, I want {right}.", "Wait, not {wrong} but {right}.",
        "That was a typo, it should be {right}.", "Sorry, what is {right}?", "I asked it wrong. What is {right}?",
        "Please make that {right} instead of {wrong}.", "i meant {right}", "no, {right}, not {wrong}",
    ),
    "zh": (
        "对不起，我是说 {right}。", "不对，我是说 {right}。", "不是 {wrong}，是 {right}！", "我想问的是 {right}。",
        "我说错了，应该是 {right}。", "等等，不是 {wrong}，是 {right}。", "打错了，应该是 {right}。",
        "不好意思，{right} 等于多少？", "我问错了，{right} 是多少？", "请把 {wrong} 改成 {right}。", "我是说 {right}",
        "不对，是 {right}，不是 {wrong}",
    ),
}
SUM_CLAIMS: dict[Language, tuple[str, ...]] = {
    "en": (
        "No, {sum} is {claim}.", "That is wrong, it is {claim}.", "I think it is {claim}.", "No, it is {claim}!",
        "My teacher says it is {claim}.", "Are you sure? I get {claim}.", "You are wrong, {sum} = {claim}.",
        "It must be {claim}.", "no, it is {claim}", "That cannot be, {sum} makes {claim}.",
        "Everybody knows that {sum} = {claim}.", "I do not believe you, it is {claim}.",
        "Wrong! The answer is {claim}.",
    ),
    "zh": (
        "不对，{sum} 等于 {claim}。", "错了，是 {claim}。", "我觉得是 {claim}。", "不对，是 {claim}！",
        "我老师说是 {claim}。", "你确定吗？我算的是 {claim}。", "你错了，{sum} = {claim}。", "应该是 {claim} 吧。",
        "不对，等于 {claim}", "不可能，{sum} 明明是 {claim}。", "谁都知道 {sum} = {claim}。",
        "我不信，肯定是 {claim}。", "错！答案是 {claim}。",
    ),
}
TRUTH_CLAIMS: dict[Language, tuple[str, ...]] = {
    "en": (
        "No, {claim}.", "That is wrong, {claim}.", "I think {claim}.", "I read that {claim}.",
        "My friend says {claim}.", "Are you sure? I think {claim}.", "You are wrong, {claim}!", "no, {claim}",
        "I do not believe you, {claim}.", "Everybody knows that {claim}.", "Wrong! I am sure that {claim}.",
        "That cannot be, {claim}.",
    ),
    "zh": (
        "不对，{claim}。", "错了，{claim}。", "我觉得{claim}。", "书上说{claim}。", "我朋友说{claim}。",
        "你确定吗？我觉得{claim}。", "你错了，{claim}！", "不对，{claim}", "我不信，{claim}。", "谁都知道{claim}。",
        "错！我敢肯定{claim}。", "不可能，{claim}。",
    ),
}
PLAIN_TRUTHS: dict[Language, tuple[PlainTruth, ...]] = {
    "en": (
        PlainTruth("What colour are cherries?", "cherries are red", "cherries are blue"),
        PlainTruth("What colour is chocolate?", "chocolate is brown", "chocolate is green"),
        PlainTruth("What colour is butter?", "butter is yellow", "butter is purple"),
        PlainTruth("How many fingers does a hand have?", "a hand has 5 fingers", "a hand has 6 fingers"),
        PlainTruth("How many noses does a face have?", "a face has 1 nose", "a face has 2 noses"),
        PlainTruth("How many ears does a rabbit have?", "a rabbit has 2 ears", "a rabbit has 4 ears"),
        PlainTruth("How many tails does a dog have?", "a dog has 1 tail", "a dog has 3 tails"),
        PlainTruth("How many wheels does a car have?", "a car has 4 wheels", "a car has 5 wheels"),
        PlainTruth("Is ice hot or cold?", "ice is cold", "ice is hot"),
        PlainTruth("Is the sun hot or cold?", "the sun is hot", "the sun is cold"),
        PlainTruth("Where do fish live?", "fish live in water", "fish live in trees"),
        PlainTruth("What do hens lay?", "hens lay eggs", "hens lay apples"),
        PlainTruth("What do bees make?", "bees make honey", "bees make milk"),
        PlainTruth("Where does the sun rise?", "the sun rises in the east", "the sun rises in the west"),
        PlainTruth("Are elephants big or small?", "elephants are big", "elephants are small"),
        PlainTruth("Does sugar taste sweet?", "sugar tastes sweet", "sugar tastes salty"),
        PlainTruth("Is a stone hard or soft?", "a stone is hard", "a stone is soft"),
        PlainTruth("Is a feather light or heavy?", "a feather is light", "a feather is heavy"),
        PlainTruth("What do birds have?", "birds have wings", "birds have wheels"),
        PlainTruth("When do we see stars?", "we see stars at night", "we see stars at noon"),
    ),
    "zh": (
        PlainTruth("樱桃是什么颜色的？", "樱桃是红色的", "樱桃是蓝色的"),
        PlainTruth("巧克力是什么颜色的？", "巧克力是棕色的", "巧克力是绿色的"),
        PlainTruth("茄子是什么颜色的？", "茄子是紫色的", "茄子是白色的"),
        PlainTruth("一双筷子有几根？", "一双筷子有2根", "一双筷子有3根"),
        PlainTruth("人脸上有几个鼻子？", "人脸上有1个鼻子", "人脸上有2个鼻子"),
        PlainTruth("兔子有几只耳朵？", "兔子有2只耳朵", "兔子有4只耳朵"),
        PlainTruth("狗有几条尾巴？", "狗有1条尾巴", "狗有3条尾巴"),
        PlainTruth("小猫有几只眼睛？", "小猫有2只眼睛", "小猫有3只眼睛"),
        PlainTruth("冰是热的还是冷的？", "冰是冷的", "冰是热的"),
        PlainTruth("太阳是热的还是冷的？", "太阳是热的", "太阳是冷的"),
        PlainTruth("鱼生活在哪里？", "鱼生活在水里", "鱼生活在树上"),
        PlainTruth("母鸡会下什么？", "母鸡会下蛋", "母鸡会下苹果"),
        PlainTruth("蜜蜂会做什么？", "蜜蜂会酿蜜", "蜜蜂会产奶"),
        PlainTruth("太阳从哪边升起？", "太阳从东边升起", "太阳从西边升起"),
        PlainTruth("大象是大还是小？", "大象很大", "大象很小"),
        PlainTruth("糖是什么味道的？", "糖是甜的", "糖是咸的"),
        PlainTruth("石头是硬的还是软的？", "石头是硬的", "石头是软的"),
        PlainTruth("羽毛是轻还是重？", "羽毛很轻", "羽毛很重"),
        PlainTruth("鸟身上有什么？", "鸟有翅膀", "鸟有轮子"),
        PlainTruth("什么时候能看到星星？", "晚上能看到星星", "中午能看到星星"),
    ),
}
