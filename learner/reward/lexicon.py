"""Word lists behind the style features, English and Chinese.

Each entry is a whole word or a phrase, lower case; English phrases are matched between word boundaries,
Chinese ones anywhere. The lists need not be complete: a feature compares replies with one another, so a
list that catches a steady share of what it means is enough. Written for this project.
"""

from __future__ import annotations

ENGLISH: dict[str, tuple[str, ...]] = {
    "second_person": ("you", "your", "yours", "yourself", "you're", "you'll", "you've", "you'd"),
    "first_person": (
        "i", "me", "my", "mine", "myself", "i'm", "i'll", "i've", "i'd", "we", "us", "our", "we're", "let's",
    ),
    "hedges": (
        "maybe", "perhaps", "possibly", "probably", "might", "may", "could", "seems", "seem", "somewhat",
        "generally", "usually", "often", "sometimes", "typically", "likely", "arguably", "apparently",
        "i think", "i believe", "i guess", "sort of", "kind of", "it depends", "in general", "not sure",
        "tend to", "tends to", "more or less",
    ),
    "formal": (
        "furthermore", "moreover", "however", "therefore", "thus", "consequently", "additionally",
        "nevertheless", "nonetheless", "hence", "regarding", "concerning", "whereas", "utilize", "obtain",
        "require", "requires", "ensure", "provide", "provides", "facilitate", "demonstrate", "significant",
        "significantly", "essential", "crucial", "various", "numerous", "respectively", "accordingly",
        "sincerely", "in addition", "in conclusion", "as well as", "such that", "in order to",
        "it is important", "for instance", "due to", "prior to", "dear sir", "kind regards",
    ),
    "casual": (
        "hey", "yeah", "yep", "nope", "cool", "awesome", "gonna", "wanna", "gotta", "kinda", "stuff", "guys",
        "ok", "okay", "wow", "haha", "lol", "oh", "well", "super", "totally", "pretty", "just", "really",
        "btw", "yay", "oops", "folks", "a lot", "lots of", "no worries", "you know", "a bit", "big deal",
        "go for it", "sounds like",
    ),
    "warmth": (
        "glad", "happy", "love", "lovely", "wonderful", "great", "thank", "thanks", "sorry", "hope", "dear",
        "friend", "friends", "enjoy", "welcome", "proud", "congratulations", "congrats", "care", "kind",
        "gentle", "warm", "delighted", "feelings", "brave", "comfort", "cheer", "cheers", "hug", "together",
        "understandable", "beautiful", "take care", "well done", "good luck", "i understand", "best wishes",
        "good job", "be kind",
    ),
    "intensifiers": (
        "very", "extremely", "incredibly", "absolutely", "truly", "highly", "completely", "definitely",
        "especially", "particularly", "so much", "really", "quite", "amazing", "perfect", "fantastic",
        "excellent", "best",
    ),
    "directives": (
        "should", "must", "never", "always", "avoid", "remember", "need to", "needs to", "have to",
        "has to", "make sure", "be sure", "try to", "don't forget", "you can", "consider", "ensure", "use",
        "start", "keep", "try",
    ),
    "examples": (
        "for example", "for instance", "e g", "such as", "example", "examples", "including", "imagine",
        "suppose", "let's say", "case in point",
    ),
    "reasons": (
        "because", "since", "therefore", "so that", "due to", "reason", "reasons", "as a result", "why",
        "which means", "this means", "causes", "caused", "thanks to",
    ),
    "sequence": (
        "first", "firstly", "second", "secondly", "third", "thirdly", "next", "then", "finally", "lastly",
        "step", "steps", "after that", "before", "once", "begin", "afterwards",
    ),
    "imagery": (
        "like a", "like the", "as if", "as though", "imagine", "picture", "think of", "whisper", "dance",
        "golden", "dream", "dreams", "shadow", "shadows", "sparkling", "gentle breeze", "magic", "heart",
        "soul", "story", "once upon a time",
    ),
    "disclaimers": (
        "as an ai", "as a language model", "i'm an ai", "i am an ai", "i cannot", "i can't", "i am not able",
        "i'm not able", "i'm sorry but", "i am sorry but", "unfortunately", "professional", "consult",
        "i don't have personal", "i do not have personal", "i don't have", "please note", "not a substitute",
    ),
}

CHINESE: dict[str, tuple[str, ...]] = {
    "second_person": (
        "你", "您",
    ),
    "first_person": (
        "我", "咱",
    ),
    "hedges": (
        "可能", "也许", "或许", "大概", "大约", "似乎", "好像", "一般", "通常", "往往", "有时", "我觉得",
        "不一定",
    ),
    "formal": (
        "因此", "此外", "然而", "从而", "以及", "并且", "综上", "鉴于", "关于", "敬请", "请您", "尊敬",
        "致以", "进行", "具有", "首先", "其次", "总之",
    ),
    "casual": (
        "哈哈", "嘿", "啦", "呀", "呢", "吧", "嘛", "哦", "哎", "超级", "挺", "蛮", "咋", "没事", "搞定",
    ),
    "warmth": (
        "谢谢", "感谢", "高兴", "开心", "希望", "祝", "加油", "抱歉", "朋友", "喜欢", "快乐", "欢迎",
        "温暖", "恭喜", "照顾好", "理解你", "幸福", "美好", "爱",
    ),
    "intensifiers": (
        "非常", "特别", "十分", "极其", "真的", "绝对", "最", "很",
    ),
    "directives": (
        "应该", "必须", "需要", "不要", "记得", "务必", "建议", "尽量", "可以", "避免", "试试",
    ),
    "examples": (
        "例如", "比如", "譬如", "举例", "例子", "包括", "假设",
    ),
    "reasons": (
        "因为", "所以", "由于", "因此", "原因", "导致", "为什么",
    ),
    "sequence": (
        "首先", "其次", "然后", "接着", "最后", "第一", "第二", "第三", "步骤", "之后",
    ),
    "imagery": (
        "仿佛", "好似", "宛如", "想象", "犹如", "梦", "金色", "故事", "心灵",
    ),
    "disclaimers": (
        "作为一个人工智能", "作为人工智能", "作为AI", "我无法", "我不能", "很遗憾", "请咨询", "专业人士",
    ),
}

GREETINGS: tuple[str, ...] = (
    "sure", "certainly", "of course", "great question", "good question", "hi", "hello", "hey", "absolutely",
    "i'm glad", "i'm happy", "i'd be happy", "thank you", "thanks", "what a great", "that's a great",
    "that's great", "no problem", "good morning", "dear",
    "好的", "当然", "你好", "您好", "没问题", "谢谢", "很高兴", "嗨", "这是一个很好",
)  # fmt: skip

CLOSING_OFFERS: tuple[str, ...] = (
    "let me know", "hope this helps", "hope that helps", "feel free", "happy to help", "if you have any",
    "if you need", "don't hesitate", "would you like me to", "anything else", "good luck", "enjoy",
    "希望这", "如果你有", "如果您有", "随时", "告诉我", "还有什么", "需要我", "祝你", "祝您",
)  # fmt: skip
