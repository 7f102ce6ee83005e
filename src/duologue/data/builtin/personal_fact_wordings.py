"""How users tell something about themselves and how they ask for it again; what is said back, one form for each.

A topic is told in one turn and fills one attribute or, for a pet, two. The acknowledgement repeats every value, and the
answer stands in the same words as the acknowledgement, so that looking it up is copying it.
"""

from __future__ import annotations

from dataclasses import dataclass

from duologue.data.builtin.people import AGES, ANIMALS, CITIES, COLOURS, FOODS, JOBS, NAMES, PET_NAMES, PLANS
from duologue.data.builtin.skill import Language


@dataclass(frozen=True, slots=True)
class Topic:
    """Something to tell: its wordings hold ``{attribute}`` for each attribute that it fills."""

    attributes: tuple[str, ...]
    acknowledgement: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something to ask for: its values, the one answer, the answer where nothing was told, and the questions."""

    values: tuple[str, ...]
    answer: str
    unknown: str
    questions: tuple[str, ...]


TOPICS: dict[Language, dict[str, Topic]] = {
    "en": {
        "name": Topic(("name",), "Nice to meet you, {name}!", (
            "My name is {name}.", "I am {name}.", "I'm {name}.", "Hi, I am {name}.", "Hello, my name is {name}.",
            "my name is {name}", "hi i'm {name}", "Call me {name}.", "People call me {name}.", "They call me {name}.",
            "Just so you know, my name is {name}.", "This is {name} speaking.")),
        "colour": Topic(("colour",), "I see, your favourite colour is {colour}.", (
            "My favourite colour is {colour}.", "My favorite color is {colour}.", "I like the colour {colour} best.",
            "The colour I love most is {colour}.", "my favourite colour is {colour}",
            "Of all colours I like {colour} best.", "I love {colour}, it is my favourite colour.",
            "No colour is as nice as {colour}.", "By the way, {colour} is my favourite colour.",
            "I think {colour} is the nicest colour.", "i like the color {colour} best")),
        "pet": Topic(("animal", "pet_name"), "I see, you have {animal} called {pet_name}.", (
            "I have {animal} called {pet_name}.", "I have {animal} named {pet_name}.",
            "My pet is {animal} called {pet_name}.", "At home I have {animal}, {pet_name}.",
            "i have {animal} called {pet_name}", "I own {animal} called {pet_name}.",
            "We have {animal} at home. It is called {pet_name}.", "I have {animal}. Its name is {pet_name}.",
            "My pet {pet_name} is {animal}.", "{pet_name} is my pet. It is {animal}.",
            "I live with {animal} called {pet_name}.")),
        "tomorrow": Topic(("tomorrow",), "I see, tomorrow you want to {tomorrow}.", (
            "Tomorrow I want to {tomorrow}.", "I want to {tomorrow} tomorrow.", "I will {tomorrow} tomorrow.",
            "Tomorrow I am going to {tomorrow}.", "My plan for tomorrow is to {tomorrow}.",
            "tomorrow i will {tomorrow}", "I plan to {tomorrow} tomorrow.", "Tomorrow it is time to {tomorrow}.",
            "I have to {tomorrow} tomorrow.", "I hope to {tomorrow} tomorrow.",
            "Guess what, tomorrow I will {tomorrow}!")),
        "weekend": Topic(("weekend",), "I see, at the weekend you want to {weekend}.", (
            "At the weekend I want to {weekend}.", "I want to {weekend} at the weekend.",
            "On the weekend I will {weekend}.", "This weekend I am going to {weekend}.",
            "My plan for the weekend is to {weekend}.", "this weekend i will {weekend}",
            "I plan to {weekend} this weekend.", "I will {weekend} at the weekend.",
            "I hope to {weekend} this weekend.", "Guess what, this weekend I will {weekend}!")),
        "city": Topic(("city",), "I see, you live in {city}.", (
            "I live in {city}.", "I'm living in {city}.", "My home is in {city}.", "I have a flat in {city}.",
            "i live in {city}", "The city I live in is {city}.", "My city is {city}.",
            "I moved to {city} and live there now.", "We live in {city}.", "By the way, I live in {city}.",
            "Home for me is {city}.")),
        "job": Topic(("job",), "I see, you are {job}.", (
            "I work as {job}.", "I have worked as {job} for years.", "I am {job}.", "I'm {job}.",
            "I earn my living as {job}.", "i work as {job}", "I am {job} by profession.", "For a living, I am {job}.",
            "At work I am {job}.", "By the way, I am {job}.", "I have a job as {job}.")),
        "food": Topic(("food",), "I see, your favourite food is {food}.", (
            "My favourite food is {food}.", "My favorite food is {food}.", "I like to eat {food} best.",
            "What I like to eat most is {food}.", "my favourite food is {food}", "I could eat {food} every day.",
            "I love {food} more than any other food.", "Of all food I like {food} best.",
            "No food is as good as {food}.", "By the way, my favourite food is {food}.",
            "The food I love most is {food}.")),
        "age": Topic(("age",), "I see, you are {age} years old.", (
            "I am {age} years old.", "I'm {age} years old.", "I am {age}.", "My age is {age}.",
            "i am {age} years old", "I turned {age} this year.", "I just turned {age}.", "I am {age} now.",
            "By the way, I am {age} years old.", "It was my birthday, I am {age} now.", "i'm {age}")),
    },
    "zh": {
        "name": Topic(("name",), "很高兴认识你，{name}！", (
            "我叫{name}。", "我的名字叫{name}。", "我是{name}。", "你好，我叫{name}。", "我的名字是{name}。",
            "叫我{name}就行。", "你可以叫我{name}。", "大家都叫我{name}。", "我叫{name}", "嗨，我是{name}。",
            "自我介绍一下，我叫{name}。", "我名叫{name}。")),
        "colour": Topic(("colour",), "好的，你最喜欢的颜色是{colour}。", (
            "我最喜欢的颜色是{colour}。", "我最喜欢{colour}。", "颜色里我最爱{colour}。",
            "所有颜色里我最喜欢{colour}。", "我最爱的颜色是{colour}。", "我觉得{colour}最好看。",
            "我喜欢的颜色是{colour}", "对了，我最喜欢的颜色是{colour}。", "我就爱{colour}，别的颜色都比不上。",
            "要说颜色，我最喜欢{colour}。")),
        "pet": Topic(("animal", "pet_name"), "好的，你养了{animal}，叫{pet_name}。", (
            "我养了{animal}，叫{pet_name}。", "我有{animal}，名叫{pet_name}。", "我家有{animal}，叫{pet_name}。",
            "我的宠物是{animal}，叫{pet_name}。", "我养了{animal}，名字叫{pet_name}。",
            "我家养了{animal}，它叫{pet_name}。", "我养着{animal}，叫它{pet_name}",
            "{pet_name}是我的宠物，是{animal}。", "我的宠物叫{pet_name}，是{animal}。",
            "家里有{animal}陪我，叫{pet_name}。")),
        "tomorrow": Topic(("tomorrow",), "好的，你明天打算{tomorrow}。", (
            "我明天打算{tomorrow}。", "明天我要{tomorrow}。", "我明天想{tomorrow}。", "明天我准备{tomorrow}。",
            "我计划明天{tomorrow}。", "明天我会{tomorrow}。", "我的计划是明天{tomorrow}。", "我明天得{tomorrow}。",
            "明天我想{tomorrow}", "告诉你，我明天要{tomorrow}。")),
        "weekend": Topic(("weekend",), "好的，你周末打算{weekend}。", (
            "我周末打算{weekend}。", "周末我要{weekend}。", "我周末想{weekend}。", "周末我准备{weekend}。",
            "我计划周末{weekend}。", "这个周末我会{weekend}。", "我的计划是周末{weekend}。",
            "到了周末我要{weekend}。", "周末我想{weekend}", "告诉你，我周末要{weekend}。")),
        "city": Topic(("city",), "好的，你住在{city}。", (
            "我住在{city}。", "我家在{city}。", "我现在住在{city}。", "我在{city}住。", "我生活在{city}。",
            "我住的城市是{city}。", "我搬到{city}住了。", "我们家住在{city}。", "我住{city}", "对了，我住在{city}。",
            "我在{city}安了家。")),
        "job": Topic(("job",), "好的，你是一名{job}。", (
            "我是一名{job}。", "我的工作是{job}。", "我是{job}。", "我的职业是{job}。", "我是做{job}的。",
            "我靠当{job}谋生。", "我做的是{job}这一行。", "我是个{job}", "对了，我是一名{job}。",
            "说到工作，我是{job}。")),
        "food": Topic(("food",), "好的，你最喜欢吃{food}。", (
            "我最喜欢吃{food}。", "我最爱吃{food}。", "我最喜欢的食物是{food}。", "吃的里面我最爱{food}。",
            "我天天都想吃{food}。", "所有吃的里我最喜欢{food}。", "我觉得{food}最好吃。", "没有什么比{food}更好吃。",
            "我最爱吃{food}", "对了，我最喜欢吃{food}。")),
        "age": Topic(("age",), "好的，你今年{age}岁。", (
            "我今年{age}岁。", "我{age}岁。", "我今年{age}岁了。", "我的年龄是{age}岁。", "我刚满{age}岁。",
            "我已经{age}岁了。", "我现在{age}岁。", "我{age}岁了", "对了，我今年{age}岁。",
            "我刚过完生日，{age}岁了。")),
    },
}

ATTRIBUTES: dict[Language, dict[str, Attribute]] = {
    "en": {
        "name": Attribute(NAMES["en"], "Your name is {name}.", "You have not told me your name yet.", (
            "What is my name?", "What's my name?", "Do you know my name?", "Do you remember my name?", "Who am I?",
            "What am I called?", "Tell me my name.", "Can you say my name?", "what is my name",
            "Which name did I tell you?")),
        "colour": Attribute(COLOURS["en"], "Your favourite colour is {colour}.",
            "You have not told me your favourite colour yet.", (
            "What is my favourite colour?", "What's my favorite color?", "Which colour do I like best?",
            "Do you remember my favourite colour?", "Which colour do I love most?", "Tell me my favourite colour.",
            "What colour do I like?", "Do you know which colour I like best?", "what is my favourite colour",
            "Which colour did I say is my favourite?")),
        "animal": Attribute(ANIMALS["en"], "You have {animal}.", "You have not told me about a pet yet.", (
            "What pet do I have?", "Which pet do I have?", "What kind of pet do I have?",
            "Do you remember what pet I have?", "Which animal do I have?", "What animal is my pet?",
            "Tell me what pet I have.", "Which animal did I say I have?", "what pet do i have",
            "Do you know which animal I keep?")),
        "pet_name": Attribute(PET_NAMES["en"], "Your pet is called {pet_name}.",
            "You have not told me the name of a pet yet.", (
            "What is my pet called?", "What is the name of my pet?", "What's my pet's name?",
            "Do you remember my pet's name?", "What do I call my pet?", "Tell me the name of my pet.",
            "Do you know what my pet is called?", "Which name does my pet have?", "what is my pet's name",
            "What did I say my pet is called?")),
        "tomorrow": Attribute(PLANS["en"], "Tomorrow you want to {tomorrow}.",
            "You have not told me your plan for tomorrow yet.", (
            "What do I want to do tomorrow?", "What will I do tomorrow?", "What is my plan for tomorrow?",
            "What am I going to do tomorrow?", "Do you remember my plan for tomorrow?",
            "What are my plans for tomorrow?", "Tell me my plan for tomorrow.", "What did I say I will do tomorrow?",
            "what will i do tomorrow", "Do you know what I want to do tomorrow?")),
        "weekend": Attribute(PLANS["en"], "At the weekend you want to {weekend}.",
            "You have not told me your plan for the weekend yet.", (
            "What do I want to do at the weekend?", "What will I do this weekend?",
            "What is my plan for the weekend?", "What am I going to do at the weekend?",
            "Do you remember my plan for the weekend?", "What are my plans for the weekend?",
            "Tell me my plan for the weekend.", "What did I say I will do at the weekend?",
            "what will i do this weekend", "Do you know what I want to do at the weekend?")),
        "city": Attribute(CITIES["en"], "You live in {city}.", "You have not told me where you live yet.", (
            "Where do I live?", "In which city do I live?", "Which city do I live in?", "What city do I live in?",
            "Do you remember where I live?", "Where is my home?", "Tell me where I live.",
            "Do you know where I live?", "where do i live", "Where did I say I live?")),
        "job": Attribute(JOBS["en"], "You are {job}.", "You have not told me your job yet.", (
            "What is my job?", "What's my job?", "What do I do for a living?", "What do I work as?",
            "Do you remember my job?", "What is my profession?", "Tell me my job.", "Do you know what my job is?",
            "what is my job", "What did I say my job is?")),
        "food": Attribute(FOODS["en"], "Your favourite food is {food}.",
            "You have not told me your favourite food yet.", (
            "What is my favourite food?", "What's my favorite food?", "Which food do I like best?",
            "Do you remember my favourite food?", "What do I like to eat best?", "Tell me my favourite food.",
            "What food do I love most?", "Do you know my favourite food?", "what is my favourite food",
            "What did I say I like to eat best?")),
        "age": Attribute(AGES, "You are {age} years old.", "You have not told me your age yet.", (
            "How old am I?", "What is my age?", "What's my age?", "Do you remember how old I am?",
            "Do you know my age?", "Tell me my age.", "Can you say how old I am?", "Which age did I tell you?",
            "how old am i", "What age am I?")),
    },
    "zh": {
        "name": Attribute(NAMES["zh"], "你叫{name}。", "你还没有告诉我你的名字。", (
            "我叫什么名字？", "我叫什么？", "你知道我叫什么吗？", "你还记得我的名字吗？", "我的名字是什么？",
            "我是谁？", "说说我叫什么。", "你能说出我的名字吗？", "我叫什么来着", "我刚才说我叫什么？")),
        "colour": Attribute(COLOURS["zh"], "你最喜欢的颜色是{colour}。", "你还没有告诉我你最喜欢的颜色。", (
            "我最喜欢什么颜色？", "我最喜欢的颜色是什么？", "我最爱哪种颜色？", "你还记得我最喜欢的颜色吗？",
            "你知道我喜欢什么颜色吗？", "说说我最喜欢的颜色。", "我喜欢哪个颜色？", "我觉得什么颜色最好看？",
            "我最喜欢什么颜色来着", "我刚才说最喜欢什么颜色？")),
        "animal": Attribute(ANIMALS["zh"], "你养了{animal}。", "你还没有告诉我你养了什么宠物。", (
            "我养了什么宠物？", "我有什么宠物？", "我养的是什么动物？", "你还记得我养了什么吗？",
            "你知道我养了什么动物吗？", "我的宠物是什么动物？", "说说我养了什么宠物。", "我家里养了什么？",
            "我养了什么来着", "我刚才说我养了什么？")),
        "pet_name": Attribute(PET_NAMES["zh"], "你的宠物叫{pet_name}。", "你还没有告诉我你的宠物叫什么。", (
            "我的宠物叫什么？", "我的宠物叫什么名字？", "我家宠物的名字是什么？", "你还记得我宠物的名字吗？",
            "你知道我的宠物叫什么吗？", "说说我的宠物叫什么。", "我给宠物起了什么名字？", "我管我的宠物叫什么？",
            "我的宠物叫什么来着", "我刚才说宠物叫什么？")),
        "tomorrow": Attribute(PLANS["zh"], "你明天打算{tomorrow}。", "你还没有告诉我你明天的计划。", (
            "我明天打算做什么？", "我明天要做什么？", "我明天有什么计划？", "明天我想做什么？",
            "你还记得我明天的计划吗？", "你知道我明天要做什么吗？", "说说我明天的计划。", "我明天准备干什么？",
            "我明天要干嘛来着", "我刚才说明天要做什么？")),
        "weekend": Attribute(PLANS["zh"], "你周末打算{weekend}。", "你还没有告诉我你周末的计划。", (
            "我周末打算做什么？", "我周末要做什么？", "我周末有什么计划？", "周末我想做什么？",
            "你还记得我周末的计划吗？", "你知道我周末要做什么吗？", "说说我周末的计划。", "我周末准备干什么？",
            "我周末要干嘛来着", "我刚才说周末要做什么？")),
        "city": Attribute(CITIES["zh"], "你住在{city}。", "你还没有告诉我你住在哪里。", (
            "我住在哪里？", "我住在哪个城市？", "我家在哪里？", "你还记得我住在哪里吗？", "你知道我住哪儿吗？",
            "说说我住在哪里。", "我在哪个城市生活？", "我住的是哪座城市？", "我住哪儿来着", "我刚才说我住在哪里？")),
        "job": Attribute(JOBS["zh"], "你是一名{job}。", "你还没有告诉我你的工作。", (
            "我是做什么工作的？", "我的工作是什么？", "我的职业是什么？", "你还记得我的工作吗？",
            "你知道我是干什么的吗？", "说说我的工作是什么。", "我是干哪一行的？", "我做什么工作？",
            "我是做什么的来着", "我刚才说我是做什么的？")),
        "food": Attribute(FOODS["zh"], "你最喜欢吃{food}。", "你还没有告诉我你最喜欢吃什么。", (
            "我最喜欢吃什么？", "我最爱吃什么？", "我最喜欢的食物是什么？", "你还记得我最爱吃什么吗？",
            "你知道我喜欢吃什么吗？", "说说我最喜欢吃什么。", "我觉得什么最好吃？", "什么东西我最爱吃？",
            "我最喜欢吃什么来着", "我刚才说最爱吃什么？")),
        "age": Attribute(AGES, "你今年{age}岁。", "你还没有告诉我你的年龄。", (
            "我今年几岁？", "我几岁了？", "我多大了？", "我的年龄是多少？", "你还记得我多大吗？", "你知道我几岁吗？",
            "说说我今年几岁。", "我今年多少岁？", "我多大来着", "我刚才说我几岁？")),
    },
}
