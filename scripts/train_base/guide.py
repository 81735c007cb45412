"""The project's own guided training, with pointers that were found for the base's clips."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.gpt.guided import Guide, steady
from GPT_SoVITS.gpt.training import Training


class GuidedTraining(Training):
    clips: dict[str, np.ndarray]
    """By the clip's name, the phoneme of each of its tokens."""

    @cached_property
    def guide(self) -> Guide:
        clips = self.clips
        counts = {item.name: len(item.phones) for item in self.items}

        def pointer(name: str) -> Tensor:
            first, _, second = name.partition("+")
            found = clips[first]
            if second:
                found = np.concatenate([found, clips[second.rpartition("-")[0]] + counts[first]])
            return steady(torch.from_numpy(found.astype(np.int64)))

        return Guide(self.model, {item.name: pointer(item.name) for item in self.items})
