"""Chinese for what records say that is no error: progress, skipped files, problems of segments, warnings, ends."""

from __future__ import annotations

from typing import Final

RECORD_SENTENCES: Final[dict[str, str]] = {
    # Progress of stages (common/progress_messages.py) and of jobs.
    "Waiting for a worker.": "正在等待工作进程。",
    "Begins at {}.": "将于 {} 开始。",
    "Waits for {}.": "正在等待 {}。",
    "Started.": "已开始。",
    "Switched off.": "已关闭。",
    "Paused.": "已暂停。",
    "Cancelled.": "已取消。",
    "The task failed.": "任务失败。",
    "Completed.": "已完成。",
    "Completed: nothing that it is made of had changed, so the result that was there is used.": (
        "已完成：其输入没有变化，沿用已有的结果。"
    ),
    "Nothing that it is made of has changed; the result that is there is used.": "其输入没有变化，沿用已有的结果。",
    "Not asked for.": "未要求执行。",
    "Converted {} s of sound.": "已转换 {} 秒音频。",
    "Cut into {} segments.": "已切分为 {} 个片段。",
    "Every segment has a transcript already.": "每个片段都已有文本。",
    "Converted {} of {} segments.": "已转换 {} / {} 个片段。",
    "Cut {} of {} segments.": "已切出 {} / {} 个片段。",
    "Denoised {} of {} segments.": "已降噪 {} / {} 个片段。",
    "Transcribed {} of {} segments.": "已识别 {} / {} 个片段。",
    "Encoded {} of {} segments.": "已编码 {} / {} 个片段。",
    "Heard the speaker in {} of {} segments.": "已提取 {} / {} 个片段的说话人特征。",
    "Took {} of {} segments of the data set.": "已取用数据集的 {} / {} 个片段。",
    "Read {} of {} transcripts.": "已读取 {} / {} 条文本。",
    "Found the tokens of {} of {} segments.": "已提取 {} / {} 个片段的语义标记。",
    "Epoch {} of {}.": "第 {} / {} 轮。",
    "Epoch {} of {} is complete.": "第 {} / {} 轮已完成。",
    "Judged sentence {} of {} of {}.": "已评估 {2} 的第 {0} / {1} 句。",
    "Begun again.": "已重新开始。",
    "Interrupted; a worker will go on.": "已中断，将由工作进程继续。",
    "Trying again after an error: {}": "出错后正在重试：{}",
    "The voice {} is ready.": "音色 {} 已就绪。",
    "The report is being made.": "正在生成报告。",
    "Waits for its turn.": "正在排队。",
    "The file is ready.": "文件已就绪。",
    "The text is being split.": "正在切分文本。",
    "The cues are being split.": "正在切分字幕。",
    "The sentences are put together.": "正在合并各句。",
    "Spoke {} of {} sentences.": "已合成 {} / {} 句。",
    "{} of {} texts have ended.": "已结束 {} / {} 条文本。",
    "Putting the files into one archive.": "正在打包各文件。",
    "Opening the files.": "正在打开文件。",
    "Publishing the voice.": "正在发布音色。",
    "Imported the {} voice {} ({}).": "已导入 {} 音色 {}（{}）。",
    "{} is deleted.": "{} 已删除。",
    # Data sets.
    "{} segments, {} minutes.": "{} 个片段，{} 分钟。",
    "Downloads {}.": "正在下载 {}。",
    "Took {}.": "已导入 {}。",
    "Took {} recordings.": "已导入 {} 段录音。",
    "Took {} of {} recordings.": "已导入 {} / {} 段录音。",
    "Cropped {} of {} recordings.": "已裁剪 {} / {} 段录音。",
    "Cropped {} of {} segments.": "已裁剪 {} / {} 个片段。",
    "Made {} of {} copies.": "已生成 {} / {} 份副本。",
    "Looked at {} of {} segments.": "已检查 {} / {} 个片段。",
    "Nothing will be left out.": "不会排除任何片段。",
    "{} of {} segments will be left out.": "将排除 {} / {} 个片段。",
    "Found: {}.": "发现的问题：{}。",
    "1 file could not be taken.": "有 1 个文件无法导入。",
    "{} files could not be taken.": "有 {} 个文件无法导入。",
    "Its job ended without a reason.": "其作业已结束，原因不明。",
    "Its job was cancelled.": "其作业已被取消。",
    # What a check of a segment means, and what it found.
    "Nothing in it is louder than -50 dB of full scale.": "其中没有高于满幅 -50 dB 的声音。",
    "Its peaks are cut off: several samples in a row stay at the highest level.": (
        "峰值被削去：连续多个采样停在最高电平。"
    ),
    "It is shorter than training takes.": "短于训练所需的长度。",
    "It is longer than training takes.": "长于训练可用的长度。",
    "The voice detector (Silero) finds little speech in what sounds: music, noise, or singing.": (
        "语音检测器（Silero）发现有声部分中语音很少：是音乐、噪声或歌声。"
    ),
    "Between the words it is nearly as loud as in them (by the voice detector): music or noise.": (
        "词与词之间几乎和语音一样响（据语音检测器）：有音乐或噪声。"
    ),
    "Speech recognition (Whisper) hears another language.": "语音识别（Whisper）听到的是另一种语言。",
    "Its voice is unlike that of most segments (Resemblyzer's similarity).": (
        "声音与多数片段不像（据 Resemblyzer 的相似度）。"
    ),
    "Speech recognition (Whisper) hears other words than its transcript says (word error rate).": (
        "语音识别（Whisper）听到的内容与文本不符（词错误率）。"
    ),
    "Its samples are those of another segment.": "其采样与另一片段完全相同。",
    "It sounds like another segment: the same recording at another volume, rate or format.": (
        "听起来与另一片段相同：同一录音，只是音量、采样率或格式不同。"
    ),
    "Its sound cannot be read any more.": "其音频已无法读取。",
    "It lasts {} s; training takes {} s or more.": "长 {} 秒，训练至少需要 {} 秒。",
    "It lasts {} s; training takes {} s or less.": "长 {} 秒，训练最多接受 {} 秒。",
    "Nothing can be heard in it: it never gets louder than -50 dB.": "听不到任何声音：始终不高于 -50 dB。",
    "{} of its samples are cut off at the highest level.": "有 {} 的采样被削到最高电平。",
    "{} of what sounds is speech; the rest is music or noise.": "有声部分中 {} 是语音，其余是音乐或噪声。",
    "Its pauses are only {} dB quieter than its speech: music or noise.": ("停顿只比语音低 {} dB：有音乐或噪声。"),
    "It is {} by its sound ({} sure), not {}.": "听起来是 {}（把握 {}），而不是 {}。",
    "It is {} by its sound ({} sure); most of the data set is {}.": "听起来是 {}（把握 {}），而数据集大多是 {}。",
    "{} of the words differ; heard: {}.": "有 {} 的词不同，听到的是：{}。",
    "It is the same as {}, sample by sample.": "与 {} 逐采样相同。",
    "It is the recording {} in another form.": "是录音 {} 的另一种形式。",
    "Its voice has a likeness of {} to the main speaker's; {} is the least.": (
        "与主要说话人的相似度为 {}，至少需要 {}。"
    ),
    # Why a file was skipped.
    "It belongs to a file manager and is no recording.": "是文件管理器的文件，不是录音。",
    "The archive has another member of this name; the first one is taken.": "压缩包中有同名的文件，取第一个。",
    "It is encrypted; pack it without a password.": "已加密，请不设密码重新打包。",
    "It is packed by a method other than deflate; pack it as a usual ZIP.": (
        "压缩方法不是 deflate，请打包为普通 ZIP。"
    ),
    "It is longer than a list of transcripts may be.": "超过了文本列表的最大长度。",
    "It is no recording, by its name.": "从文件名看不是录音。",
    "It is empty.": "文件为空。",
    "And {} more members that are no recordings.": "另有 {} 个不是录音的文件。",
    "A list names it, and the archive has no such recording.": "列表中有它，而压缩包中没有这段录音。",
    "Its encoding cannot be told; save it as UTF-8.": "无法判断其编码，请保存为 UTF-8。",
    "It has more than {} lines; the rest is not read.": "超过 {} 行，其余未读取。",
    "No line of it is `path|speaker|language|text`.": "没有一行是 `path|speaker|language|text`。",
    "It has {} fields; a line is path|speaker|language|text.": "有 {} 个字段，而一行应为 path|speaker|language|text。",
    "Its path or its text is empty.": "路径或文本为空。",
    "Its text has {} characters; {} is the most.": "文本有 {} 个字符，最多 {} 个。",
    "Its language {} is none of {}.": "语言 {} 不在 {} 之中。",
    "It repeats the entry of {} ({}).": "与 {} 的条目（{}）重复。",
    "It has a second text for {}; that of {} is used.": "对 {} 又给出了一条文本，以 {} 的为准。",
    "{} entries of a list fit it ({}), so that it has no transcript.": "列表中有 {} 条与它相符（{}），因此没有文本。",
    "The entry {} of a list fits {} recordings, so that it has no transcript.": (
        "列表的条目 {} 与 {} 段录音相符，因此没有文本。"
    ),
    "The upload was deleted meanwhile.": "上传的文件已被删除。",
    "Its bytes are gone from the storage.": "其内容已不在存储中。",
    # Warnings.
    "{} has no parameter {}; it changes nothing.": "{} 没有参数 {}，它不起作用。",
    "{} stands for the best recognizer of Mandarin that is installed; `{} download sensevoice` fetches one.": (
        "{} 表示已安装的最好的普通话识别模型；`{} download sensevoice` 可下载一个。"
    ),
    "Its header gives {} bytes of sound, and there are {}; all of them are used.": (
        "文件头写有 {} 字节音频，实际有 {} 字节，全部使用。"
    ),
    "Its header gives {} bytes, and it has {}; its sound is complete.": (
        "文件头写有 {} 字节，实际有 {} 字节，音频完整。"
    ),
    "Its header gives {} frames, and it has {}.": "文件头写有 {} 帧，实际有 {} 帧。",
    "Another WAV file of another format follows in it, which is not used.": (
        "其后还有一个格式不同的 WAV 文件，未使用。"
    ),
    "It consists of {} WAV files; its header gives the length of the first.": (
        "由 {} 个 WAV 文件组成，文件头只写了第一个的长度。"
    ),
    "It consists of {} recordings; its header gives the length of the first.": (
        "由 {} 段录音组成，文件头只写了第一段的长度。"
    ),
    # Deliveries of webhooks.
    "It answered {}.": "对方返回了 {}。",
    "It answered 410 Gone.": "对方返回了 410 Gone。",
    "The try failed here; the log has the details.": "发送时本服务器出错，详情见日志。",
    "The webhook was deleted.": "该 webhook 已删除。",
    # Health.
    "Redis does not answer: {}": "Redis 没有响应：{}",
    "The records do not answer: {}": "记录数据库没有响应：{}",
    "not_ready: no synthesizer is running": "not_ready：没有正在运行的语音合成进程",
    "{} on {} is disabled: {}": "{1} 上的 {0} 已停用：{2}",
    "{} on {} does not work: {}": "{1} 上的 {0} 无法工作：{2}",
}
"""English → Chinese."""
