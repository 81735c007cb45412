"""Chinese for messages with so few words that they could be any: each belongs to an error code."""

from __future__ import annotations

from typing import Final

GENERAL: Final[dict[str, dict[str, str]]] = {
    "bad_markup": {
        "{} cannot be read.": "无法识别 {}。",
    },
    "bad_pronunciation": {
        "{} is no {}.": "{} 不是 {}。",
    },
    "damaged_part": {
        "{} is missing.": "缺少 {}。",
    },
    "bad_archive": {
        "{} has {} MiB.": "{} 有 {} MiB。",
    },
    "consent_required": {
        "{} by {} {} at {}.": "{0}：说话人 {1}，{2} {3}。",
    },
    "conflict": {
        "{} {} has {}.": "{} {} 的状态是 {}。",
        "{} {} is {}.": "{} {} 的状态是 {}。",
        "{} is paused": "{} 已暂停",
        "{} is {}": "{} 的状态是 {}",
        "{} of {} is {}": "{1} 的 {0} 的状态是 {2}",
        "{} of {} left no {}": "{1} 的 {0} 没有留下 {2}",
    },
    "download_failed": {
        "{} answered {}.": "{} 返回了 {}。",
        "{} broke off: {}.": "{} 中断：{}。",
    },
    "invalid_parameter": {
        "{} has no parameter {}": "{} 没有参数 {}",
        "{}.{} is {}: {}": "{}.{} 的值 {} 有误：{}",
        "{} has no {}": "{} 没有 {}",
    },
    "invalid_request": {
        "{} cannot {}": "{} 不能执行 {}",
        "{} has no {}": "{} 没有 {}",
        "{} is no text": "{} 不是文本",
    },
    "not_allowed": {
        "{} is not for {}.": "{1} 不接受 {0}。",
    },
    "not_found": {
        "{} of {} is gone.": "{1} 的 {0} 已不存在。",
        "{} of {} left no {}": "{1} 的 {0} 没有留下 {2}",
    },
    "refused_address": {
        "{} is no URL: {}.": "{} 不是网址：{}。",
    },
}
"""Error code → English sentence → Chinese sentence."""
