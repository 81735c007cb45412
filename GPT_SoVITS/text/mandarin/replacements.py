"""The words that the rules of `normalize.py` put in place of what they match."""

from __future__ import annotations

import re

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.numbers import cardinal, digit_by_digit, number, telephone

N = r"[0-9]+(?:\.[0-9]+)?"
CURRENCIES = {
    "￥": "元",
    "$": "美元",
    "€": "欧元",
    "£": "英镑",
    "₩": "韩元",
    "₽": "卢布",
    "₹": "卢比",
    "฿": "泰铢",
    "₫": "越南盾",
}
MORE_MEASURE_WORDS = frozenset(
    (  # noqa: SIM905
        "公里 公斤 公顷 公尺 公亩 公升 公吨 公担 平方米 平方公里 平方千米 平方厘米 平方毫米 平方英尺 平米 "
        "立方米 立方厘米 立方 英里 英尺 英寸 海里 磅 盎司 加仑 光年 摄氏度 华氏度 度 度电 分钟 秒钟 点钟 "
        "小时 钟头 毫秒 微秒 纳秒 纳米 星期 礼拜 个月 世纪 周年 周岁 学期 学年 学时 课时 学分 年级 毫升 升 "
        "瓦 千瓦 千瓦时 兆瓦 伏 伏特 安 安培 毫安 赫兹 千赫 兆赫 吉赫 帕 千帕 兆帕 百帕 卡 千卡 大卡 卡路里 "
        "焦 焦耳 千焦 牛顿 欧姆 分贝 像素 字节 兆 比特 流明 人次 人民币 美金 日元 欧元 英镑 港币 港元 台币 "
        "新台币 韩元 卢布 法郎 卢比 泰铢 块钱 毛钱 分钱 元钱 届 次 遍 顿 步 票 倍 成 折 级 楼 层楼 栋 单元 "
        "期 集 章 节 卷 版 字 句 行 词 种 类 样 款 副 份 员 股 门 餐 滴 瓣 串 束 丛 尊 扇 班 部 枪 发 轮 局 "
        "圈 任 年代 顷 吨 克 斤 瓶 听 缸 筐 车 船 声 拳 巴掌 帧 转 米 厘 桌 席 门课 胎 窝 滩 摊 团 帮 伙 拨 "
        "波 起 宗 桩 则 道 通 记 处 手 笔 幕 弯 环 格 档 路 号 辆次 架次 车次 班次 场次 平方 页 张 册 支 管 "
        "天 晚 人 名 位 亿人 间 座 点 百分点 个百分点 马力 毫米汞柱 千米每小时 米每秒 克拉 公分 英亩 "
        "平方英里 立方分米 立方毫米 平方分米 微克 微升 毫克 兆字节 吉字节 千字节 太字节 兆比特 吉比特 千比特 "
        "摩尔 毫摩尔 欧 勒克斯 千牛 越南盾 尾 头 秒 刻 周 季度 夜 宿 组 排 队 连 营 师 旅 军 次方 包 工作日 "
        "沓 剂 缕 筒 柱 炷 匙 篓 坛 瓮 炉 盅 匣 屉 摞 柄 杆 瓢 昼夜 品脱 夸脱 开尔文 美分 便士 澳元 加元"
    ).split()
)
"""Beside those of `data/zh_tables.json`: what stands behind a number that counts."""
VERBS = (
    "发[生布展现出表送起来给]|起[来飞步诉草]|通[过知报话]|管理|则[是为会不要可]|道歉|处[理于罚]|部署|声[称明]|记[录得住]|"
    "组[织成建]|排[名在列]|连[续接]|营[业收销]|转[发型账移让]|听[到说取]|行动|成[为立功]|任[命职]|点[击评赞名]|位[于居列]|名为|步入|期[待望]|包[括含围装]"
)
"""What begins with a measure word and is none: the number before it names something (110发布, 2024成为)."""
SPOKEN_TWO = frozenset("月 日 号 楼 路 级 班 期 年级 度 两 路车 单元 版 师 团 营 连 排 军 旅 分之 次方".split())  # noqa: SIM905
"""Measure words before which 2 is 二; before any other it is 两."""
PERIOD_BEHIND = re.compile(
    "的?(?:经验|历史|以前|以后|之后|之前|前|后|间|内|以上|以下|多|时间|左右|工龄|教龄|期|寿命|如一|之久)"
)
PERIOD_BEFORE = ("近", "约", "过", "了", "这", "用", "第", "整", "满", "有", "足", "达", "在位", "活")
YEAR_NAMED_BEHIND = re.compile("(?:出生|毕业|入学|初|底|末|版|款|级|春|夏|秋|冬|世界杯|奥运|亚运|国庆|国庆节|属)")


def minus(sign: str) -> str:
    """Return 负 for a minus sign."""
    return "负" if sign else ""


def below_zero(sign: str) -> str:
    """Return 零下, for temperatures, for a minus sign."""
    return "零下" if sign else ""


def say_money(currency: str, sign: str, amount: str, scale: str | None) -> str:
    """Say an amount with its currency behind it."""
    return f"{minus(sign)}{number(amount)}{scale or ''}{CURRENCIES[currency]}"


