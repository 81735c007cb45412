from __future__ import annotations

from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from GPT_SoVITS.configs import load_config
from GPT_SoVITS.synthesis.mel_chunking import ChunkSizes, even_pieces, overlapping_windows

FRAMES = st.integers(0, 3000)
ROOM = st.integers(1, 700)


@given(frames=FRAMES, room=ROOM)
def test_pieces_are_few_and_even_and_cover_all(frames, room):
    pieces = even_pieces(frames, room)

    assert sum(pieces) == frames
    assert len(pieces) == -(-frames // room)
    assert all(1 <= piece <= room for piece in pieces)
    assert max(pieces, default=0) - min(pieces, default=0) <= 1


@given(frames=FRAMES, room=ROOM, first=st.integers(1, 700))
def test_a_first_piece_is_as_short_as_was_asked(frames, room, first):
    pieces = even_pieces(frames, room, first)

    assert sum(pieces) == frames
    assert all(1 <= piece <= room for piece in pieces)
    assert not pieces or pieces[0] <= max(first, 1) or first >= min(frames, room)


@given(frames=FRAMES, room=ROOM, overlap=st.integers(0, 40))
def test_windows_are_of_one_length_and_cover_all_with_enough_overlap(frames, room, overlap):
    assume(room > overlap)

    windows = overlapping_windows(frames, room, overlap)

    if frames == 0:
        assert windows == []
        return
    assert windows[0][0] == 0
    assert windows[-1][1] == frames
    assert len({end - start for start, end in windows}) == 1
    assert windows[0][1] <= room
    shared = [end - start for (_, end), (start, _) in pairwise(windows)]
    assert all(overlap <= frames_shared <= overlap + 1 + len(windows) for frames_shared in shared)
    assert len(windows) == 1 or len(windows) == -(-(frames - overlap) // (room - overlap))


def test_the_recipes_have_the_official_sizes():
    assert ChunkSizes.from_recipe(load_config("v3")) == ChunkSizes(reference=468, chunk=934, overlap=12)
    assert ChunkSizes.from_recipe(load_config("v4")) == ChunkSizes(reference=500, chunk=1000, overlap=12)
