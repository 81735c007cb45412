"""Text features of Mandarin: a hidden state of chinese-roberta-wwm-ext-large (specification text-frontend §8)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.pretrained import fill, in_half, read_config, read_weights

WIDTH = 1024
"""Of the features that the GPT reads; languages without a text feature have zeros."""
LAYERS_LEFT_OUT = 2
"""The feature is what enters the last two layers, so they are not even loaded."""
LONGEST = 510
"""Characters that are read at once; two positions belong to the marks of beginning and end."""
MARKS = re.compile(r"[!?…,.-]")
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


class Piece(Protocol):
    """A stretch of text of one language, as `text.PhonemizedSegment` is."""

    @property
    def language(self) -> str: ...
    @property
    def norm_text(self) -> str: ...
    @property
    def phonemes(self) -> Sequence[str]: ...
    @property
    def word2ph(self) -> Sequence[int] | None: ...


class Roberta:
    """RoBERTa for inference, one token for each character."""

    def __init__(
        self,
        model: nn.Module,
        vocabulary: dict[str, int],
        *,
        device: torch.device | str = "cpu",
        half: bool | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.half = in_half(device, half)
        self.width: int = model.config.hidden_size
        self.model = model.to(self.device, torch.float16 if self.half else torch.float32)
        self.vocabulary = vocabulary
        self.longest = min(LONGEST, model.config.max_position_embeddings - 2)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu", half: bool | None = None) -> Roberta:
        """From a folder with `config.json`, the weights, and `tokenizer.json` or `vocab.txt`; half precision on CUDA.

        Raises ModelError "missing_part" or "bad_checkpoint".
        """
        # Slow to import (1.3 s and 155 MB), so only once it is needed.
        from transformers.models.bert.modeling_bert import BertConfig, BertModel

        config = BertConfig.from_dict(read_config(folder))
        config.num_hidden_layers -= LAYERS_LEFT_OUT
        with torch.device("meta"):
            model = BertModel(config, add_pooling_layer=False)
        fill(model, _encoder_weights(read_weights(folder), config.num_hidden_layers), folder)
        _renew_buffers(model)
        return cls(model, read_vocabulary(folder), device=device, half=half)

    def features_of(self, pieces: Iterable[Piece]) -> Tensor:
        """The pieces of a text -> (D, N) float32, a column for each phone; zeros where the language is not Mandarin."""
        columns = [
            self.of_phones(piece.norm_text, piece.word2ph)
            if piece.language == "zh" and piece.word2ph is not None
            else torch.zeros(self.width, len(piece.phonemes), device=self.device)
            for piece in pieces
        ]
        return torch.cat(columns, dim=1) if columns else torch.zeros(self.width, 0, device=self.device)

    def of_phones(self, norm_text: str, word2ph: Sequence[int]) -> Tensor:
        """(D, sum(word2ph)): the column of each character, once for each of its phones."""
        if len(norm_text) != len(word2ph):
            raise ModelError(
                "bad_text", f"{len(norm_text)} characters have phones counted for {len(word2ph)}; one each is needed."
            )
        counts = torch.tensor(list(word2ph), device=self.device)
        return self.of_characters(norm_text).repeat_interleave(counts, dim=0).T.contiguous()

    def of_characters(self, text: str) -> Tensor:
        """(characters, D) float32. A text beyond 510 characters is read in parts, cut after marks where it has any."""
        parts = [self._read(part) for part in split(text, self.longest)]
        return torch.cat(parts) if parts else torch.zeros(0, self.width, device=self.device)

    @torch.inference_mode()
    def _read(self, text: str) -> Tensor:
        unknown = self.vocabulary["[UNK]"]
        ids = [self.vocabulary.get(character.lower(), unknown) for character in text]
        tokens = torch.tensor([[self.vocabulary["[CLS]"], *ids, self.vocabulary["[SEP]"]]], device=self.device)
        return self.model(tokens, torch.ones_like(tokens)).last_hidden_state[0, 1:-1].float()


def zeros_like_phones(pieces: Iterable[Piece], width: int = WIDTH) -> Tensor:
    """(width, N): the text feature of a text for which there is none."""
    return torch.zeros(width, sum(len(piece.phonemes) for piece in pieces))


def split(text: str, longest: int = LONGEST) -> list[str]:
    """The text in parts of at most `longest`, each ending after the last mark of its second half, if there is one."""
    parts = []
    while len(text) > longest:
        ends = [match.end() for match in MARKS.finditer(text, longest // 2, longest)]
        end = ends[-1] if ends else longest
        parts.append(text[:end])
        text = text[end:]
    return [*parts, text] if text else parts


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Token -> id, from `vocab.txt` or `tokenizer.json`. Raises ModelError "missing_part" or "bad_checkpoint"."""
    lines, document = folder / "vocab.txt", folder / "tokenizer.json"
    try:
        if lines.is_file():
            tokens = lines.read_text(encoding="utf-8").rstrip("\n").split("\n")
            found = {token.rstrip("\r"): index for index, token in enumerate(tokens)}
        else:
            found = json.loads(document.read_text(encoding="utf-8"))["model"]["vocab"]
    except FileNotFoundError as error:
        raise ModelError("missing_part", f"There is neither vocab.txt nor tokenizer.json in {folder}.") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError("bad_checkpoint", f"The vocabulary in {folder} cannot be read: {error}.") from error
    missing = [token for token in ("[CLS]", "[SEP]", "[UNK]") if token not in found]
    if missing:
        raise ModelError("bad_checkpoint", f"The vocabulary in {folder} lacks {', '.join(missing)}.")
    return found


def _encoder_weights(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """What the first layers need, under today's names: no heads, no prefix, no buffers, no gamma and beta."""
    prefixed = any(name.startswith("bert.") for name in state)
    kept = {}
    for name, tensor in state.items():
        if prefixed and not name.startswith("bert."):
            continue  # the head that was trained on top
        name = name.removeprefix("bert.")
        layer = _LAYER.match(name)
        if name.startswith(("pooler.", "embeddings.position_ids")) or (layer and int(layer[1]) >= layers):
            continue
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        kept[re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)] = tensor
    return kept


def _renew_buffers(model: nn.Module) -> None:
    """Positions and segment ids are in no file, so the meta device left them empty."""
    embeddings = model.embeddings
    positions = torch.arange(model.config.max_position_embeddings)[None]
    embeddings.register_buffer("position_ids", positions, persistent=False)
    embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
