"""How v3 and v4 cut a sentence into chunks (specification inference-pipeline §9); all sizes are mel frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """What the transformer sees at a time."""

    reference: int
    """Longest prompt; of a longer recording its end is taken."""
    chunk: int
    """EncodedPrompt and new frames together."""
    overlap: int = 12
    """Frames that neighbouring chunks share by the parallel method."""

    @classmethod
    def from_recipe(cls, config: dict[str, Any]) -> ChunkSizes:
        """Those of a version's recipe."""
        return cls(config["synthesis"]["prompt_frames"], config["synthesis"]["chunk_frames"])


def even_pieces(frames: int, room: int, first: int | None = None) -> list[int]:
    """Lengths of the fewest pieces of at most `room` frames, as even as can be: so none at the end is a mere scrap.
    `first` limits the first one alone."""
    if first is not None and 0 < first < min(frames, room):
        return [first, *even_pieces(frames - first, room)]
    count = -(-frames // room)
    return [frames * (i + 1) // count - frames * i // count for i in range(count)]


def overlapping_windows(frames: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """(start, end) of the fewest windows of at most `room` frames that cover all, of one length, each of which shares
    `overlap` frames or a few more with the next."""
    if frames <= room:
        return [(0, frames)] if frames else []
    count = -(-(frames - overlap) // (room - overlap))
    length = -(-(frames + (count - 1) * overlap) // count)
    starts = [i * (frames - length) // (count - 1) for i in range(count)]
    return [(start, start + length) for start in starts]
