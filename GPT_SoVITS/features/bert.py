"""Text features of Mandarin: a hidden state of chinese-roberta-wwm-ext-large (specification text-frontend §8)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from GPT_SoVITS.checkpoints.pretrained import (
    assign_weights,
    find_weights,
    in_float32,
    read_config,
    read_state,
    use_half,
)
from GPT_SoVITS.errors import ModelError

if TYPE_CHECKING:
    from transformers.models.bert.modeling_bert import BertModel

UNUSED_LAYERS = 2
"""The feature is the input of the last two layers, so they are not even loaded."""
MAX_CHARACTERS = 510
"""Characters that are read at once; two positions belong to the tokens of beginning and end."""
PUNCTUATION = re.compile(r"[!?…,.-]")
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


class LanguagePiece(Protocol):
    """A piece of a text in one language, as `text.PhonemizedSegment` is."""

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
        model: BertModel,
        vocabulary: dict[str, int],
        *,
        device: torch.device | str = "cpu",
        half: bool | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.half = use_half(device, half)
        self.width = int(model.config.hidden_size)
        self.model = model
        nn.Module.to(model, self.device, torch.float16 if self.half else torch.float32)
        self.vocabulary = vocabulary
        self.max_characters = min(MAX_CHARACTERS, int(model.config.max_position_embeddings) - 2)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu", half: bool | None = None) -> Roberta:
        """Load a folder with `config.json`, the weights, and `tokenizer.json` or `vocab.txt`; half precision on CUDA.

        Raises:
            ModelError: "missing_part" or "bad_checkpoint".
        """
        # Slow to import (1.3 s and 155 MB), so only once it is needed.
        from transformers.models.bert.configuration_bert import BertConfig
        from transformers.models.bert.modeling_bert import BertModel

        config = BertConfig.from_dict(read_config(folder / "config.json"))
        config.num_hidden_layers -= UNUSED_LAYERS
        with torch.device("meta"):
            model = BertModel(config, add_pooling_layer=False)
        state = _encoder_weights(read_state(find_weights(folder)), config.num_hidden_layers)
        assign_weights(model, in_float32(state), source=str(folder))
        # Positions and segment ids are in no file, so the meta device left them empty.
        positions = torch.arange(config.max_position_embeddings)[None]
        model.embeddings.register_buffer("position_ids", positions, persistent=False)
        model.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
        return cls(model, read_vocabulary(folder), device=device, half=half)

    def features_of(self, pieces: Iterable[LanguagePiece]) -> Tensor:
        """Encode the pieces of a text -> (D, N) float32 for N phonemes; zeros where the language is not Mandarin."""
        columns = [
            self.of_phones(piece.norm_text, piece.word2ph)
            if piece.language == "zh" and piece.word2ph is not None
            else torch.zeros(self.width, len(piece.phonemes), device=self.device)
            for piece in pieces
        ]
        return torch.cat(columns, dim=1) if columns else torch.zeros(self.width, 0, device=self.device)

    def of_phones(self, norm_text: str, word2ph: Sequence[int]) -> Tensor:
        """Encode a text -> (D, sum(word2ph)): the features of each character, once for each of its phonemes.

        Raises:
            ModelError: "bad_text" when `word2ph` does not have one count for each character.
        """
        if len(norm_text) != len(word2ph):
            raise ModelError(
                "bad_text", f"{len(norm_text)} characters have phones counted for {len(word2ph)}; one each is needed."
            )
        counts = torch.tensor(list(word2ph), device=self.device)
        return self.of_characters(norm_text).repeat_interleave(counts, dim=0).T.contiguous()

    def of_characters(self, text: str) -> Tensor:
        """Encode a text -> (characters, D) float32; beyond 510 characters in parts, split after punctuation."""
        parts = [self._encode(part) for part in split_after_punctuation(text, self.max_characters)]
        return torch.cat(parts) if parts else torch.zeros(0, self.width, device=self.device)

    @torch.inference_mode()
    def _encode(self, text: str) -> Tensor:
        """Encode a text of at most `max_characters` -> (characters, D) float32."""
        unknown = self.vocabulary["[UNK]"]
        ids = [self.vocabulary.get(character.lower(), unknown) for character in text]
        tokens = torch.tensor([[self.vocabulary["[CLS]"], *ids, self.vocabulary["[SEP]"]]], device=self.device)
        hidden: Tensor = self.model(tokens, torch.ones_like(tokens)).last_hidden_state  # (1, characters + 2, D)
        return hidden[0, 1:-1].float()


def split_after_punctuation(text: str, max_characters: int = MAX_CHARACTERS) -> list[str]:
    """Split a text into parts, each ending after the last punctuation of its second half, if there is any."""
    parts = []
    while len(text) > max_characters:
        ends = [match.end() for match in PUNCTUATION.finditer(text, max_characters // 2, max_characters)]
        end = ends[-1] if ends else max_characters
        parts.append(text[:end])
        text = text[end:]
    return [*parts, text] if text else parts


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Read token -> id from `vocab.txt` or `tokenizer.json`.

    Raises:
        ModelError: "missing_part" or "bad_checkpoint".
    """
    lines = folder / "vocab.txt"
    try:
        if lines.is_file():
            tokens = lines.read_text(encoding="utf-8").rstrip("\n").split("\n")
            vocabulary = {token.rstrip("\r"): index for index, token in enumerate(tokens)}
        else:
            vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    except FileNotFoundError as error:
        raise ModelError("missing_part", f"There is neither vocab.txt nor tokenizer.json in {folder}.") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError("bad_checkpoint", f"The vocabulary in {folder} cannot be read: {error}.") from error
    missing = [token for token in ("[CLS]", "[SEP]", "[UNK]") if token not in vocabulary]
    if missing:
        raise ModelError("bad_checkpoint", f"The vocabulary in {folder} lacks {', '.join(missing)}.")
    return vocabulary


def _encoder_weights(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Keep what the first layers need, under today's names: no heads, no prefix, no buffers, no gamma and beta."""
    prefixed = any(name.startswith("bert.") for name in state)
    kept: dict[str, Tensor] = {}
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
