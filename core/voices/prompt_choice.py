"""The prompt of a voice that suits instructions such as `Speak in a cheerful tone`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from core.records.models.voices import VoicePrompt

MANNERS: Final = (
    ("happy", "cheerful", "joyful", "glad", "joy", "bright", "upbeat", "delighted", "开心", "高兴",
     "快乐", "愉快", "喜悦", "嬉しい"),
    ("sad", "sorrowful", "melancholy", "unhappy", "crying", "tearful", "grief", "悲伤", "难过", "伤心", "哀", "悲しい"),
    ("angry", "furious", "mad", "irritated", "annoyed", "anger", "rage", "生气", "愤怒", "恼怒", "怒", "怒り"),
    ("calm", "relaxed", "soothing", "gentle", "soft", "peaceful", "tender", "平静", "温柔", "冷静", "柔和", "穏やか"),
    ("excited", "enthusiastic", "energetic", "lively", "thrilled", "激动", "兴奋", "热情", "活泼"),
    ("whisper", "whispering", "whispered", "quiet", "hushed", "耳语", "低语", "悄悄", "轻声", "ささやき"),
    ("afraid", "scared", "fearful", "anxious", "nervous", "fear", "terrified", "害怕", "恐惧", "紧张"),
    ("surprised", "astonished", "amazed", "surprise", "惊讶", "吃惊", "惊"),
    ("serious", "formal", "stern", "solemn", "professional", "news", "严肃", "正式", "庄重", "新闻"),
    ("neutral", "normal", "plain", "default", "flat", "monotone", "中性", "普通", "正常", "平淡"),
    ("shout", "shouting", "loud", "yelling", "screaming", "大喊", "喊叫", "叫喊"),
    ("disgusted", "disgust", "厌恶", "恶心"),
)  # fmt: skip
"""Words that mean about the same manner of speaking."""
_WORDS: Final = re.compile(r"[A-Za-zÀ-ɏ]+|[぀-ヿ㐀-鿿가-힣]+")
_STOP_WORDS: Final = frozenset(
    {"a", "an", "and", "as", "be", "but", "do", "for", "in", "is", "it", "like", "manner", "of", "on",
     "please", "read", "say", "sound", "speak", "speaking", "style", "talk", "the", "to", "tone", "use",
     "very", "voice", "with", "you", "your"}
)  # fmt: skip
_NEGATION: Final = re.compile(r"(?:\b(?:not|never|no|without|don't|avoid)\b(?:\s+\w+){0,2}\s*$)|(?:不要?|别|勿)$")


def choose_prompt(prompts: Sequence[VoicePrompt], instructions: str) -> VoicePrompt | None:
    """Return the prompt whose name or description suits instructions best; None where none does.

    A word that both have counts most in a name; words of about one meaning (`MANNERS`) count like it.
    """
    meanings = _meanings(instructions)
    best: VoicePrompt | None = None
    highest = 0.0
    for prompt in prompts:
        name, description = _meanings(prompt.get("name", "")), _meanings(prompt.get("description", ""))
        score = 2.0 * len(meanings & name) + len(meanings & (description - name))
        if score > highest:
            best, highest = prompt, score
    return best


def _meanings(text: str) -> set[str]:
    """Return the words of a text, each of `MANNERS` as the first of its group; what is negated is left out."""
    lower = text.casefold()
    meanings: set[str] = set()
    for match in _WORDS.finditer(lower):
        word = match[0]
        if _NEGATION.search(lower[: match.start()]):
            continue
        groups = {group[0] for group in MANNERS for entry in group if _is_same(entry, word)}
        meanings |= groups or ({word} - _STOP_WORDS)
    return meanings


def _is_same(entry: str, word: str) -> bool:
    if not entry.isascii():  # words are not separated
        before = word.partition(entry)[0]
        return entry in word and not before.endswith(("不", "别", "勿", "不要"))
    return word == entry or word in (f"{entry}ly", f"{entry}er", f"{entry}ily") or word == f"{entry[:-1]}ily"
