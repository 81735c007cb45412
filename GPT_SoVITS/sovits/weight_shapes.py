"""Sizes that are read off the shapes of a network's weights, where no official file holds them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.errors import ModelError


class WeightShapes:
    """The shapes of a network's weights."""

    def __init__(self, state: Mapping[str, Tensor], network: str, hint: str = "") -> None:
        """Read shapes of `state`; `network` says in errors what is expected."""
        self.state = state
        self.network = network
        self.hint = hint

    def __call__(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor. Raises ModelError("bad_checkpoint") when it is missing."""
        if name not in self.state:
            raise ModelError(
                "bad_checkpoint",
                f"These are not the whole weights of {self.network}: there is no {name}.",
                hint=self.hint,
            )
        return tuple(self.state[name].shape)

    def count(self, prefix: str) -> int:
        """Return the length of a numbered list of layers."""
        return len({name.removeprefix(prefix).split(".")[0] for name in self.state if name.startswith(prefix)})

    def encoder_sizes(self) -> Recipe:
        """Return the sizes of the encoders and the quantizer, which all versions share; the head counts do not show."""
        feed_forward = self("enc_p.encoder_text.ffn_layers.0.conv_1.weight")
        return {
            "symbols": self("enc_p.text_embedding.weight")[0],
            "style_bins": self("ref_enc.spectral.0.fc.weight")[1],
            "ref_style_hidden": self("ref_enc.spectral.0.fc.weight")[0],
            "ssl_dim": self("ssl_proj.weight")[0],
            "codebook_bins": self("quantizer.vq.layers.0._codebook.embed")[0],
            "inter_channels": self("enc_p.proj.weight")[0] // 2,
            "hidden_channels": self("enc_p.proj.weight")[1],
            "filter_channels": feed_forward[0],
            "kernel_size": feed_forward[2],
            "n_layers": self.count("enc_p.encoder_text.attn_layers."),
            "mrte_hidden": self("enc_p.mrte.c_pre.weight")[0],
            "gin_channels": self("ref_enc.fc.fc.weight")[0],
        }
