"""Word lists of the built-in corpus: the words to spell, few enough to be known by heart, and the small numbers."""

from __future__ import annotations

_ENGLISH = """
ant apple arm baby back bag ball banana bank bath bean bear bed bee bell bike bird black blue boat body book
boot bottle bowl box boy brain bread bridge brown brush bus butter cake camel camp candle car card carrot cat
chair cheese child circle city class clock cloud coat coffee cold color cow cup dance day desk dinner doctor
dog doll door dragon dream dress drink drum duck ear earth egg eye face family farm father fire fish flag floor
flower food foot forest fork fox friend frog fruit game garden girl glass goat gold grape grass green hair hand
hat head heart home honey horse hotel house ice island jam juice key king kite knife lake lamp leaf leg lemon
letter light lion lunch map milk mirror money monkey moon mother mouse mouth music name neck nest night nose
ocean onion orange paint paper park pear pen pencil phone piano pig pizza plane plant plate pocket potato queen
rabbit rain red rice ring river road robot rock roof room rose salt school sea sheep ship shirt shoe shop silver
sister sky snake snow soap sock soup spoon star stone street sugar summer sun table tea team tiger time tomato
train tree truck water wind window winter wolf wood yellow zebra
"""

_CHINESE = """
苹果 香蕉 西瓜 葡萄 桃子 草莓 橙子 柠檬 白菜 土豆 黄瓜 豆腐 米饭 面条 面包 饺子 包子 牛奶 鸡蛋 蛋糕
果汁 咖啡 茶叶 糖果 早饭 午饭 晚饭 老师 学生 医生 护士 警察 司机 农民 工人 朋友 同学 爸爸 妈妈 爷爷
奶奶 哥哥 姐姐 弟弟 妹妹 孩子 大象 老虎 狮子 猴子 兔子 熊猫 小狗 小猫 鸭子 蝴蝶 蜜蜂 金鱼 太阳 月亮
星星 天空 白云 大海 河流 高山 森林 草地 花园 雪花 下雨 刮风 春天 夏天 秋天 冬天 早上 中午 晚上 今天
昨天 明天 时间 学校 教室 医院 银行 商店 公园 机场 车站 城市 农村 房子 窗户 桌子 椅子 沙发 床单 电脑
手机 电视 冰箱 空调 雨伞 衣服 裤子 鞋子 帽子 手套 眼镜 书包 铅笔 钢笔 橡皮 本子 报纸 故事 音乐 电影
足球 篮球 跑步 游泳 唱歌 跳舞 画画 读书 写字 汽车 火车 飞机 轮船 地铁 北京 上海 中国 世界 历史 数学
科学 语文 英语 健康 快乐 幸福 梦想 礼物 生日 照片 钥匙 杯子 盘子 筷子 勺子 头发 眼睛 鼻子 耳朵 嘴巴
西红柿 巧克力 冰淇淋 方便面 葡萄干 图书馆 博物馆 火车站 幼儿园 动物园 游乐场 体育馆 办公室 洗手间
自行车 出租车 摩托车 电视机 洗衣机 照相机 电冰箱 笔记本 长颈鹿 猫头鹰 向日葵 太阳镜 羽毛球 乒乓球
中秋节 儿童节 圣诞树 运动会 大熊猫 小朋友 科学家 服务员 公共汽车 高速公路 电子邮件 人工智能 百科全书 生日快乐
新年快乐 一路平安 天气预报 春夏秋冬
"""

ENGLISH = tuple(_ENGLISH.split())
CHINESE = tuple(_CHINESE.split())
NUMBERS = {
    "en": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    "zh": ("一", "两", "三", "四", "五", "六", "七", "八", "九", "十"),  # as they stand before a measure word
}
