"""Chinese for parts of sentences that stand for a value in another one."""

from __future__ import annotations

from typing import Final

FRAGMENTS: Final[dict[str, str]] = {
    "too long": "太长",
    "the official one": "官方文件",
    "cannot be decrypted, because there is no": "无法解密，因为没有",
    "was encrypted with another key than the one in": "加密所用的密钥不同于",
    "cannot be decrypted, for there is no key of 32 bytes in base64 in": "无法解密，因为没有 32 字节的 base64 密钥：",
    "a checkpoint's id, or the name of one in the task's list": "检查点的 id，或任务列表中的名称",
    "the name or the id of an upload": "上传文件的名称或 id",
    "digits alone, 1234": "只有数字，如 1234",
    "three numbers, 2024-03-05": "三个数，如 2024-03-05",
    "a month and a day in the order {}": "按 {} 顺序的月和日",
    "digits, 138-1234": "数字，如 138-1234",
    "the catalogue says {}": "目录中是 {}",
    "{} was recorded at the first download": "首次下载时记录的是 {}",
    "is a zip archive, but none that torch wrote: it has no data.pkl": "是 ZIP，但不是 torch 写的：没有 data.pkl",
    "holds entries that torch does not write: two of a name, or outside its folder": (
        "含有 torch 不会写入的条目：重名，或在其文件夹之外"
    ),
    "has no weights where they belong": "在应有权重的位置没有权重",
    "names a storage for {} that it does not hold": "为 {} 指定了不存在的存储",
    "holds {} bytes for {}, whose shape is {}": "为 {1} 存有 {0} 字节，而其形状是 {2}",
    "is not pickled in protocol 2, the one that torch writes": "不是 torch 所用的 pickle 协议 2",
    "was written on a big-endian machine": "是在大端序的机器上写的",
    "holds {} MiB of {}; {} MiB is plenty": "含有 {} MiB 的 {}，上限为 {} MiB",
    "is damaged: {}": "已损坏：{}",
    "is cut short or damaged: it has no table of contents at its end": "被截断或已损坏：末尾没有目录",
    "is damaged: {} is not where the table of contents says": "已损坏：{} 不在目录所述的位置",
    "is cut short: {} would end {} bytes after the file": "被截断：{} 会超出文件 {} 字节",
    "holds a {} among its weights, named {}": "权重中有一个 {}，名为 {}",
    "begins with {}, which no official checkpoint does": "以 {} 开头，而官方检查点不会如此",
    "has {} bytes there, and the original's has {}": "在那里有 {} 字节，而原文件有 {} 字节",
    "begins with other bytes (MD5 {}) than upstream's ({})": "开头的字节（MD5 {}）与上游的（{}）不同",
    "has the SHA-256 {}, and the hub says {}": "的 SHA-256 是 {}，而仓库所述是 {}",
    "has not the Git checksum {} that the hub names": "的 Git 校验和不是仓库所述的 {}",
    "the response names no sum, size or commit, so it is not a hub's": (
        "响应中没有校验和、大小或提交，因此不是模型仓库的响应"
    ),
    "the response names no SHA-256": "响应中没有 SHA-256",
    "ended with exit code {}": "以退出码 {} 结束",
    "was killed by {}": "被 {} 终止",
}
"""English → Chinese, parts of a sentence that stand for a value in one, without a full stop."""

PROBLEMS: Final[dict[str, str]] = {
    "silent": "静音",
    "clipped": "削波",
    "too short": "过短",
    "too long": "过长",
    "music": "音乐或噪声",
    "background": "背景噪声",
    "wrong language": "其他语言",
    "other speaker": "其他说话人",
    "wrong transcript": "文本有误",
    "duplicate": "重复",
    "near duplicate": "近似重复",
    "unreadable": "无法读取",
}
"""English → Chinese, the problems that a report counts."""
