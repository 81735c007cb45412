"""The project's own guided training, with pointers that were found for the base's clips."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.gpt.guided_attention import GuidedAttention, limit_steps
from GPT_SoVITS.gpt.trainer import GPTTrainer

JOIN = "&"
"""Between the names of two clips in one line; a plus sign is in the names of mixed speakers."""


class GuidedTraining(GPTTrainer):
    clips: dict[str, np.ndarray]
    """By the clip's name, the phoneme of each of its tokens."""

    @cached_property
    def guided_attention(self) -> GuidedAttention:
        clips = self.clips
        counts = {item.name: len(item.phonemes) for item in self.items}

        def pointer(name: str) -> Tensor:
            first, _, second = name.partition(JOIN)
            tokens = clips[first]
            if second:
                tokens = np.concatenate([tokens, clips[second.rpartition("-")[0]] + counts[first]])
            return limit_steps(torch.from_numpy(tokens.astype(np.int64)))

        return GuidedAttention(self.model, {item.name: pointer(item.name) for item in self.items})
