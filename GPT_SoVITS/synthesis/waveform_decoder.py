"""Tokens to sound for v1, v2, v2Pro, v2ProPlus and nano: sentences side by side, none hearing another.

The original joins all sentences of a batch into one (inference-pipeline §8), so that they attend to each other and a
sentence sounds otherwise with another batch size. Here every row keeps its own length, phonemes, style, speed and noise
and gives what it gives alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.sovits.encoder import Prior, stretch
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS, frame_noise

NOISE_SCALE = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence as the second stage reads it."""

    tokens: Tensor
    """(T,) generated semantic tokens, none of the prompt's."""
    phones: Tensor
    """(S,) phoneme ids of the sentence alone."""
    style: Tensor
    """(1, G, 1)."""
    speed: float = 1.0
    generator: torch.Generator | None = None
    """Its chance; drawn from frame by frame."""
    noise: Tensor | None = None
    """(1, C, F) written-down numbers in the place of `generator`."""


@torch.inference_mode()
def decode(
    sovits: SoVITS,
    lines: Sequence[Line],
    *,
    noise_scale: float = NOISE_SCALE,
    together: bool | None = None,
    compat: Literal["reference"] | None = None,
) -> list[Tensor]:
    """The waveform of each line, (N_i,) in [-1, 1].

    `together` lets the generator, nine tenths of the work, run on all rows at once; by itself it does so on an
    accelerator only: a CPU gains nothing by it and would compute padding. `compat="reference"` reads all lines at
    speed 1 as one long sentence, with the first line's style and noise for the whole.
    """
    if compat == "reference" and all(line.speed == 1 for line in lines):
        return _decode_joined(sovits, lines, noise_scale)
    latent, frames, styles = _latents(sovits, lines, noise_scale)
    if together is None:
        together = latent.device.type != "cpu"
    hop = sovits.dec.hop
    if not together or len(lines) == 1:
        return [sovits.dec(latent[i : i + 1, :, :f], styles[i : i + 1])[0, 0] for i, f in enumerate(frames)]
    lengths = torch.tensor(frames, device=latent.device)
    waves = sovits.dec(latent, styles, lengths if min(frames) < max(frames) else None)
    return [wave[0, : f * hop] for wave, f in zip(waves, frames)]


def _latents(sovits: SoVITS, lines: Sequence[Line], noise_scale: float) -> tuple[Tensor, list[int], Tensor]:
    """((B, C, F) of what the generator reads, frames of each row, (B, G, 1) styles)."""
    styles = torch.cat([line.style for line in lines])  # (B, G, 1)
    device = styles.device
    lengths = torch.tensor([2 * len(line.tokens) for line in lines], device=device)
    codes = pad_sequence([line.tokens.to(device) for line in lines], batch_first=True)  # (B, T)
    phones = pad_sequence([line.phones.to(device) for line in lines], batch_first=True)  # (B, S)
    text = sovits.enc_p.read_text(phones, torch.tensor([len(line.phones) for line in lines], device=device))
    mask = length_mask(lengths, 2 * codes.shape[1])
    encoded = sovits.enc_p.encode(sovits.frames(codes[None]), mask, text, sovits.text_style(styles))  # (B, H, 2T)

    # Each row is stretched by its own size: in a padded batch the source positions would be those of the longest.
    rows = [stretch(encoded[i : i + 1, :, :f], line.speed)[0].T for i, (f, line) in enumerate(zip(lengths, lines))]
    frames = [len(row) for row in rows]
    encoded = pad_sequence(rows, batch_first=True).transpose(1, 2)  # (B, H, F)
    prior = sovits.enc_p.prior(encoded, length_mask(torch.tensor(frames, device=device), max(frames)))
    noise = pad_sequence([_noise(line, f, prior)[0].T for f, line in zip(frames, lines)], batch_first=True)
    return sovits.latent(prior, styles, noise_scale, noise.transpose(1, 2)), frames, styles


def _noise(line: Line, frames: int, prior: Prior) -> Tensor:
    """(1, C, F) for one row."""
    if line.noise is not None:
        return line.noise.to(prior.mean)
    return frame_noise((1, prior.mean.shape[1], frames), line.generator).to(prior.mean)


def _decode_joined(sovits: SoVITS, lines: Sequence[Line], noise_scale: float) -> list[Tensor]:
    """All lines in one call, cut afterwards where each one's tokens end."""
    first = lines[0]
    wave = sovits.decode(
        torch.cat([line.tokens for line in lines])[None, None],
        torch.cat([line.phones for line in lines])[None],
        ge=first.style,
        noise_scale=noise_scale,
        noise=first.noise,
        generator=first.generator,
    )[0, 0]
    return list(wave.split([2 * len(line.tokens) * sovits.dec.hop for line in lines]))
