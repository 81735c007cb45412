"""Semantic tokens of content features, by the two parts of a SoVITS file that make them (s2-sovits §18)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.checkpoints.codebook_fingerprint import PARTS, codebook_fingerprint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.quantizer import Codebook


class SemanticTokens:
    """`ssl_proj` and the codebook, the same in every version from v1 to v4; the rest of the model is not built."""

    def __init__(self, weight: Tensor, bias: Tensor, embed: Tensor) -> None:
        self.weight, self.bias = weight.float(), bias.float()
        self.codebook = Codebook(embed.shape[1], embed.shape[0])
        self.codebook.embed.copy_(embed.float())

    @classmethod
    def load(cls, path: Path) -> SemanticTokens:
        """Read a SoVITS file, official or ours. Raises ModelError("wrong_base") for one without a codebook."""
        state = open_checkpoint(path, kind="sovits").state
        try:
            return cls(*(state[name] for name in PARTS))
        except KeyError as error:
            raise ModelError("wrong_base", f"{path.name} holds no codebook of semantic tokens: no {error}.") from error

    @torch.inference_mode()
    def extract(self, features: Tensor) -> list[int]:
        """Return T // 2 tokens of features (1, D, T) at 50 frames a second.

        In float32, since half precision resolves near-ties otherwise.
        """
        width = self.weight.shape[1]
        if features.ndim != 3 or features.shape[:2] != (1, width):
            raise ModelError("bad_features", f"Features of shape (1, {width}, T) are needed; {list(features.shape)}.")
        projected = F.conv1d(features.float().to(self.weight.device), self.weight, self.bias, stride=2)  # (1, D, T//2)
        return self.codebook.nearest(projected[0].T).tolist()

    @property
    def fingerprint(self) -> str:
        """A checksum that is equal for two files whose tokens mean the same."""
        return codebook_fingerprint(part.numpy() for part in (self.weight, self.bias, self.codebook.embed))