def say_power(match: re.Match[str]) -> str:
    """Say a superscript."""
    digits = table("zh_tables")["superscripts"]
    return f"的{''.join(digits[superscript] for superscript in match[0])}次方"


def say_fraction(match: re.Match[str]) -> str:
    """Return 四分之三 for 3/4."""
    return f"{minus(match[1])}{cardinal(match[3])}分之{cardinal(match[2])}"


def say_counted(match: re.Match[str]) -> str:
    """Write out a number before its measure word: exactly 2 is 两."""
    words = "两" if match[0] == "2" and match[3] not in SPOKEN_TWO else cardinal(match[1])
    return words + (match[2] or "").replace("+", "多")


def say_amount(match: re.Match[str]) -> str:
    """Write out a number behind a word that tells that it counts."""
    return match[1] + cardinal(match[2])


def say_years(match: re.Match[str]) -> str:
    """Say how many years, or which year: what stands around the number tells."""
    digits, before, after = match[1], match.string[max(match.start() - 2, 0) : match.start()], match[2] or ""
    is_name = len(digits) == 2 and (digits[0] == "0" or YEAR_NAMED_BEHIND.match(match.string, match.end(1) + 1))
    if len(digits) == 4:
        is_round = digits[2:] == "00" and re.match("的?历史|多|之久|寿命|前", after)
        is_name = before == "公元" or (int(digits) < 3000 and not (is_round and (digits, after[:1]) != ("2000", "前")))
    elif len(digits) == 2 and int(digits) >= 80 and not PERIOD_BEHIND.match(after):
        is_name = is_name or not before.endswith(PERIOD_BEFORE)
    return (digit_by_digit(digits) if is_name else cardinal(digits)) + "年" + after


def say_duration(match: re.Match[str]) -> str:
    """Say hours and minutes, or minutes and seconds, that something takes."""
    units = ["小时", "分", "秒"] if match[4] == "小时" else ["分", "秒"]
    parts = zip(filter(None, match.groups()[:3]), units)
    words = [f"{'两' if digits == '2' else cardinal(digits)}{unit}" for digits, unit in parts if int(digits)]
    return "".join(words) or f"零{units[0]}"


def say_date(match: re.Match[str]) -> str:
    """Say a date that is written with 年, 月 and 日."""
    words = digit_by_digit(match[1]) + "年"
    if match[2]:
        words += cardinal(match[2]) + "月"
    return words + (cardinal(match[3]) + match[4] if match[3] else "")


def say_numeric_date(match: re.Match[str]) -> str:
    """Say a date of the form 2024-03-05."""
    return f"{digit_by_digit(match[1])}年{cardinal(match[3])}月{cardinal(match[4])}日"


def say_foreign_date(match: re.Match[str]) -> str:
    """Say a date with the year last: the month first, unless only the other order is a date."""
    month, day = sorted((match[1], match[2]), key=int) if int(match[1]) > 12 else (match[1], match[2])
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match[0]
    return f"{digit_by_digit(match[3])}年{cardinal(month)}月{cardinal(day)}日"


def say_times(match: re.Match[str]) -> str:
    """Say a time of day, or a range of two."""
    first = say_time(match[1], match[2], match[3])
    if not match[4]:
        return first
    if match[2] == "30" != match[5]:  # upstream misreads these: said as people do
        return f"{first}到{say_time(match[4], match[5], match[6]).removesuffix('分')}"
    return f"{first}至{say_time(match[4], match[5], match[6], half=match[2] == '30')}"


def say_time(hour: str, minute: str, second: str | None, half: bool = True) -> str:
    """Write out a time; `half`: whether 30 minutes are 半, at the end of a range only where its start said it."""
    words = cardinal(hour) + "点"
    if int(minute):
        words += "半" if half and minute == "30" and not int(second or 0) else say_two_digits(minute) + "分"
    if second and int(second):
        words += say_two_digits(second) + "秒"
    return words


def say_two_digits(digits: str) -> str:
    """Say the minutes or seconds of a time."""
    return ("零" if digits[0] == "0" else "") + cardinal(digits)


def say_expression(match: re.Match[str]) -> str:
    """Say a sum and the like."""
    words = {**table("zh_tables")["math_words"], "/": "除以"}
    pieces = re.split(r"([+×÷=/-])", match[0])
    return "".join(words.get(piece) or (number(piece) if re.fullmatch(N, piece) else piece) for piece in pieces)


def say_mobile(match: re.Match[str]) -> str:
    """Say a mobile number digit by digit, the country's code apart."""
    digits = match[0].lstrip("+").replace("-", "")
    if len(digits) == 11:
        return telephone(digits)
    return "，".join(filter(None, (telephone(digits[:2]), telephone(digits[-11:]))))


def say_range(match: re.Match[str]) -> str:
    """Say a range of two numbers."""
    last = "两" if match[4] == "2" and match.lastindex == 5 else number(match[4])
    return f"{minus(match[1])}{number(match[2])}到{minus(match[3])}{last}"
