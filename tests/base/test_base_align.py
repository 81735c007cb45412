"""What is read of the clips that the base learns from."""

from pathlib import Path

import numpy as np

from scripts.train_base.align import align, read
from scripts.train_base.clips import Clip

FRAMES_A_PHONEME = 8
PHONEMES = (5, 9, 14, 20)


def _clip(name: str, spoken: list[int], written: list[int], vectors: np.ndarray) -> Clip:
    content = np.concatenate([np.repeat(vectors[[phoneme]], FRAMES_A_PHONEME, axis=0) for phoneme in spoken])
    frames = len(content)
    return Clip(
        name,
        "anyone",
        wave=np.zeros(320 * frames, np.int16),
        content=content.astype(np.float16),
        f0=np.zeros(frames, np.float16),
        phones=np.array(written, np.int16),
    )


def test_each_token_gets_its_phoneme_and_a_clip_that_says_something_else_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(32, 512)).astype(np.float32)
    clips = []
    for number in range(49):
        phonemes = rng.permutation(PHONEMES).tolist()
        clips.append(_clip(f"clear{number}", phonemes, phonemes, vectors))
    clips.append(_clip("other words", [5, 9, 14, 20], [20, 14, 5, 9], vectors))

    align(clips, tmp_path / "align.npz", steps=40)

    aligned = read(tmp_path / "align.npz")
    assert set(aligned) == {clip.name for clip in clips} - {"other words"}
    tokens_a_phoneme = FRAMES_A_PHONEME // 2
    for pointer in aligned.values():
        spoken = np.repeat(np.arange(len(PHONEMES)), tokens_a_phoneme)
        assert np.abs(pointer - spoken).max() <= 1
        assert (pointer == spoken).mean() >= 0.75
