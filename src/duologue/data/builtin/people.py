"""Who people are and what they like: the values that can stand in a personal fact, short and common.

English jobs and animals carry their article, Chinese animals their measure word, so that every sentence can take them
as they are. Chinese cities and foods are those that come to mind in Chinese; nothing here is a translation list.
"""

from __future__ import annotations

from duologue.data.builtin.skill import Language

NAMES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo", "Maria",
        "Nora", "Oscar", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Alice", "Peter", "Julia", "Mark", "Lucy",
        "Tom", "Sarah", "Daniel", "Ella", "Omar", "Mei", "Ravi", "Lena", "Hugo", "Amira", "Kofi", "Hanna", "Simon",
        "Ruth", "Martin", "Clara", "Felix", "Jane", "Adam", "Laura", "Nina", "Robert",
    ),
    "zh": (
        "李明", "王芳", "张伟", "刘洋", "陈静", "杨帆", "赵磊", "黄丽", "周凯", "吴敏", "徐强", "孙悦", "马超",
        "朱琳", "胡军", "郭涛", "何平", "高兰", "林峰", "罗兰", "郑文", "梁宇", "谢天", "宋雨", "唐宁", "许文",
        "邓辉", "冯雪", "韩梅", "曹亮", "小明", "小红", "小刚", "小丽", "小军", "小雨", "小雪", "小美", "小杰",
        "小云", "晓峰", "婷婷", "佳佳", "天天", "乐乐", "阿强", "子涵", "浩然",
    ),
}
COLOURS: dict[Language, tuple[str, ...]] = {
    "en": (
        "red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey", "gold",
        "silver", "turquoise",
    ),
    "zh": (
        "红色", "蓝色", "绿色", "黄色", "橙色", "紫色", "粉色", "棕色", "黑色", "白色", "灰色", "金色", "银色",
        "青色",
    ),
}
CITIES: dict[Language, tuple[str, ...]] = {
    "en": (
        "London", "Paris", "Rome", "Berlin", "Madrid", "Vienna", "Oslo", "Lisbon", "Dublin", "Athens", "Boston",
        "Chicago", "Denver", "Seattle", "Dallas", "Miami", "Toronto", "Sydney", "Tokyo", "Beijing", "Cairo", "Lima",
        "Delhi", "Prague", "Warsaw", "Geneva", "Milan", "Oxford", "York", "Bristol", "Austin", "Houston", "Montreal",
        "Melbourne", "Nairobi", "Seoul", "Bangkok", "Hamburg", "Munich", "Lyon", "Porto", "Havana", "Leeds",
        "Glasgow",
    ),
    "zh": (
        "北京", "上海", "广州", "深圳", "杭州", "南京", "苏州", "武汉", "成都", "重庆", "西安", "天津", "青岛",
        "大连", "厦门", "长沙", "郑州", "济南", "合肥", "福州", "昆明", "贵阳", "南宁", "海口", "三亚", "沈阳",
        "长春", "太原", "兰州", "西宁", "银川", "拉萨", "宁波", "无锡", "珠海", "桂林", "洛阳", "扬州", "香港",
        "澳门", "台北", "东京", "巴黎", "伦敦",
    ),
}
FOODS: dict[Language, tuple[str, ...]] = {
    "en": (
        "pizza", "pasta", "rice", "soup", "salad", "bread", "cheese", "fish", "chicken", "pancakes", "noodles",
        "curry", "sushi", "tacos", "burgers", "potatoes", "beans", "eggs", "apple pie", "ice cream", "chocolate",
        "strawberries", "bananas", "mangoes", "dumplings", "tomato soup", "fried rice", "toast", "waffles", "yoghurt",
        "honey", "peanut butter", "sandwiches", "carrots", "corn", "mushrooms", "popcorn", "cookies", "cheesecake",
        "lasagne", "porridge", "grapes", "pears", "tofu",
    ),
    "zh": (
        "饺子", "面条", "米饭", "包子", "馒头", "火锅", "烤鸭", "豆腐", "炒饭", "馄饨", "汤圆", "粽子", "月饼",
        "油条", "烧卖", "米线", "凉皮", "春卷", "煎饼", "鸡蛋", "西瓜", "苹果", "香蕉", "草莓", "葡萄", "橘子",
        "芒果", "蛋糕", "冰淇淋", "巧克力", "披萨", "汉堡", "寿司", "薯条", "牛排", "红烧肉", "糖醋鱼", "烤鱼",
        "番茄", "土豆", "玉米", "酸奶", "饼干", "炒面",
    ),
}
JOBS: dict[Language, tuple[str, ...]] = {
    "en": (
        "a teacher", "a doctor", "a nurse", "a baker", "a cook", "a farmer", "a driver", "a pilot", "a painter",
        "a singer", "a writer", "a student", "a lawyer", "a dentist", "a gardener", "a plumber", "a carpenter",
        "a librarian", "a waiter", "a tailor", "a builder", "a chemist", "a dancer", "a designer", "a drummer",
        "a fisherman", "a hairdresser", "a journalist", "a judge", "a mechanic", "a musician", "a photographer",
        "a postman", "a programmer", "a sailor", "a scientist", "a translator", "a vet", "an actor", "an architect",
        "an artist", "an electrician", "an engineer", "an astronomer",
    ),
    "zh": (
        "老师", "医生", "护士", "厨师", "司机", "农民", "工人", "画家", "歌手", "作家", "学生", "律师", "牙医",
        "园丁", "木匠", "服务员", "裁缝", "警察", "军人", "化学家", "舞者", "设计师", "渔民", "理发师", "记者",
        "法官", "技工", "音乐家", "摄影师", "邮递员", "程序员", "水手", "科学家", "翻译", "兽医", "演员", "建筑师",
        "电工", "工程师", "会计", "飞行员", "消防员", "图书管理员", "面包师",
    ),
}
ANIMALS: dict[Language, tuple[str, ...]] = {
    "en": (
        "a cat", "a dog", "a rabbit", "a hamster", "a parrot", "a goldfish", "a turtle", "a pony", "a mouse",
        "a duck", "a goat", "a lizard", "a canary", "a hen", "a donkey", "a guinea pig", "a sheep", "a snail",
    ),
    "zh": (
        "一只猫", "一只狗", "一只兔子", "一只仓鼠", "一只鹦鹉", "一条金鱼", "一只乌龟", "一匹小马", "一只老鼠",
        "一只鸭子", "一只山羊", "一只蜥蜴", "一只松鼠", "一只母鸡", "一头驴", "一只豚鼠", "一只绵羊", "一只鹅",
    ),
}
PET_NAMES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Max", "Bella", "Charlie", "Luna", "Rocky", "Daisy", "Buddy", "Molly", "Coco", "Ginger", "Lucky", "Milo",
        "Ruby", "Oreo", "Pepper", "Shadow", "Snowy", "Spot", "Teddy", "Tiger", "Toby", "Willow", "Ziggy", "Biscuit",
        "Bruno", "Cookie", "Fluffy", "Hazel", "Honey", "Jasper", "Mango", "Mocha", "Muffin", "Nala", "Peanut",
        "Poppy", "Pumpkin", "Rusty", "Simba", "Smokey", "Sunny", "Waffles",
    ),
    "zh": (
        "豆豆", "球球", "毛毛", "咪咪", "旺财", "来福", "花花", "点点", "皮皮", "妞妞", "果果", "团团", "圆圆",
        "布丁", "奶茶", "可乐", "雪碧", "糖糖", "饭团", "芝麻", "汤包", "年糕", "栗子", "土豆泥", "橘子皮", "小白",
        "小黑", "小灰", "小花", "大黄", "多多", "贝贝", "宝宝", "笨笨", "胖胖", "闹闹", "丁丁", "当当", "泡泡",
        "麻薯", "元宝", "咖啡",
    ),
}
PLANS: dict[Language, tuple[str, ...]] = {
    "en": (
        "go swimming", "bake a cake", "clean the kitchen", "read a book", "ride a bike", "play chess", "go fishing",
        "paint a picture", "visit a museum", "plant a tree", "go shopping", "cook dinner", "learn a song",
        "write a letter", "climb a hill", "watch a film", "play football", "play tennis", "fly a kite", "go dancing",
        "have a picnic", "fix the roof", "wash the car", "meet a friend", "go running", "sleep late", "build a table",
        "make pancakes", "take photos", "go to the zoo", "go to the beach", "go to the library", "tidy the garage",
        "pick apples", "play the piano", "practise yoga", "see a doctor", "buy new shoes", "take a train",
        "call a friend", "do the laundry", "go camping", "study maths", "feed the ducks",
    ),
    "zh": (
        "去游泳", "做蛋糕", "打扫厨房", "看书", "骑自行车", "下象棋", "去钓鱼", "画画", "参观博物馆", "种树",
        "去购物", "做晚饭", "学唱歌", "写信", "去爬山", "看电影", "踢足球", "打网球", "放风筝", "去跳舞", "去野餐",
        "修屋顶", "洗车", "见朋友", "去跑步", "睡懒觉", "做桌子", "包饺子", "拍照片", "去动物园", "去海边",
        "去图书馆", "收拾房间", "摘苹果", "弹钢琴", "练瑜伽", "看医生", "买新鞋", "坐火车", "给朋友打电话", "洗衣服",
        "去露营", "学数学", "打篮球",
    ),
}
AGES: tuple[str, ...] = tuple(str(age) for age in range(6, 86))
DAYS: dict[Language, tuple[str, ...]] = {
    "en": (
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    ),
    "zh": (
        "星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期天",
    ),
}
EVENTS: dict[Language, tuple[str, ...]] = {
    "en": (
        "meeting", "party", "lesson", "match", "test", "trip", "concert", "dinner", "wedding", "market",
    ),
    "zh": (
        "会议", "聚会", "课", "比赛", "考试", "旅行", "音乐会", "面试", "婚礼", "讲座",
    ),
}
