"""Units of measurement in Latin letters that may follow a number, and their names in Mandarin."""

from __future__ import annotations

from functools import cache

from GPT_SoVITS.text.data import table

MORE_MANDARIN_UNITS = {
    "g": "克", "mg": "毫克", "KG": "千克", "KM": "千米", "L": "升", "ms": "毫秒", "min": "分钟", "h": "小时",
    "km/h": "千米每小时", "m/s": "米每秒", "dB": "分贝", "kW": "千瓦", "V": "伏",
    "Hz": "赫兹", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫",
}  # fmt: skip
"""Beside those of `data/zh_tables.json`."""


@cache
def mandarin_units() -> dict[str, str]:
    """Return unit → its name in Mandarin."""
    return {**dict(table("zh_tables")["units_in_order"]), **MORE_MANDARIN_UNITS}
