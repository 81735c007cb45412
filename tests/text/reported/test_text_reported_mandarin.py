"""Mandarin texts that users reported as misread, with many more of each class."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.mandarin.frontend import Mandarin

MEASURES = (  # noqa: SIM905
    "个 只 条 张 本 辆 台 件 名 位 人 家 座 层 间 栋 户 头 匹 棵 颗 朵 枝 支 根 把 块 片 粒 滴 瓶 杯 碗 盒 "
    "箱 袋 桶 双 对 副 套 组 公里 公斤 公顷 千米 千克 米 厘米 毫米 英里 英尺 英寸 海里 平方米 平方公里 "
    "立方米 平米 亩 吨 克 斤 磅 升 毫升 加仑 元 块钱 美元 欧元 日元 英镑 港元 人民币 角 分钟 小时 秒 秒钟 天 "
    "周 个月 星期 岁 周年 世纪 次 遍 趟 回 场 届 轮 局 步 顿 倍 成 页 字 章 节 集 部 首 篇 句 段 行 词 种 类 "
    "样 项 份 批 期 门 度 瓦 千瓦 伏 赫兹 卡 千卡 大卡 分贝 字节 人次 光年 像素 票 级 桌 席 枚 艘 架 列 封 "
    "幅 面 顶 扇 盏 串 束 群 队 班 排 点"
).split()
TWO_IS_ER = {"度", "期", "级", "班", "排"}


@pytest.mark.parametrize("measure", MEASURES)
def test_a_number_before_a_measure_word_is_a_quantity(measure):
    normalize = Mandarin().normalize

    assert normalize(f"共198{measure}") == f"共一百九十八{measure}"
    assert normalize(f"约2500{measure}多") == f"约二千五百{measure}多"
    assert normalize(f"有2{measure}") == f"有{'二' if measure in TWO_IS_ER else '两'}{measure}"
    assert normalize(f"3～5{measure}") == f"三到五{measure}"


@pytest.mark.parametrize("mark", [*"～~〜∼-－–—", "——"])
@pytest.mark.parametrize("tail", ["天", "个", "公里", "", "元", "%"])
def test_a_range_is_two_numbers(mark, tail):
    expected = {"%": "百分之三到百分之五"}.get(tail, f"三到五{tail}")

    assert Mandarin().normalize(f"3{mark}5{tail}") == expected


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("3天～5天", "三天到五天"),
        ("100元～200元", "一百元到二百元"),
        ("10%～20%", "百分之十到百分之二十"),
        ("￥100～￥200", "一百到二百元"),
        ("￥5-8", "五到八元"),
        ("1.5～2.5米", "一点五到二点五米"),
        ("-5～10℃", "零下五到十度"),
        ("12:30～13:30", "十二点半至十三点半"),
        ("２～３", "二到三"),
        ("3＜5", "三小于五"),
        ("3 > 5", "三大于五"),
        ("<5", "小于五"),
        ("3>=5", "三大于等于五"),
        ("3≤5", "三小于等于五"),
        ("3≠5", "三不等于五"),
        ("3（5）", "三,五"),
        ("3）（5", "三,五"),
        ("5【6】", "五,六"),
        ("《3》5", "三,五"),
        ("3 5 7", "三,五,七"),
        ("3，5", "三,五"),
        ("3、5", "三,五"),
        ("3；5", "三,五"),
        ("3;5", "三,五"),
        ("3_5", "三,五"),
        ("3|5", "三,五"),
        ("3@5", "三,五"),
        ("3&5", "三和五"),
        ("3x5", "三乘五"),
        ("5*6=30", "五乘六等于三十"),
        ("10^6", "十的六次方"),
        ("3%5", "百分之三,五"),
        ("3：2", "三比二"),
        ("5‰", "千分之五"),
        ("10.0.0.1:8080", "一零点零点零点一端口八零八零"),
        ("138 1234 5678", "幺三八幺二三四五六七八"),
    ],
)
def test_no_character_between_two_numbers_merges_them(written, spoken):
    assert Mandarin().normalize(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("30年经验", "三十年经验"),
        ("20年前", "二十年前"),
        ("近30年", "近三十年"),
        ("10年", "十年"),
        ("5年", "五年"),
        ("100年", "一百年"),
        ("2000年历史", "二千年历史"),
        ("1500年前", "一千五百年前"),
        ("5000年文明", "五千年文明"),
        ("1998年", "一九九八年"),
        ("2008年奥运会", "二零零八年奥运会"),
        ("2024年来到北京", "二零二四年来到北京"),
        ("98年出生", "九八年出生"),
        ("98年", "九八年"),
        ("08年", "零八年"),
        ("24年12月", "二四年十二月"),
        ("90年代", "九十年代"),
        ("1990年代", "一九九零年代"),
        ("2月3日", "二月三日"),
        ("2号楼", "二号楼"),
        ("2年级和3年级", "二年级和三年级"),
    ],
)
def test_years_that_pass_are_counted_and_years_that_are_named_are_not(written, spoken):
    assert Mandarin().normalize(written) == spoken


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("km/s", "千米每秒"),
        ("km/h", "千米每小时"),
        ("m/s", "米每秒"),
        ("mmHg", "毫米汞柱"),
        ("kPa", "千帕"),
        ("hPa", "百帕"),
        ("Pa", "帕"),
        ("kcal", "千卡"),
        ("kWh", "千瓦时"),
        ("mAh", "毫安时"),
        ("kV", "千伏"),
        ("V", "伏"),
        ("W", "瓦"),
        ("kW", "千瓦"),
        ("Hz", "赫兹"),
        ("GHz", "吉赫"),
        ("GB", "吉字节"),
        ("MB", "兆字节"),
        ("Mbps", "兆比特每秒"),
        ("mg", "毫克"),
        ("kg", "千克"),
        ("μm", "微米"),
        ("nm", "纳米"),
        ("mL", "毫升"),
        ("mg/L", "毫克每升"),
        ("g/mL", "克每毫升"),
        ("mmol/L", "毫摩尔每升"),
        ("L/min", "升每分钟"),
        ("km²", "平方千米"),
        ("m³", "立方米"),
        ("Ω", "欧姆"),
        ("dB", "分贝"),
        ("rpm", "转每分钟"),
    ],
)
def test_a_unit_is_read_by_its_name_and_makes_its_number_a_quantity(unit, name):
    assert Mandarin().normalize(f"约120{unit}") == f"约一百二十{name}"
    assert Mandarin().normalize(f"约120 {unit}。") == f"约一百二十{name}."


@pytest.mark.parametrize("unit", ["km/s", "mmHg", "kPa", "mAh", "GB"])
def test_a_unit_among_chinese_words_is_chinese(unit):
    assert [segment.language for segment in phonemize(f"大约是120{unit}左右", "auto").segments] == ["zh"]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("17:20分", "十七点二十分"),
        ("17：20分", "十七点二十分"),
        ("8:00分", "八点"),
        ("12:05分", "十二点零五分"),
        ("9:30:15秒", "九点三十分十五秒"),
        ("1:30小时", "一小时三十分"),
        ("2:45分钟", "两分四十五秒"),
        ("1，000元", "一千元"),
        ("１，０００元", "一千元"),
        ("￥1，000", "一千元"),
        ("1，234，567人", "一百二十三万四千五百六十七人"),
        ("￥1，234.56", "一千二百三十四点五六元"),
        ("1,000", "一千"),
        ("超过3000", "超过三千"),
        ("2分之1", "二分之一"),
        ("编号007", "编号零零七"),
        ("请拨打110", "请拨打幺幺零"),
    ],
)
def test_times_amounts_and_names_are_told_apart(written, spoken):
    assert Mandarin().normalize(written) == spoken


NUMBER = st.integers(1, 99).map(str)
BETWEEN = st.sampled_from(
    [
        *"～~〜∼-－–—＜＞<>（）()【】[]{}《》〈〉「」『』“”‘’\"'，,、；;。！!？?…·•",
        *"|＿_＼\\@&#^*×÷+=±≈≠≤≥/：: \u3000％%‰°℃￥$xab",
        " < ",
        "）（",
        "  ",
    ]
)


@settings(max_examples=500)
@given(left=NUMBER, right=NUMBER, between=BETWEEN)
def test_two_numbers_are_never_read_as_one(left, right, between):
    normalize = Mandarin().normalize

    assert normalize(left + between + right) not in {normalize(left + right), normalize(left) + normalize(right)}


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("北纬39°54′26″", "北纬三十九度五十四分二十六秒"),
        ("温度20°", "温度二十度"),
        ("24:00开始", "二十四点开始"),
        ("9点—17点", "九点到十七点"),
        ("第3章～第5章", "第三章到第五章"),
        ("周一～周五", "周一到周五"),
        ("2023～2024学年", "二零二三到二零二四学年"),
        ("12/25/2023", "二零二三年十二月二十五日"),
        ("25/12/2023", "二零二三年十二月二十五日"),
        ("10°C~15°C", "十度到十五度"),
        ("-5°C~-2°C", "零下五度到零下二度"),
        ("120/80mmHg", "一百二十比八十毫米汞柱"),
        ("6/2=3", "六除以二等于三"),
        ("110发布通知", "幺幺零发布通知"),
        ("2024成为最热的一年", "二零二四成为最热的一年"),
        ("3起事故", "三起事故"),
        ("10的6次方", "十的六次方"),
        ("5个工作日", "五个工作日"),
    ],
)
def test_numbers_in_dates_ranges_and_measures_are_read_as_such(written, spoken):
    assert Mandarin().normalize(written) == spoken
