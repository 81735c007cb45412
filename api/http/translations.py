"""Chinese for the messages and hints of errors, for clients that send `Accept-Language: zh`. Codes stay as they are.

`BY_CODE` has a message and a hint for every code. `TEMPLATES` translates whole sentences: `{}` stands for what a
message names, in the same order. A message without a template gets the sentence of its code, with the original behind
it: nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

BY_CODE: Final[dict[str, tuple[str, str]]] = {
    "bad_archive": ("压缩包已损坏或无法使用。", "请检查压缩包的内容后重新上传。"),
    "bad_audio": ("文件不是可用的音频。", "请上传完整、可解码的录音。"),
    "bad_checkpoint": ("检查点文件已损坏或无法使用。", "请重新获取该文件。"),
    "bad_config": ("模型配置有误。", "请检查模型的各项参数。"),
    "bad_dataset": ("训练集不完整，或与模型不符。", "请先重新运行之前的阶段。"),
    "bad_download": ("下载的文件校验和不符。", "请重新下载。"),
    "bad_features": ("特征的形状不符合模型。", "请重新运行特征提取阶段。"),
    "bad_markup": ("文本中的标记无法解析。", "标记的写法见 docs/text.md。"),
    "bad_plan": ("训练计划无法使用。", "请检查训练参数。"),
    "bad_precision": ("此设备不支持所选的精度。", "请选择其他精度，见 INFERENCE_PRECISION。"),
    "bad_prompt": ("参考音频无法使用。", "请换一段 3 到 10 秒的参考音频。"),
    "bad_prompt_catalogue": ("随附的参考音频目录有误。", "请重新安装。"),
    "bad_pronunciation": ("读音无法识别。", "读音的写法见 docs/text.md。"),
    "bad_record": ("校验和记录无法读取。", "请恢复或删除该记录。"),
    "bad_request": ("合成参数有误。", "请检查步数和参考音频的长度。"),
    "bad_sampling": ("采样参数超出范围。", "各参数见 GET /docs。"),
    "bad_sentences": ("评估句子无法使用。", "文件应为 UTF-8 编码，每行一句。"),
    "bad_settings": ("设置有误。", "各项设置见 env.example。"),
    "bad_text": ("文本与其音素不对应。", "请重新运行文本处理阶段。"),
    "bad_training_item": ("有训练录音无法使用。", "请重新运行之前的阶段，或去掉该录音。"),
    "bad_vocoder": ("声码器的文件或配置有误。", "请重新下载声码器。"),
    "boot_failed": ("工作进程无法启动。", "请查看其日志中的最后几行。"),
    "cancelled": ("作业已被取消。", "如有需要，请重新提交。"),
    "cannot_listen": ("无法监听该地址。", "请换一个端口，或停止占用它的程序。"),
    "confirmation_needed": ("参数或输入已与之前不同，需要确认。", "请加上 confirm 重新发送。"),
    "conflict": ("当前状态不允许此操作。", "请先查看其状态，再重试。"),
    "damaged_artefact": ("存储的文件已损坏。", "请从备份恢复，或重新生成。"),
    "damaged_part": ("模型的一个组件已损坏或缺失。", "请重新安装。"),
    "dataset_too_small": ("可用的录音太少。", "请添加更多录音后重试。"),
    "device_unusable": ("设备无法使用。", "请检查驱动程序，或选择其他设备。"),
    "disk_full": ("磁盘空间不足，无法下载。", "请清理出空间。"),
    "diverged": ("训练发散：损失不是有限的数。", "请降低学习率，或检查数据后重试。"),
    "download_failed": ("下载失败。", "请检查网址是否可以访问。"),
    "draining": ("服务正在关闭，作业已放回队列。", "请稍后重试。"),
    "empty_text": ("文本为空。", "请至少输入一个词。"),
    "evaluation_failed": ("评估失败。", "请查看日志。"),
    "exists": ("目标文件已存在。", "加上 --overwrite 可以覆盖它。"),
    "file_too_large": ("文件过大。", "请上传较小的文件，或调高 MAX_UPLOAD_MB。"),
    "forbidden": ("此 API 密钥没有所需的权限。", "请使用具有该权限的密钥。"),
    "forbidden_origin": ("该网站的页面不得使用此服务器。", "请把其来源加入 CORS_ORIGINS。"),
    "idempotency_key_in_use": ("使用此幂等键的请求仍在进行。", "请稍后重试。"),
    "idempotency_key_reused": ("此幂等键已用于另一个请求。", "请为新的请求使用新的键。"),
    "idempotency_key_unusable": ("幂等键无效。", "请使用 1 到 200 个可打印的 ASCII 字符。"),
    "input_gone": ("所需的输入文件已不存在。", "请重新上传，或重新运行之前的阶段。"),
    "internal_error": ("服务器内部出错。", "详情见服务器日志。"),
    "invalid_parameter": ("参数无效或超出范围。", "各参数见 GET /docs。"),
    "invalid_request": ("请求有误。", "各字段见 GET /docs。"),
    "job_failed": ("作业失败。", "请查看作业的错误信息。"),
    "lease_lost": ("作业已由另一个工作进程接手。", "无需处理。"),
    "missing_part": ("缺少所需的组件、模型或文件。", "请按提示安装。"),
    "missing_training_data": ("缺少训练数据。", "请先运行之前的阶段。"),
    "missing_weights": ("此机器上没有该版本的权重。", "请用 main.py download 下载。"),
    "no_base": ("该版本不能从零训练，而没有指定底模。", "请指定底模，或用 main.py download 下载。"),
    "no_checkpoint": ("没有这个检查点文件。", "请检查路径。"),
    "no_device": ("没有可用的 CUDA 设备。", "请改用 CPU，或检查驱动程序。"),
    "no_memory": ("内存不足，或无法再创建线程。", "请稍后重试，或减少同时进行的合成。"),
    "no_metrics": ("还没有损失数据可供绘图。", "请等训练开始后再试。"),
    "no_official_form": ("此模型没有对应的官方文件格式。", "请保留 safetensors 格式。"),
    "no_reference": ("缺少参考音频。", "请至少提供一段参考音频。"),
    "no_repository": ("找不到提供该文件的仓库。", "请检查 HF_ENDPOINT，或手动放置文件。"),
    "no_speaker_vector": ("此模型需要说话人向量。", "请重新运行说话人向量阶段。"),
    "no_speech": ("录音中没有语音。", "请上传有人说话的录音。"),
    "no_updates": ("训练轮数和批次太少，模型不会有任何更新。", "请增加轮数，或减小梯度累积。"),
    "no_vocoder": ("没有找到声码器。", "请用 main.py download 下载。"),
    "not_allowed": ("此路径不接受这种请求方法。", "各路径见 GET /docs。"),
    "not_finite": ("模型的数值无效，检查点可能已损坏。", "请换用另一个检查点。"),
    "not_found": ("没有找到所请求的内容。", "请检查名称或 id。"),
    "not_ready": ("服务尚未就绪。", "请稍后重试。"),
    "nothing_spoken": ("模型没有生成任何语音。", "请换一个种子，或修改文本后重试。"),
    "open_to_network": ("服务器未设密钥，却向网络开放。", "请先创建 API 密钥。"),
    "out_of_memory": ("设备内存不足。", "请缩短文本或参考音频，减小批次，或释放内存。"),
    "paused": ("该阶段已暂停。", "可以用 resume 继续。"),
    "queue_unavailable": ("队列（Redis）暂时不可用。", "请稍后重试。"),
    "quota_exceeded": ("此 API 密钥的配额已用完。", "请稍后重试，或请管理员提高配额。"),
    "recording_too_short": ("录音太短。", "请上传更长的录音。"),
    "records_unavailable": ("记录数据库暂时不可用。", "请稍后重试。"),
    "redis_unusable": ("Redis 无法使用。", "请检查 Redis 的地址和设置。"),
    "refused_address": ("不允许访问该地址。", "请使用公开的网址，或设置 FETCH_ALLOWED_HOSTS。"),
    "secrets_locked": ("无法解密已存储的密文。", "请检查 SECRET_KEY。"),
    "silent_recording": ("录音中听不到任何声音。", "请检查麦克风或音量后重录。"),
    "stage_failed": ("该阶段的进程提前结束。", "请查看日志后重新运行。"),
    "storage_full": ("磁盘已满。", "请清理出空间。"),
    "storage_read_only": ("数据文件夹为只读。", "请检查文件系统的权限。"),
    "storage_unavailable": ("存储暂时不可用。", "请检查存储的地址和权限。"),
    "text_too_long": ("文本太长。", "请分成几部分发送。"),
    "timed_out": ("等待超时，作业仍在继续。", "请稍后查询结果。"),
    "too_many_wrong_keys": ("错误的 API 密钥次数过多。", "请一分钟后再试。"),
    "training_failed": ("训练失败。", "请查看日志。"),
    "unauthorized": ("需要有效的 API 密钥。", "请发送 Authorization: Bearer 密钥，或 X-API-Key: 密钥。"),
    "unknown_host": ("此服务器不响应该主机名。", "请使用 IP 地址，或把该名称加入 ALLOWED_HOSTS。"),
    "unknown_part": ("没有这个官方组件。", "可用的名称见提示。"),
    "unknown_split_method": ("没有这种切分方法。", "可用 cut0 到 cut5。"),
    "unknown_version": ("没有这个模型版本，或无法判断版本。", "版本见 GET /api/v1/info。"),
    "unreadable_text": ("文本中没有所选语言可以朗读的内容。", "请更换语言或修改文本。"),
    "unsafe_checkpoint": ("检查点文件含有可疑内容，未被打开。", "请使用来源可靠的文件。"),
    "unsupported_language": ("不支持该语言。", "支持的语言见 GET /api/v1/info。"),
    "language_not_spoken": (
        "该音色不会说文本的语言。",
        "请换用会说该语言的音色，或去掉 strict_language。",
    ),
    "upload_failed": ("结果上传失败。", "请检查上传网址。"),
    "upload_refused": ("对方拒绝了上传。", "请检查上传网址和令牌。"),
    "voice_not_found": ("没有这个音色。", "现有音色见 GET /api/v1/voices。"),
    "wrong_base": ("底模与要训练的模型不符。", "请选择同一版本的底模。"),
    "wrong_checkpoint": ("检查点的类型或版本不符。", "请选择同一版本的 GPT 和 SoVITS 检查点。"),
    "wrong_symbols": ("音素超出该模型的范围。", "请使用与文本前端相符的模型。"),
    "wrong_tokens": ("语义标记超出该模型的范围。", "请使用相互匹配的检查点。"),
}
"""Error code → message and hint."""

TEMPLATES: Final[dict[str, str]] = {
    "An API key is needed.": "需要 API 密钥。",
    "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.": (
        "请发送 `Authorization: Bearer 密钥` 或 `X-API-Key: 密钥`。"
    ),
    "This API key is not known or was revoked.": "此 API 密钥不存在或已被吊销。",
    "This API key expired at {}.": "此 API 密钥已于 {} 到期。",
    "Ask an admin for a new one.": "请向管理员索取新的密钥。",
    "The scope `{}` is needed for {}; this API key has {}.": "{1} 需要权限 `{0}`；此 API 密钥的权限为 {2}。",
    "The text is empty.": "文本为空。",
    "The input is empty.": "文本为空。",
    "Send at least one word.": "请至少输入一个词。",
    "The text has {} characters; {} is the most.": "文本有 {} 个字符，最多为 {} 个。",
    "The input has {} characters; {} is the most.": "文本有 {} 个字符，最多为 {} 个。",
    "Split it and send the parts.": "请分成几部分发送。",
    "No synthesizer is running.": "没有正在运行的语音合成进程。",
    "Start the service's workers, or wait until they are up.": "请启动工作进程，或等待其就绪。",
    "no voice named {}": "没有名为 {} 的音色。",
    "Published voices: {}.": "现有音色：{}。",
    "No voice is published yet.": "还没有发布任何音色。",
    "Nothing can be heard in the {} s of the recording.": "在 {} 秒的录音中听不到任何声音。",
    "Check the microphone or the volume, and record again.": "请检查麦克风或音量后重录。",
    "The recording breaks off after {} s.": "录音在 {} 秒处中断。",
    "The file is damaged or incomplete: send the whole of it.": "文件已损坏或不完整：请发送完整的文件。",
    "The recording lasts {} s; at least {} s are needed.": "录音长 {} 秒，至少需要 {} 秒。",
    "The reference recording lasts {} s.": "参考音频长 {} 秒。",
    "It may last {} to {} s; 3 to 10 s are best.": "长度可为 {} 到 {} 秒，3 到 10 秒最佳。",
    "There is nothing at {}.": "{} 处没有内容。",
    "{} is not for {}.": "{1} 不接受 {0}。",
    "GET /docs lists every path.": "各路径见 GET /docs。",
    "GET /docs lists every field.": "各字段见 GET /docs。",
    "The field {} is missing.": "缺少字段 {}。",
    "There is no field {}.": "没有字段 {}。",
    "The records cannot be reached or written right now.": "暂时无法读写记录。",
    "Try again shortly.": "请稍后重试。",
    "Try again in a few seconds.": "请几秒后重试。",
    "Something went wrong here; the log has the details.": "服务器内部出错，详情见日志。",
    "This API key may send {} requests a minute.": "此 API 密钥每分钟最多发送 {} 个请求。",
    "no API key {}": "没有 API 密钥 {}。",
    "GET /api/v1/keys lists them.": "现有密钥见 GET /api/v1/keys。",
    "The first API key must be an admin's, or nobody could create or revoke another one.": (
        "第一个 API 密钥必须是管理员密钥，否则无人可以再创建或吊销密钥。"
    ),
    "{}.{} is {}; it may be 0 (nothing begins) to {}.": "{}.{} 为 {}，范围为 0（不启动任何作业）到 {}。",
    "There is no device {}.": "没有设备 {}。",
    "There is no inference {}.": "没有推理任务 {}。",
    "The console has no file {}.": "控制台没有文件 {}。",
    "{} is no recording.": "{} 不是录音。",
    "Version {} has no report.": "版本 {} 还没有报告。",
    "The report on version {} is being made.": "正在生成版本 {} 的报告。",
}
"""English sentence → Chinese sentence. Of `{0}`, `{1}` the number is the place in the English one."""

_UNKNOWN_CODE: Final = ("操作无法完成。", "")
"""Of the model library, whose codes belong to jobs."""
_PLACE: Final = re.compile(r"\{(\d*)\}")


def prefers_chinese(accept_language: str) -> bool:
    """Return whether an `Accept-Language` header ranks Chinese above English and everything else."""
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language.split(",")[:20]):
        tag, _, parameter = part.strip().partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            quality = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if tag.strip() and quality > 0:
            ranked.append((-quality, place, tag.strip().lower()))
    return bool(ranked) and min(ranked)[2].split("-")[0] == "zh"


def translate(code: str, message: str, hint: str) -> tuple[str, str]:
    """Return the message and the hint of an error in Chinese; what has no translation stands behind its code's."""
    code_message, code_hint = BY_CODE.get(code, _UNKNOWN_CODE)
    return _translate(message, code_message), _translate(hint, code_hint) if hint else ""


def _translate(text: str, fallback: str) -> str:
    for pattern, template in _patterns():
        if match := pattern.fullmatch(text):
            return _fill(template, match.groups())
    return f"{fallback}（{text}）" if fallback else text


def _fill(template: str, values: Sequence[str]) -> str:
    numbers = iter(range(len(values)))
    return _PLACE.sub(lambda place: values[int(place[1]) if place[1] else next(numbers)], template)


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return a pattern for each English template; those that name the least come first."""
    templates = sorted(TEMPLATES.items(), key=lambda item: item[0].count("{}"))
    return [
        (re.compile("(.+?)".join(re.escape(part) for part in source.split("{}")), re.DOTALL), target)
        for source, target in templates
    ]
