"""The words for symbols, units, titles and abbreviations in English."""

from __future__ import annotations

CHARACTERS = {
    "。": ".", "．": ".", "！": "!", "？": "?", "，": ",", "、": ",", "；": ",", "：": ":", "…": "...",
    "‘": "'", "’": "'", "ʼ": "'", "`": "'", "´": "'",
    "“": "", "”": "", '"': "", "«": "", "»": "", "„": "",
    "—": "—", "―": "—", "–": "-", "‐": "-", "‑": "-", "‒": "-", "−": "-", "⁄": "/",
    "²": " squared", "³": " cubed", "º": "°", "℃": "°C", "℉": "°F",
    "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "th", "Ð": "Th", "þ": "th", "Þ": "Th", "ı": "i",
}  # fmt: skip
SYMBOL_WORDS = {
    "&": " and ", "@": " at ", "+": " plus ", "=": " Equals ", "×": " times ", "÷": " divided by ",
    "±": " plus or minus ",
    "°": " degrees", "%": " percent", "‰": " per mille", "§": " section ", "©": " copyright ", "®": " registered ",
    "£": " pounds ", "$": " dollars ", "€": " euros ", "¥": " yen ", "₹": " rupees ", "₩": " won ",
    "→": ", ", "￥": " yen ",
    "≈": " about ", "≠": " is not ", "≤": " at most ", "≥": " at least ", "∞": " infinity ", "√": " root of ",
}  # fmt: skip
OPERATORS = {
    "+": "plus",
    "-": "minus",
    "−": "minus",
    "×": "times",
    "*": "times",
    "÷": "divided by",
    "/": "divided by",
    "=": "Equals",
}
CURRENCIES = {
    "£": ("pound", "pounds", "penny", "pence"),
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "￥": ("yen", "yen", "sen", "sen"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
MORE_UNITS = {
    "mm": ["millimeter", "millimeters"], "cm": ["centimeter", "centimeters"], "kg": ["kilogram", "kilograms"],
    "g": ["gram", "grams"], "mg": ["milligram", "milligrams"], "lb": ["pound", "pounds"], "lbs": ["pound", "pounds"],
    "oz": ["ounce", "ounces"], "ml": ["milliliter", "milliliters"], "mL": ["milliliter", "milliliters"],
    "mph": ["mile per hour", "miles per hour"], "ms": ["millisecond", "milliseconds"], "Hz": ["hertz", "hertz"],
    "kHz": ["kilohertz", "kilohertz"], "MHz": ["megahertz", "megahertz"], "GHz": ["gigahertz", "gigahertz"],
    "KB": ["kilobyte", "kilobytes"], "kB": ["kilobyte", "kilobytes"], "MB": ["megabyte", "megabytes"],
    "GB": ["gigabyte", "gigabytes"], "TB": ["terabyte", "terabytes"], "W": ["watt", "watts"],
    "kW": ["kilowatt", "kilowatts"],
    "V": ["volt", "volts"], "dB": ["decibel", "decibels"],
}  # fmt: skip
TITLES = {
    "Dr": "Doctor", "St": "Saint", "Capt": "Captain",
    "Gen": "General", "Sen": "Senator", "Rev": "Reverend", "Lt": "Lieutenant", "Col": "Colonel", "Sgt": "Sergeant",
}  # fmt: skip
"""Read as titles before a name only: "Elm St." is another matter."""
ALWAYS_TITLES = {"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor"}
ABBREVIATIONS = {
    "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department", "jr": "Junior", "sr": "Senior",
    "e.g": "for example", "i.e": "that is", "vol": "volume", "pp": "pages", "fig": "figure", "ave": "Avenue",
    "blvd": "Boulevard", "ph.d": "P H D",
}  # fmt: skip
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
SHORT_MONTHS = {name[:3]: name for name in MONTHS if len(name) > 4} | {"Sept": "September"}
SCALE_WORDS = "hundred|thousand|million|billion|trillion"
SCALES = {"K": "thousand", "k": "thousand", "M": "million", "m": "million", "B": "billion", "bn": "billion"}
"""Letters that stand for them behind an amount of money."""
SPACED_UNITS = frozenset("mm cm km kg mg ml mL lb lbs oz mph GB MB KB kB TB Hz kHz MHz GHz kW dB ft".split())  # noqa: SIM905
"""Units that are nothing else, so that whitespace may stand before them."""
TOP_LEVEL = "com|org|net|edu|gov|info|io|ai|app|dev|co|uk|us|de|fr|eu|jp|cn|tv|me"
