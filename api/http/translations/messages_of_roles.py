"""Chinese for the errors of jobs that workers (`roles/`) and the decoder of recordings (`core/media/`) report."""

from __future__ import annotations

from typing import Final

ROLE_MESSAGES: Final[dict[str, str]] = {
    "The text is in {}, and the voice {} was trained from an earlier base of nano, which speaks English only.": (
        "文本的语言是 {}，而音色 {} 是用 nano 的早期底模训练的，只会说英语。"
    ),
    # Recordings.
    "There is no sound in it.": "其中没有音频。",
    "Its sample rate or its number of channels is missing.": "缺少采样率或声道数。",
    "It has {} channels; up to {} work.": "有 {} 个声道，最多支持 {} 个。",
    "It lasts more than the {} minutes that a recording may have.": "超过了录音的最大长度 {} 分钟。",
    "No sound in it can be decoded.": "其中的音频无法解码。",
    "Most of it is damaged and cannot be decoded.": "大部分已损坏，无法解码。",
    "It is no sound file that can be read ({}).": "不是可以读取的音频文件（{}）。",
    "Decoding it needs more memory than a recording may take.": "解码所需的内存超过了录音的上限。",
    "It cannot be decoded: {}.": "无法解码：{}。",
    "Nothing is audible in the recording.": "录音中听不到任何声音。",
    "Nothing can be heard in the recording.": "录音中听不到任何声音。",
    "Upload a recording in which one person speaks.": "请上传一个人说话的录音。",
    "The recording lasts {} s.": "录音长 {} 秒。",
    "The recording lasts {} s; a voice needs at least {} s.": "录音长 {} 秒，训练音色至少需要 {} 秒。",
    "One to three minutes of one person speaking work well.": "一个人说话一到三分钟效果较好。",
    "Nobody speaks in the recording, as far as speech recognition can hear.": "语音识别在录音中没有听到有人说话。",
    (
        "Upload a recording of one person speaking, without music; or bring the transcripts along, as a ZIP with a "
        "`.list`."
    ): "请上传一个人说话且没有音乐的录音；或上传带有 `.list` 的 ZIP，自备文本。",
    "The recording is nothing but silence at this threshold.": "按此阈值，录音全是静音。",
    "Lower `threshold` of audio_slice (dB).": "请降低 audio_slice 的 `threshold`（dB）。",
    "It breaks off after {} s: the file is damaged or incomplete.": "在 {} 秒处中断：文件已损坏或不完整。",
    "The whole file is needed.": "需要完整的文件。",
    # Any job.
    "The engine was closed.": "合成引擎已关闭。",
    "There is no kind of file job named {}.": "没有名为 {} 的文件作业。",
    "The kinds are {}.": "可用的种类：{}。",
    "its device {} cannot be used: {}": "其设备 {} 无法使用：{}",
    "The queue is away; the job is handed back.": "队列不可用，作业已放回。",
    "The queue was away for longer than the lease on {}.": "队列中断的时间超过了 {} 的租约。",
    "The result of the job is no JSON: {}.": "作业的结果不是 JSON：{}。",
    "{} is no longer in {}.": "{} 已不在 {} 中。",
    "Run the stage again that makes it, or upload it again.": "请重新运行生成它的阶段，或重新上传。",
    "The job {} was cancelled.": "作业 {} 已被取消。",
    "The job was cancelled.": "作业已被取消。",
    "The job failed.": "作业失败。",
    "The job died without a reason.": "作业已终止，原因不明。",
    "It failed.": "操作失败。",
    "A part of it failed.": "其中一部分失败。",
    "Its part {} was cancelled.": "其中的 {} 已被取消。",
    "The lease on the job {} was lost.": "已失去作业 {} 的租约。",
    "No role is named {}; there are {}.": "没有名为 {} 的角色，可用的有 {}。",
    "The time for work in progress is over; the job is handed back.": "收尾时间已到，作业已放回。",
    "The device failed.": "设备出现故障。",
    # Trainings.
    "{} has another codebook than the file that the semantic tokens of this experiment were made with ({}).": (
        "{} 的码本与生成本实验语义标记的文件（{}）不同。"
    ),
    "Begin from that file, or from a model that was fine-tuned from it.": "请从该文件，或由它微调的模型开始。",
    "The semantic tokens of {} were made with another base of nano than that of this version.": (
        "{} 的语义标记是用另一版 nano 底模生成的，与当前版本不符。"
    ),
    "Run semantic_token again, and both trainings after it; voices that were trained before speak as they did.": (
        "请重新运行 semantic_token 及其后的两个训练阶段；此前训练好的音色不受影响。"
    ),
    "The evaluation {}.": "评估进程 {}。",
    "The checkpoints are judged later.": "检查点将在稍后评估。",
    "The checkpoints are judged when the stage is resumed.": "阶段继续时会评估各检查点。",
    "The weights of {} are gone.": "{} 的权重已不存在。",
    "Choose another checkpoint.": "请选择另一个检查点。",
    "GET /api/v1/models?kind={} lists them.": "列表见 GET /api/v1/models?kind={}。",
    "The training process {}.": "训练进程 {}。",
    "It goes on from its last saved epoch when it is tried again.": "重试时会从最后保存的一轮继续。",
    "The training saved its state and goes on later.": "训练已保存状态，稍后继续。",
    "The training saved its state and waits to be resumed.": "训练已保存状态，等待继续。",
    "The kernel killed the training: there was no memory left.": "内存耗尽，训练被内核终止。",
    "A smaller batch needs less memory.": "减小批次可以节省内存。",
    "The training does not fit into memory, not even with batch_size 1 and grad_ckpt.": (
        "即使 batch_size 为 1 并启用 grad_ckpt，训练所需的内存也不够。"
    ),
    "Free some memory, or train on another device (cpu) or from shorter segments.": (
        "请释放内存，或换用其他设备（cpu），或使用更短的片段。"
    ),
    "{}: {} did not fit into memory.": "{}：{} 内存不足。",
    "The {} model {}, from which this training begins, is not there.": "作为训练起点的 {} 模型 {} 不存在。",
    "`{} download {}` fetches the official ones; or name another checkpoint or file in the stage's parameters.": (
        "`{} download {}` 可下载官方模型；也可在阶段参数中指定其他检查点或文件。"
    ),
    # Preprocessing.
    "The data set has {} s to learn from; a voice needs at least {} s.": (
        "数据集中有 {} 秒可供训练，训练音色至少需要 {} 秒。"
    ),
    "Add recordings, or take segments back that are left out.": "请添加录音，或恢复被排除的片段。",
    "The recording that {} begins from ({}) is no longer there.": "{} 所用的录音（{}）已不存在。",
    "Upload it again, and begin anew from that.": "请重新上传，并由它重新开始。",
    "{} needs {} of {}, which is no longer there.": "{0} 需要 {2} 的 {1}，而它已不存在。",
    "Run {} again.": "请重新运行 {}。",
    "No segment can be learnt from.": "没有可用于训练的片段。",
    "No transcript can be read aloud in the language of the task.": "没有一条文本能用任务的语言读出。",
    "The GPU {} cannot be used.": "GPU {} 无法使用。",
    "`{} doctor` shows the GPUs of this host.": "`{} doctor` 会列出本机的 GPU。",
    "Process {} of {} for {} {}{}.": "{2} 的第 {0} / {1} 个进程 {3}{4}。",
    "Fewer processes (n_parts, gpu_numbers) take less memory.": "减少进程数（n_parts、gpu_numbers）可以节省内存。",
    "The upload {} is a ZIP of recordings.": "上传的 {} 是录音的 ZIP。",
    "Make a data set of it (POST /api/v1/datasets) and begin from that.": (
        "请用它创建数据集（POST /api/v1/datasets），再从数据集开始。"
    ),
    "No segment is left in {}.": "{} 中没有剩余的片段。",
    "Run audio_slice again.": "请重新运行 audio_slice。",
    "Version {} needs official weights that are not in {}: {}.": "版本 {} 需要的官方权重不在 {} 中：{}。",
    "A voice of {}{} needs official weights that are not in {}: {}.": "{}{} 的音色需要的官方权重不在 {} 中：{}。",
    "`{} download {}` fetches them.": "`{} download {}` 可下载它们。",
    '`{} download {}` fetches them. A voice of "version": "nano" needs no weights.': (
        '`{} download {}` 可下载它们。"version": "nano" 的音色不需要权重。'
    ),
    "Name a checkpoint's id, or a file below the data folder's `models`.": (
        "请给出检查点的 id，或数据文件夹中 `models` 下的文件。"
    ),
    (
        "Name a folder below the data folder's `models` with a model of faster-whisper, SenseVoice or Paraformer; "
        "empty: the bundled one."
    ): (
        "请给出数据文件夹中 `models` 下的文件夹，其中有 faster-whisper、SenseVoice 或 Paraformer 模型；留空则用自带的。"
    ),
    # Data sets.
    "Another report on version {} of {} was asked for since.": "此后又请求了 {1} 的版本 {0} 的另一份报告。",
    "The data set {} is deleted.": "数据集 {} 已删除。",
    "No recording could be taken. {}: {}": "没有可以导入的录音。{}：{}",
    "A data set holds {} segments at most.": "一个数据集最多有 {} 个片段。",
    "Make several.": "请分成几个。",
    "The sound of {} is gone from the storage.": "{} 的音频已不在存储中。",
    "There is no segment to make copies of.": "没有可以生成副本的片段。",
    "Take segments back that are left out.": "请恢复被排除的片段。",
    "That makes {} copies; a data set holds {} segments.": "这会生成 {} 份副本，而一个数据集最多有 {} 个片段。",
    "Ask for fewer copies.": "请减少副本的数量。",
    "The data set has no recording {}.": "数据集中没有录音 {}。",
    "The data set has no segment {}.": "数据集中没有片段 {}。",
    "The names are those of the uploads.": "名称是上传时的文件名。",
    "No segment lies in that time.": "该时间段内没有片段。",
    "Look at the recordings' durations.": "请查看录音的长度。",
    "Look at the segments' durations.": "请查看片段的长度。",
    # Consents and imports.
    "Nobody speaks in the recording of the consent.": "同意书的录音中没有人说话。",
    "The recording says “{}”, which is not the phrase of a consent.": "录音说的是“{}”，不是同意语句。",
    "The voice is not that of the consent: their similarity is {}, and {} is needed.": (
        "与同意书的声音不符：相似度为 {}，至少需要 {}。"
    ),
    "The speaker of the voice gives the consent; both recordings must be clear.": (
        "须由音色的说话人本人给出同意，两段录音都要清晰。"
    ),
    "Nobody speaks in the sample of the voice.": "音色的样本中没有人说话。",
    "Send 3 to 10 s of clear speech.": "请发送 3 到 10 秒清晰的语音。",
    "{}: there is the {} voice {} ({}).": "{}：已有 {} 音色 {}（{}）。",
    "Choose another name, or `{} voice delete {}` first.": "请换一个名称，或先运行 `{} voice delete {}`。",
    "{}: {}; nothing was imported.": "{}：{}；没有导入任何内容。",
    "Stopped; nothing was imported.": "已停止，没有导入任何内容。",
    "The task is {}; it has no voice.": "任务的状态是 {}，没有音色。",
    "EVALUATION_SENTENCES is 0.": "EVALUATION_SENTENCES 为 0。",
    "Opening these files failed: {}.": "打开这些文件失败：{}。",
    "Opening these files was stopped by {}: they are broken, or too much for a voice.": (
        "打开这些文件时被 {} 中止：文件已损坏，或超过一个音色的上限。"
    ),
    "Opening these files was stopped after {} s: they are broken, or too much for a voice.": (
        "打开这些文件 {} 秒后被中止：文件已损坏，或超过一个音色的上限。"
    ),
    "These files need more memory than a voice may.": "这些文件所需的内存超过了一个音色的上限。",
    "What was uploaded for this import was deleted meanwhile.": "为此次导入上传的文件已被删除。",
    "Send the files again.": "请重新发送这些文件。",
    "The text of the recording is empty.": "录音的文本为空。",
    "Say with --text which words it holds.": "请用 --text 给出其中的文字。",
    "{} holds the weights of a GPT without its settings, and so not its sizes.": (
        "{} 只有 GPT 的权重，没有其设置，因此无法得知尺寸。"
    ),
    "A voice's GPT file is the one that training saves for inference, with `weight` and `config`.": (
        "音色的 GPT 文件是训练为推理保存的文件，含有 `weight` 和 `config`。"
    ),
    "The disk of {} has {} MiB free, and this voice takes {} MiB.": ("{} 所在的磁盘剩余 {} MiB，而此音色需要 {} MiB。"),
    "The {} file of the archive is not what its {} says.": "压缩包中的 {} 文件与其 {} 所述不符。",
    "A prompt of {} lasts {} to {} s.": "{} 的参考音频长 {} 到 {} 秒。",
    "The files can be read, but no voice can be made of them ({}: {}).": "文件可以读取，但无法制作音色（{}：{}）。",
    "A prompt of the archive has semantic tokens that its voice does not know.": (
        "压缩包中有参考音频的语义标记超出其音色的范围。"
    ),
    # Speech.
    "Sentences of this text were forgotten before all were spoken.": "在全部合成之前，此文本的部分句子已过期。",
    "Ask for it again.": "请重新请求。",
    "Some sentences are not spoken yet.": "有些句子尚未合成。",
    "The text holds nothing to say.": "文本中没有可读的内容。",
    "It was forgotten before the batch was done.": "在批次完成之前已过期。",
    "The recording of the prompt {} of the voice {} cannot be used: {}": "音色 {1} 的参考音频 {0} 无法使用：{2}",
    "Restore it from a backup, or delete the prompt and add it again.": ("请从备份恢复，或删除该参考音频后重新添加。"),
    "The upload address answered {}.": "上传地址返回了 {}。",
    "It must take a PUT or a POST of a ZIP; with RESULT_UPLOAD_FORMAT=files, POSTs of forms.": (
        "它须接受以 PUT 或 POST 上传的 ZIP；RESULT_UPLOAD_FORMAT=files 时须接受以 POST 提交的表单。"
    ),
    "{} was forgotten before its results could be sent.": "在结果发送之前，{} 已过期。",
}
"""English → Chinese."""
