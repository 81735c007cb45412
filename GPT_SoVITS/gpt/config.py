"""The dimensions of a GPT, as the `model` section of its recipe names them (specification s1-gpt §1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from GPT_SoVITS.configs.sections import check_positive, read_section
from GPT_SoVITS.errors import ModelError

MAX_TOKENS = 1500
"""60 s; no sequence grows longer."""


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The numbers that decide every shape.

    Raises:
        ModelError: "bad_config": the numbers contradict each other.
    """

    embedding_dim: int
    hidden_dim: int
    head: int
    n_layer: int
    vocab_size: int
    """Semantic tokens and the end token."""
    phoneme_vocab_size: int
    EOS: int
    """The end token, which is the last one."""
    dropout: float = 0.0
    """Of embeddings."""
    pointers: tuple[tuple[int, int], ...] = ()
    """(layer, head) of the heads that know the phoneme of each token; see pointer.py."""

    def __post_init__(self) -> None:
        check_positive(self, "embedding_dim", "head", "n_layer", "vocab_size", "phoneme_vocab_size")
        width, heads = self.embedding_dim, self.head
        if self.hidden_dim != width:
            raise ModelError("bad_config", f"hidden_dim {self.hidden_dim} must equal embedding_dim {width}.")
        if width % heads or width % 2:
            raise ModelError("bad_config", f"A width of {width} cannot be cut into {heads} heads and sine pairs.")
        if self.end_token != self.vocab_size - 1:
            raise ModelError(
                "bad_config", f"The end token must be {self.vocab_size - 1}, the last one; EOS is {self.EOS}."
            )

    @property
    def end_token(self) -> int:
        """The token that ends a sequence."""
        return self.EOS

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> GPTConfig:
        """Read a recipe, or its `model` section alone; official files hold settings that no network reads."""
        return read_section(cls, recipe.get("model", recipe), extra=True)
