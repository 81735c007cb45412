from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from GPT_SoVITS.configs import load_config
from GPT_SoVITS.synthesis.mel_synthesis import ChunkSizes, even_chunks

FRAMES = st.integers(0, 3000)
ROOM = st.integers(1, 700)


@given(frames=FRAMES, room=ROOM)
def test_chunks_are_few_and_even_and_cover_all(frames, room):
    chunks = even_chunks(frames, room)

    assert sum(chunks) == frames
    assert len(chunks) == -(-frames // room)
    assert all(1 <= chunk <= room for chunk in chunks)
    assert max(chunks, default=0) - min(chunks, default=0) <= 1


@given(frames=FRAMES, room=ROOM, first=st.integers(1, 700))
def test_a_first_chunk_is_as_short_as_was_asked(frames, room, first):
    chunks = even_chunks(frames, room, first)

    assert sum(chunks) == frames
    assert all(1 <= chunk <= room for chunk in chunks)
    assert not chunks or chunks[0] <= max(first, 1) or first >= min(frames, room)


def test_the_recipes_have_the_official_sizes():
    assert ChunkSizes.from_recipe(load_config("v3")["synthesis"]) == ChunkSizes(prompt=468, chunk=934)
    assert ChunkSizes.from_recipe(load_config("v4")["synthesis"]) == ChunkSizes(prompt=500, chunk=1000)
