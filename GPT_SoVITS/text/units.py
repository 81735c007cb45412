"""Units of measurement in Latin letters that may follow a number, and their names in Mandarin."""

from __future__ import annotations

from functools import cache

from GPT_SoVITS.text.data import table

MORE_MANDARIN_UNITS = {
    "g": "克", "mg": "毫克", "KG": "千克", "KM": "千米", "L": "升", "ms": "毫秒", "min": "分钟", "h": "小时",
    "km/h": "千米每小时", "m/s": "米每秒", "dB": "分贝", "kW": "千瓦", "V": "伏",
    "Hz": "赫兹", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫",
    "km/s": "千米每秒", "m/s²": "米每二次方秒", "m/s2": "米每二次方秒", "mmHg": "毫米汞柱", "Pa": "帕", "kPa": "千帕",
    "hPa": "百帕", "MPa": "兆帕", "kcal": "千卡", "cal": "卡", "kJ": "千焦", "kWh": "千瓦时", "mAh": "毫安时",
    "Ah": "安时",
    "mA": "毫安", "mV": "毫伏", "kV": "千伏", "MW": "兆瓦", "GW": "吉瓦", "W": "瓦", "mW": "毫瓦", "Ω": "欧姆",
    "kΩ": "千欧",
    "μm": "微米", "µm": "微米", "um": "微米", "nm": "纳米", "dm": "分米", "μg": "微克", "µg": "微克", "ug": "微克",
    "μL": "微升", "µL": "微升", "mL": "毫升", "ML": "毫升", "CM": "厘米", "MM": "毫米", "l": "升", "dL": "分升",
    "km²": "平方千米", "km2": "平方千米", "mm²": "平方毫米", "mm2": "平方毫米", "dm²": "平方分米", "mm³": "立方毫米",
    "m^2": "平方米", "m^3": "立方米", "hm²": "公顷", "ha": "公顷", "lb": "磅", "oz": "盎司", "ft": "英尺",
    "mph": "英里每小时",
    "rpm": "转每分钟", "bpm": "次每分钟", "fps": "帧每秒", "dpi": "点每英寸", "ppm": "百万分之一", "KB": "千字节",
    "kB": "千字节", "MB": "兆字节", "GB": "吉字节", "TB": "太字节", "Mbps": "兆比特每秒", "Gbps": "吉比特每秒",
    "kbps": "千比特每秒", "mol": "摩尔", "mmol": "毫摩尔", "μs": "微秒", "µs": "微秒", "ns": "纳秒", "THz": "太赫",
    "hr": "小时", "°F": "华氏度", "kN": "千牛", "kgf": "千克力", "lm": "流明", "lx": "勒克斯",
}  # fmt: skip
"""Beside those of `data/zh_tables.json`."""


@cache
def mandarin_units() -> dict[str, str]:
    """Return unit → its name in Mandarin."""
    return {**dict(table("zh_tables")["units_in_order"]), **MORE_MANDARIN_UNITS}
