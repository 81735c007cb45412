"""Random numbers that are a function of a seed and a position."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from GPT_SoVITS import noise
from GPT_SoVITS.noise import NoisePurpose, SeededNoise, exponential_noise


def words(seed: int, start: int, purpose: int) -> list[str]:
    drawn = noise._random_words([SeededNoise(seed)], [start], 1, 4, NoisePurpose(purpose), "cpu")
    return [f"{word:08x}" for word in drawn.flatten().tolist()]


def test_the_random_words_are_those_of_the_published_generator():
    # Random123's known answers of philox4x32-10 for a counter and a key of zeros.
    assert words(0, 0, 0) == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    assert words(0x299F31D0A4093822, 0x85A308D3, 2) == philox((0, 0x85A308D3, 2, 0), (0xA4093822, 0x299F31D0))


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[str]:
    """Return the four words of a counter, in Python's integers (Salmon et al. 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & 0xFFFFFFFF, first >> 32 ^ c[3] ^ k[1], first & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return [f"{word:08x}" for word in c]


@given(seed=st.integers(0, 2**64 - 1), start=st.integers(0, 5000), count=st.integers(1, 9), width=st.integers(1, 40))
def test_a_stretch_of_noise_is_the_same_wherever_the_draw_begins_and_ends(seed, start, count, width):
    source = SeededNoise(seed)

    whole = source.normal(NoisePurpose.LATENT, start, count, width)

    for step in range(count):
        assert torch.equal(source.normal(NoisePurpose.LATENT, start + step, 1, width)[0], whole[step])
    assert torch.equal(source.normal(NoisePurpose.LATENT, start, count, width + 5)[:, :width], whole)


def test_rows_of_a_batch_have_the_noise_that_they_have_alone():
    sources = [SeededNoise(seed) for seed in (1, 2, 2**63)]

    together = exponential_noise(sources, [0, 7, 30], 16, 1025, "cpu")

    for source, start, row in zip(sources, (0, 7, 30), together, strict=True):
        assert torch.equal(source.exponential(start, 16, 1025), row)


def test_seeds_steps_and_purposes_have_noise_of_their_own():
    draws = [
        SeededNoise(seed).normal(purpose, step, 1, 64)
        for seed in (1, 2, 1 << 32)
        for purpose in NoisePurpose
        for step in (0, 1)
    ]

    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    numbers = SeededNoise(3).normal(NoisePurpose.LATENT, 0, 2000, 192)

    moments = [float((numbers**power).mean()) for power in (1, 2, 3, 4)]
    torch.testing.assert_close(torch.tensor(moments), torch.tensor([0.0, 1.0, 0.0, 3.0]), atol=0.03, rtol=0)
    assert float((numbers[:, :-1] * numbers[:, 1:]).mean().abs()) < 0.01, "neighbors are independent"
    assert float((numbers[:-1] * numbers[1:]).mean().abs()) < 0.01, "frames are independent"


def test_exponential_numbers_have_the_distribution_of_waiting_times():
    numbers = SeededNoise(4).exponential(0, 400, 1025)

    assert float(numbers.min()) > 0
    for limit in (0.1, 1.0, 3.0):
        share = float((numbers > limit).float().mean())
        assert abs(share - float(torch.tensor(-limit).exp())) < 0.005
