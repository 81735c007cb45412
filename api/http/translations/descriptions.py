"""Chinese for the descriptions of the parameters of stages."""

from __future__ import annotations

from typing import Final

DESCRIPTIONS: Final[dict[str, str]] = {
    "Below this level (dB) it is silence.": "低于此电平（dB）即为静音。",
    "Shortest segment, ms.": "最短的片段，毫秒。",
    "Shortest silence to cut at, ms.": "可在其处切分的最短静音，毫秒。",
    "Step of the level measurement, ms.": "测量电平的步长，毫秒。",
    "Silence kept at both ends, ms.": "两端保留的静音，毫秒。",
    "Peak after normalization.": "归一化后的峰值。",
    "Share of the normalized audio that is mixed in.": "混入的归一化音频的比例。",
    "Processes that share the work.": "分担工作的进程数。",
    "Processes that share the work, as far as the cores go.": "分担工作的进程数，不超过核心数。",
    "Whether segments are denoised at all.": "是否对片段降噪。",
    "Number format of the denoiser.": "降噪模型的数值格式。",
    "Folder or name of a speech recognizer; the default is the one that comes along.": (
        "语音识别模型的文件夹或名称，默认为自带的模型。"
    ),
    "Language that is spoken.": "录音的语言。",
    "Number format of the recognizer.": "识别模型的数值格式。",
    "Segments per step.": "每步的片段数。",
    "Passes over the data set.": "遍历数据集的次数。",
    "Epochs between kept checkpoints.": "每隔多少轮保存一次检查点。",
    "Generator to start from: id of a checkpoint or file of weights. The default is the version's own.": (
        "起始的生成器：检查点的 id 或权重文件，默认为该版本自带的。"
    ),
    "Discriminator to start from.": "起始的判别器。",
    "Learning rate of the text encoder, relative.": "文本编码器的相对学习率。",
    "Recompute activations to save memory.": "重新计算激活值以节省内存。",
    "Rank of the adapter (v3 and v4).": "适配器的秩（v3 和 v4）。",
    "Model to start from: id of a checkpoint or file of weights. The default is the version's own.": (
        "起始的模型：检查点的 id 或权重文件，默认为该版本自带的。"
    ),
    "Also train against corrupted copies of the tokens (DPO).": "同时用被破坏的标记副本训练（DPO）。",
    "Checkpoint id; empty: the best of the newest training.": "检查点的 id；留空则用最近一次训练中最好的。",
    "Checkpoint id; empty: the best.": "检查点的 id；留空则用最好的。",
    "File id of the prompt; empty: the experiment's own.": "参考音频的文件 id；留空则用实验自己的。",
    "Transcript of the prompt.": "参考音频的文本。",
    "Language of the prompt.": "参考音频的语言。",
    "Text to synthesize; empty: a sentence of the data set.": "要合成的文本；留空则用数据集中的一句。",
    "Language of the text.": "文本的语言。",
}
"""English → Chinese."""
