"""Small talk: what people say in passing, kind by kind, and the replies that fit each kind.

``openings`` names the group of openings that a kind can take: one says "OK, bye!" but not "Hi! Bye!". A wording that
ends in a question mark keeps it; behind the others stands one of the statement endings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from duologue.data.builtin.skill import Language

Group = Literal["meeting", "talk", "parting"]


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """A kind of small talk: how people say it and what one replies."""

    openings: Group
    replies: tuple[str, ...]
    wordings: tuple[str, ...]


OPENINGS: dict[Language, dict[Group, tuple[str, ...]]] = {
    "en": {
        "meeting": ("", "", "Oh, ", "Well, ", "Ah, ", "Hm, ", "Oh! "),
        "talk": ("", "", "Hi! ", "Hello! ", "Hey, ", "Oh, ", "Well, ", "You know, "),
        "parting": ("", "", "OK, ", "Well, ", "All right, ", "Great. ", "So, ", "Oh, "),
    },
    "zh": {
        "meeting": ("", "", "哦，", "嗯，", "啊，", "嘿嘿，", "哎，"),
        "talk": ("", "", "你好！", "嗨，", "嘿，", "嗯，", "哦，", "跟你说，"),
        "parting": ("", "", "好的，", "好吧，", "行，", "嗯，", "那，", "哦，"),
    },
}
ENDINGS: dict[Language, tuple[str, ...]] = {
    "en": ("!", ".", ".", ", Duologue!", ", Duologue.", ", my friend.", " :)"),
    "zh": ("！", "。", "。", "，小对！", "，Duologue。", "，朋友。", "～"),
}
QUESTION_ENDINGS: dict[Language, tuple[str, ...]] = {
    "en": ("?", "?", ", Duologue?", ", my friend?", "? Tell me.", "? :)"),
    "zh": ("？", "？", "，小对？", "，朋友？", "？说说看。", "？嘿嘿。"),
}

SMALL_TALK: dict[Language, dict[str, SmallTalk]] = {
    "en": {
        "hello": SmallTalk("meeting", ("Hello! How can I help you?", "Hi! Nice to see you."), (
            "hello", "hi", "hey", "hello there", "hi there", "hey there", "hello again", "hi again", "greetings",
            "howdy", "good day", "hello hello", "hi, it is me", "hello, nice to see you")),
        "morning": SmallTalk("meeting", ("Good morning! Did you sleep well?", "Good morning to you!"), (
            "good morning", "morning", "a very good morning", "good morning to you", "top of the morning",
            "I just woke up", "I just got up", "good morning, sunshine", "it is morning", "what a fine morning")),
        "evening": SmallTalk("meeting", ("Good evening! How was your day?", "Good evening to you!"), (
            "good evening", "evening", "a very good evening", "good evening to you", "I just came home",
            "I am home from work", "I am back from school", "what a fine evening", "at last it is evening",
            "home at last")),
        "afternoon": SmallTalk("meeting", ("Good afternoon! How is your day?", "Good afternoon to you!"), (
            "good afternoon", "afternoon", "a very good afternoon", "good afternoon to you", "what a fine afternoon",
            "I just had lunch", "lunch is over", "it is afternoon", "back from lunch", "I have the afternoon off")),
        "how_are_you": SmallTalk("talk", ("I am fine, thank you! And you?", "Very well, thanks! How are you?"), (
            "how are you?", "how are you doing?", "how are you today?", "how do you do?", "how is it going?",
            "how's it going?", "how are things?", "are you well?", "are you OK?", "how have you been?",
            "everything all right?", "is all well with you?")),
        "whats_up": SmallTalk("talk", ("I am here to chat with you.", "Not much. I am happy to chat!"), (
            "what's up?", "what is up?", "what is new?", "what's new?", "what are you doing?", "what are you up to?",
            "are you busy?", "do you have time?", "are you there?", "can we talk?", "shall we chat?",
            "do you want to chat?")),
        "user_fine": SmallTalk("talk", ("I am glad to hear that!", "That is good to hear!"), (
            "I am fine", "I am well", "I am very well", "I am doing great", "I feel good", "I am happy",
            "I am so happy", "I had a great day", "life is good", "today was a good day", "I feel wonderful",
            "all is well")),
        "user_sad": SmallTalk("talk",
            ("I am sorry to hear that. I am here for you.", "Oh no. Do you want to talk about it?"), (
            "I am sad", "I feel sad", "I feel bad today", "I am not well", "I had a bad day", "I feel lonely",
            "today was hard", "I feel down", "I want to cry", "nothing went right today", "I am worried",
            "it is not my day")),
        "tired": SmallTalk("talk", ("Then take a good rest.", "A short rest will do you good."), (
            "I am tired", "I am so tired", "I am sleepy", "I need some sleep", "I feel worn out", "I need a break",
            "it was a long day", "I slept badly", "I can hardly keep my eyes open", "I am yawning all day",
            "work made me tired", "I am exhausted")),
        "bored": SmallTalk("talk", ("Let us chat! What do you like to do?", "How about a walk or a good book?"), (
            "I am bored", "I am so bored", "this is boring", "I have nothing to do", "what a boring day",
            "I do not know what to do", "it is so dull today", "time goes so slowly", "nothing happens here",
            "I am bored to tears", "today is dull", "I need something to do")),
        "hungry": SmallTalk("talk", ("Then it is time for a snack!", "Enjoy your meal!"), (
            "I am hungry", "I am so hungry", "I want something to eat", "I need a snack", "my stomach is empty",
            "it is time for lunch", "dinner is ready", "I could eat a horse", "I am going to eat now",
            "I have not eaten all day", "I smell dinner")),
        "thanks": SmallTalk("parting", ("You are welcome!", "You are welcome. I am glad to help."), (
            "thanks", "thank you", "thank you very much", "thanks a lot", "many thanks", "thanks for your help",
            "thank you so much", "that was helpful", "that helps a lot", "I thank you", "cheers", "thanks for that")),
        "sorry": SmallTalk("parting", ("No problem at all!", "That is all right."), (
            "sorry", "I am sorry", "I am so sorry", "my mistake", "my bad", "I beg your pardon", "excuse me",
            "sorry for that", "please forgive me", "I did not mean it", "sorry I am late", "I take it back")),
        "compliment": SmallTalk("parting", ("Thank you! That is kind of you.", "Thank you, how nice of you!"), (
            "you are great", "you are so clever", "you are nice", "well done", "good job", "I like you",
            "you are very kind", "that was a good answer", "you are funny", "you are the best",
            "I like to chat with you", "you are a good friend")),
        "laugh": SmallTalk("talk", ("I am glad you are laughing!", "Laughing is good for you!"), (
            "haha", "hahaha", "that is funny", "that made me laugh", "how funny", "I had to laugh", "ha, very funny",
            "so funny", "I cannot stop laughing", "you made me smile", "hehe")),
        "bye": SmallTalk("parting", ("Goodbye! See you soon.", "Bye! Take care."), (
            "bye", "goodbye", "bye bye", "see you", "see you later", "see you soon", "see you tomorrow",
            "I have to go", "I must go now", "talk to you later", "take care", "until next time")),
        "good_night": SmallTalk("parting", ("Good night! Sleep well.", "Good night and sweet dreams!"), (
            "good night", "night night", "sleep well", "I am going to bed", "I will go to sleep now", "time for bed",
            "it is bedtime", "good night to you", "sweet dreams", "off to bed", "I am going to sleep")),
        "sunny": SmallTalk("talk", ("How lovely! Enjoy the sun.", "A good day to go outside!"), (
            "the sun is shining", "it is sunny today", "what lovely weather", "the weather is great",
            "it is warm and sunny", "the sky is blue", "what a beautiful day", "the weather is fine today",
            "the sun is out", "there is not a cloud in the sky")),
        "rainy": SmallTalk("talk", ("Then take an umbrella with you!", "A good day to stay at home."), (
            "it is raining", "it is raining again", "the weather is bad", "it rains all day", "it is so wet outside",
            "what bad weather", "it is pouring", "I got wet in the rain", "there is a storm outside",
            "the rain will not stop", "the sky is grey")),
        "cold": SmallTalk("talk", ("Then dress warmly!", "A cup of tea will warm you up."), (
            "it is cold", "it is so cold today", "I am cold", "it is freezing", "it is snowing", "my hands are cold",
            "there is snow outside", "what a cold day", "winter is here", "there is ice on the road",
            "I am freezing")),
        "hot": SmallTalk("talk", ("Then drink enough water!", "A cold drink will do you good."), (
            "it is hot", "it is so hot today", "I am hot", "it is too warm", "what a hot day", "I am sweating",
            "I am melting", "the heat is too much", "summer is here", "it is boiling hot",
            "this heat makes me slow")),
    },
    "zh": {
        "hello": SmallTalk("meeting", ("你好！有什么可以帮你的吗？", "你好呀！很高兴见到你。"), (
            "你好", "您好", "你好呀", "你好啊", "嗨", "嘿", "哈喽", "在吗", "又见面了", "好久不见", "我来了",
            "我又来了", "很高兴见到你", "大家好")),
        "morning": SmallTalk("meeting", ("早上好！昨晚睡得好吗？", "早上好呀！"), (
            "早上好", "早", "早安", "早啊", "早呀", "我刚睡醒", "我刚起床", "我起床了", "天亮了", "新的一天开始了",
            "大清早好")),
        "evening": SmallTalk("meeting", ("晚上好！今天过得怎么样？", "晚上好呀！"), (
            "晚上好", "晚上好呀", "晚上好啊", "我回来了", "我刚到家", "我下班了", "我放学了", "天黑了", "总算到家了",
            "今天忙完了")),
        "afternoon": SmallTalk("meeting", ("下午好！今天顺利吗？", "下午好呀！"), (
            "下午好", "下午好呀", "下午好啊", "中午好", "午安", "我刚吃完午饭", "我午睡醒了", "午饭吃好了",
            "到下午了", "下午没事做了")),
        "how_are_you": SmallTalk("talk", ("我很好，谢谢！你呢？", "挺好的，谢谢关心！你怎么样？"), (
            "你好吗？", "你怎么样？", "最近怎么样？", "你最近好吗？", "今天过得怎么样？", "一切都好吗？",
            "近来可好？", "你还好吗？", "最近还好吗？", "日子过得怎么样？", "你今天好吗？", "都挺好的吧？")),
        "whats_up": SmallTalk("talk", ("我在等着和你聊天。", "没什么，很高兴和你聊聊！"), (
            "你在干嘛？", "你在做什么？", "你在忙吗？", "你有空吗？", "有什么新鲜事？", "忙什么呢？", "能聊聊吗？",
            "聊会儿天吧？", "想聊天吗？", "你在不在？", "有没有时间聊聊？", "陪我聊聊好吗？")),
        "user_fine": SmallTalk("talk", ("听到你这么说真高兴！", "太好了，真为你高兴！"), (
            "我很好", "我挺好的", "我今天很开心", "我好高兴", "我过得不错", "今天真顺利", "我心情很好",
            "今天是个好日子", "生活真美好", "我感觉很棒", "一切都好", "今天过得很愉快")),
        "user_sad": SmallTalk("talk", ("听到这个我很难过，我会陪着你。", "别难过，想和我说说吗？"), (
            "我很难过", "我不开心", "我心情不好", "今天真倒霉", "我有点伤心", "我好孤单", "今天过得很糟", "我想哭",
            "我有点担心", "今天什么都不顺", "我心里不好受", "我很失落")),
        "tired": SmallTalk("talk", ("那就好好休息一下吧。", "休息一会儿会好一些。"), (
            "我累了", "我好累", "我困了", "好困啊", "今天累坏了", "我想休息", "我没睡好", "我快睁不开眼了",
            "工作了一天好累", "我一直打哈欠", "真是漫长的一天", "累死我了")),
        "bored": SmallTalk("talk", ("那我们聊聊天吧！你喜欢做什么？", "出去走走或者看本书怎么样？"), (
            "好无聊", "我很无聊", "无聊死了", "没事可做", "今天真无聊", "不知道做什么好", "我闲得发慌", "好没意思",
            "时间过得真慢", "我想找点事做", "这也太无聊了", "一个人在家好闷")),
        "hungry": SmallTalk("talk", ("那快去吃点东西吧！", "祝你吃得开心！"), (
            "我饿了", "好饿啊", "肚子饿了", "我想吃东西", "该吃饭了", "我去吃饭了", "饭做好了", "我一天没吃饭了",
            "肚子咕咕叫", "我想吃点零食", "我闻到饭香了")),
        "thanks": SmallTalk("parting", ("不客气！", "不用谢，能帮到你我很高兴。"), (
            "谢谢", "谢谢你", "多谢", "非常感谢", "太感谢了", "谢啦", "谢谢你的帮助", "感谢", "辛苦了", "你帮了大忙",
            "真是太谢谢你了", "麻烦你了")),
        "sorry": SmallTalk("parting", ("没关系！", "没事，别放在心上。"), (
            "对不起", "不好意思", "抱歉", "很抱歉", "是我不好", "我错了", "请原谅我", "真对不起", "我不是故意的",
            "我来晚了", "怪我", "我收回刚才的话")),
        "compliment": SmallTalk("parting", ("谢谢夸奖！", "谢谢，你真好！"), (
            "你真棒", "你好聪明", "你真厉害", "做得好", "答得真好", "我喜欢你", "你真好", "你很有意思", "你最棒了",
            "和你聊天真开心", "你真可爱", "你是我的好朋友")),
        "laugh": SmallTalk("talk", ("你笑了我也开心！", "笑一笑，心情好！"), (
            "哈哈", "哈哈哈", "嘻嘻", "真好笑", "太好笑了", "笑死我了", "好有趣", "逗死我了", "我忍不住笑了",
            "你把我逗笑了", "太逗了")),
        "bye": SmallTalk("parting", ("再见！下次再聊。", "再见，保重！"), (
            "再见", "拜拜", "回头见", "明天见", "下次见", "我走了", "我要走了", "我先走了", "回头聊", "下次再聊",
            "先这样", "我得下线了")),
        "good_night": SmallTalk("parting", ("晚安！睡个好觉。", "晚安，做个好梦！"), (
            "晚安", "睡个好觉", "做个好梦", "我去睡了", "我要睡觉了", "该睡觉了", "我上床了", "我先睡了",
            "时间不早了，睡吧", "晚安啦", "好梦")),
        "sunny": SmallTalk("talk", ("真好！好好晒晒太阳吧。", "这样的天气适合出去走走！"), (
            "出太阳了", "今天天气真好", "今天阳光真好", "今天是晴天", "天好蓝", "今天阳光明媚", "外面暖洋洋的",
            "今天晴空万里", "天气真不错", "太阳出来了")),
        "rainy": SmallTalk("talk", ("出门记得带伞！", "下雨天适合待在家里。"), (
            "下雨了", "又下雨了", "今天天气不好", "下了一天的雨", "外面好湿", "雨下得好大", "外面有暴雨", "我淋雨了",
            "雨一直不停", "天阴沉沉的", "打雷了")),
        "cold": SmallTalk("talk", ("多穿点衣服！", "喝杯热茶暖暖身子吧。"), (
            "好冷", "今天真冷", "我好冷", "冻死我了", "下雪了", "我的手好凉", "外面有雪", "天气变冷了", "冬天来了",
            "路上结冰了", "降温了")),
        "hot": SmallTalk("talk", ("记得多喝水！", "喝点凉的会舒服些。"), (
            "好热", "今天真热", "我好热", "热死我了", "天气太热了", "我一身汗", "我快化了", "热得受不了", "夏天来了",
            "太阳好晒", "热得不想动")),
    },
}
