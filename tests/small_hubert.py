"""The configuration of a HuBERT with few channels."""

from __future__ import annotations

from typing import Any

SMALL_HUBERT: dict[str, Any] = {
    "conv_dim": [8] * 7,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_conv_pos_embedding_groups": 2,
    "num_conv_pos_embeddings": 8,
    "num_hidden_layers": 1,
}
