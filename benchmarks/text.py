"""What reading a text costs, by language: first load, a sentence of 50 characters, and 1 000 to 100 000 characters.

The goals are those of the text front end: 1.5 s and 150 MB (Japanese 250 MB), 5 ms, 20 s. Times are the processor's, so
that a busy machine does not spoil them. Run by `scripts/bench text`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Row, report

SENTENCES: Final = {
    "zh": "今天天气很好，我们一起去公园散步吧。银行行长说他2024年3月5日买了3.5公斤苹果，花了100元，真是太便宜了！",
    "en": "On March 5th, 2024, Dr. Smith paid $3.50 for tea. ",
    "ja": "今日はとても天気がいいので、公園まで散歩に行きました。帰りにコーヒーを飲んで、3冊の本を読みました。",
    "ko": "오늘은 날씨가 아주 좋아서 공원까지 산책하러 갔습니다. 돌아오는 길에 커피 3잔을 마시고 책을 ",
    "yue": "今日天氣好好，我哋一齊去公園行吓，返嚟嗰陣飲咗3杯咖啡，睇咗本書，真係好開心，聽日再去多次啦！",
}
LENGTHS: Final = (1_000, 10_000, 100_000)
GOAL: Final = "goal"
PROGRAM: Final = """
import json, sys, time
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
language, sentence, lengths = json.loads(sys.argv[1])
before, started = resident(), time.process_time()
from GPT_SoVITS.text import phonemize
phonemize(sentence[:50], language)
figures = {"load_s": time.process_time() - started, "load_mb": resident() - before}
fresh = [sentence[shift:] + sentence[:shift] for shift in range(1, 21)]
started = time.process_time()
for text in fresh:
    phonemize(text[:50], language)
figures["sentence_ms"] = (time.process_time() - started) / len(fresh) * 1000
for length in lengths:
    text = (sentence * (length // len(sentence) + 1))[:length]
    started = time.process_time()
    phonemize(text, language)
    figures[str(length)] = time.process_time() - started
print(json.dumps(figures))
"""


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench text", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    report("text", [row for language in SENTENCES for row in rows(language, measure(language))], options.json)


def measure(language: str) -> dict[str, float]:
    """Measure one language in a process of its own."""
    question = json.dumps([language, SENTENCES[language], LENGTHS])
    completed = subprocess.run([sys.executable, "-c", PROGRAM, question], check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(completed.stdout)
    return measured


def rows(language: str, measured: dict[str, float]) -> list[Row]:
    """Compare each number with its goal."""
    memory = 250.0 if language == "ja" else 150.0
    goals = [("first load", "s", "load_s", 1.5), ("first load", "MB", "load_mb", memory)]
    goals += [("50 characters", "ms", "sentence_ms", 5.0), ("100,000 characters", "s", "100000", 20.0)]
    each = [measured[str(length)] / length for length in LENGTHS]
    shown = [(name, unit, measured[key], goal) for name, unit, key, goal in goals]
    shown += [
        (f"per character of {length:,}", "µs", seconds * 1e6, 200.0)
        for length, seconds in zip(LENGTHS, each, strict=True)
    ]
    shown += [
        (f"per character, {longer:,} beside {shorter:,}", "times", each[index + 1] / each[index], 2.0)
        for index, (shorter, longer) in enumerate(pairwise(LENGTHS))
    ]
    return [Row(f"{language}: {name}", unit, ours, GOAL, goal, goal / ours) for name, unit, ours, goal in shown]


if __name__ == "__main__":
    main()
