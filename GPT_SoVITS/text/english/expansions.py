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
    "→": ", ", "￥": " yen ", "¢": " cents ", "₽": " rubles ", "₺": " lira ", "₫": " dong ",
    "฿": " baht ", "₱": " pesos ",
    "₪": " shekels ", "₦": " naira ", "₴": " hryvnias ", "₿": " bitcoins ", "№": " number ",
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
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurus", "kurus"),
    "₫": ("dong", "dong", "xu", "xu"),
    "฿": ("baht", "baht", "satang", "satang"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₴": ("hryvnia", "hryvnias", "kopeck", "kopecks"),
    "₿": ("bitcoin", "bitcoins", "", ""),
}
"""Symbol → its currency and the hundredth of it, in singular and plural; "" where nobody counts hundredths."""
DOLLARS = {
    "US": "US", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian", "NZ": "New Zealand",
    "HK": "Hong Kong", "S": "Singapore", "NT": "Taiwan",
}  # fmt: skip
"""The letters before a dollar sign and whose dollars they mean."""
CURRENCY_CODES = {
    "USD": "US dollars", "EUR": "euros", "GBP": "pounds", "JPY": "yen", "CNY": "yuan", "RMB": "yuan",
    "CHF": "Swiss francs",
    "AUD": "Australian dollars", "CAD": "Canadian dollars", "NZD": "New Zealand dollars", "HKD": "Hong Kong dollars",
    "SGD": "Singapore dollars", "INR": "rupees", "KRW": "won", "SEK": "Swedish kronor", "NOK": "Norwegian kroner",
    "DKK": "Danish kroner", "PLN": "zloty", "BRL": "reais", "MXN": "Mexican pesos", "RUB": "rubles", "TRY": "lira",
    "ZAR": "rand", "THB": "baht", "BTC": "bitcoin",
}  # fmt: skip
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
    "nm": ["nanometer", "nanometers"], "dm": ["decimeter", "decimeters"], "mi": ["mile", "miles"],
    "yd": ["yard", "yards"], "yds": ["yard", "yards"], "in": ["inch", "inches"], "ha": ["hectare", "hectares"],
    "cl": ["centiliter", "centiliters"], "dl": ["deciliter", "deciliters"], "dL": ["deciliter", "deciliters"],
    "mol": ["mole", "moles"], "mmol": ["millimole", "millimoles"], "ft": ["foot", "feet"], "gal": ["gallon", "gallons"],
    "hr": ["hour", "hours"], "hrs": ["hour", "hours"], "mins": ["minute", "minutes"], "sec": ["second", "seconds"],
    "secs": ["second", "seconds"], "ns": ["nanosecond", "nanoseconds"], "yrs": ["year", "years"],
    "kph": ["kilometer per hour", "kilometers per hour"],
    "kmh": ["kilometer per hour", "kilometers per hour"],
    "Mbps": ["megabit per second", "megabits per second"], "Gbps": ["gigabit per second", "gigabits per second"],
    "kbps": ["kilobit per second", "kilobits per second"], "PB": ["petabyte", "petabytes"],
    "kWh": ["kilowatt hour", "kilowatt hours"], "MW": ["megawatt", "megawatts"], "GW": ["gigawatt", "gigawatts"],
    "kV": ["kilovolt", "kilovolts"], "mV": ["millivolt", "millivolts"], "mA": ["milliampere", "milliamperes"],
    "mAh": ["milliampere hour", "milliampere hours"], "kJ": ["kilojoule", "kilojoules"],
    "kcal": ["kilocalorie", "kilocalories"],
    "Pa": ["pascal", "pascals"], "kPa": ["kilopascal", "kilopascals"], "hPa": ["hectopascal", "hectopascals"],
    "MPa": ["megapascal", "megapascals"], "mmHg": ["millimeter of mercury", "millimeters of mercury"],
    "rpm": ["revolution per minute", "revolutions per minute"], "bpm": ["beat per minute", "beats per minute"],
    "fps": ["frame per second", "frames per second"], "dpi": ["dot per inch", "dots per inch"],
    "ppm": ["part per million", "parts per million"], "psi": ["pound per square inch", "pounds per square inch"],
    "THz": ["terahertz", "terahertz"], "MP": ["megapixel", "megapixels"],
}  # fmt: skip
AREAS = {
    "m2": "square meter", "cm2": "square centimeter", "km2": "square kilometer", "ft2": "square foot",
    "m3": "cubic meter", "cm3": "cubic centimeter", "ft3": "cubic foot", "s2": "second squared",
}  # fmt: skip
"""Beside the units: what stands behind the slash of a rate."""
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
SHORT_MONTHS = {name[:3]: name for name in MONTHS if len(name) > 3} | {"Sept": "September"}
SCALE_WORDS = "hundred|thousand|million|billion|trillion"
SCALES = {
    "K": "thousand", "k": "thousand", "M": "million", "m": "million", "mn": "million", "MM": "million", "B": "billion",
    "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion",
}  # fmt: skip
"""Letters that stand for them behind an amount of money."""
COUNT_SCALES = {
    "K": "thousand",
    "k": "thousand",
    "M": "million",
    "B": "billion",
    "bn": "billion",
    "mn": "million",
    "tn": "trillion",
}
"""Letters that stand for them behind any number."""
MODEL_NOUNS = "TV|TVs|video|videos|resolution|monitor|monitors|display|screen|run|race|pencil|pencils|movie|Blu"
"""What a number with a scale's letter before it names instead of counting: "4K video", "10K run"."""
WEEKDAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
PER = (
    "second|sec|minute|min|hour|hr|day|week|month|mo|year|yr|pers"
    "on|night|unit|item|piece|head|capita|page|user|mile|kg|lb|GB"
)
"""Before which a slash behind a number is "per"."""
SHORT_PER = {
    "sec": "second",
    "min": "minute",
    "hr": "hour",
    "mo": "month",
    "yr": "year",
    "kg": "kilogram",
    "lb": "pound",
}
EXTENSIONS = "NET|JS|IO|TXT|PDF|HTML|CSS|XML|JSON|CSV|EXE|ZIP|MD|PY|DOC|DOCX|XLS|PNG|JPG|MP3|MP4|WAV|COM|ORG|AI"
"""Capitals behind a point inside a word: names of files and products."""
SPACED_UNITS = frozenset(
    (  # noqa: SIM905
        "mm cm km kg mg ml mL lb lbs oz mph GB MB KB kB TB Hz kHz MHz GHz kW dB ft nm mi yd yds ha hr hrs "
        "mins min sec secs yrs km/h kph kmh Mbps Gbps kbps PB kWh MW "
        "GW kV mV mA mAh kJ kcal Pa kPa hPa MPa mmHg rpm bpm fps dpi ppm psi THz °C °F tbsp tsp gal cl dl dL mol mmol"
    ).split()
)
"""Units that are nothing else, so that whitespace may stand before them."""
TOP_LEVEL = "com|org|net|edu|gov|info|io|ai|app|dev|co|uk|us|de|fr|eu|jp|cn|tv|me"
