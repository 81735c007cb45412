"""Decoding on a GPU without the host: eight tokens of every row in one launch, and the launch before is read meanwhile.

A `GraphDecoder` is the memory and the graphs that all checkpoints of a shape share. Each batch has `GraphRows` in it:
before its launch, its checkpoint's weights are copied to the static ones if another's are there, and its rows are the
only ones that advance. TorchDecoder with a RowSampler is the reference; it also takes the rows that do not fit here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from weakref import ref

import torch
from torch import Tensor

from GPT_SoVITS.gpt.decoder import read_start
from GPT_SoVITS.gpt.graphs.buckets import (
    LENGTH_BUCKETS,
    PLAIN_TOP_K,
    PREPARED_LENGTHS,
    REPLAY_STEPS,
    ROW_BUCKETS,
    GraphBucket,
)
from GPT_SoVITS.gpt.graphs.buffers import SPARE_TOKENS, StepBuffers
from GPT_SoVITS.gpt.graphs.steps import DecodingSteps
from GPT_SoVITS.gpt.graphs.weights import StaticWeights, StepShape, StepWeights, step_shape, step_weights
from GPT_SoVITS.gpt.model import POSITIONS, Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision, pack_weights
from GPT_SoVITS.gpt.pointer import Pointers
from GPT_SoVITS.gpt.row_lanes import GenerationRequest
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.graphs.buckets import smallest
from GPT_SoVITS.graphs.replays import Replays
from GPT_SoVITS.noise import SeededNoise

MAX_ROWS = ROW_BUCKETS[-1]
MAX_POSITIONS, MIN_POSITIONS = MAX_ROWS * 512, 2048
"""Slots for keys and values that are allocated at first; more when rows need them."""
WORK = "tokens are generated"
SHARE_OF_FREE_MEMORY = 16
"""At first, keys and values take this part of what is free at most."""


@dataclass(eq=False, slots=True)
class _StaticRow:
    """A row of the buffers."""

    request: GenerationRequest
    owner: ref[GraphRows]
    filled: int
    """Slots that are filled at most: the device fills fewer once the row has ended."""


@dataclass(eq=False, slots=True)
class _Launch:
    """Tokens on their way to the host."""

    rows: list[tuple[int, GenerationRequest]]
    tokens: Tensor
    event: torch.cuda.Event | None

    @property
    def is_done(self) -> bool:
        return self.event is None or self.event.query()

    def read(self) -> list[list[int]]:
        """Wait for the tokens and return those of each row."""
        if self.event is not None:
            self.event.synchronize()
        steps: list[list[int]] = self.tokens.tolist()
        return [steps[number] for number, _ in self.rows]


class GraphDecoder:
    """Rows of several batches in static memory. Not thread-safe."""

    def __init__(self, shape: StepShape, weights: StepWeights, *, positions: int = 0) -> None:
        """Allocate the memory.

        Args:
            shape: of the checkpoints.
            weights: of one of them.
            positions: slots for keys and values of all rows together; 0: what suits the device.
        """
        self.shape = shape
        self.weights = StaticWeights(weights)
        self.buffers = StepBuffers(shape, MAX_ROWS, positions or _first_positions(shape))
        self.replays: Replays[GraphBucket] = Replays(shape.device, WORK)
        self.rows: list[_StaticRow] = []
        self.length = LENGTH_BUCKETS[0]
        """Slots of each row as they are laid out now."""
        self._steps: dict[GraphBucket, DecodingSteps] = {}
        self._loaded: ref[StepWeights] | None = None
        """Whose values the static weights have; a checkpoint that is forgotten does not stay in memory for it."""
        self._owner = 0
        self._owners = count(1)

    def new_owner(self) -> int:
        """Return a number for rows whose weights are the same."""
        return next(self._owners)

    def has_room(self, request: GenerationRequest, others: int) -> bool:
        """Return whether a row fits beside those that are there and so many others."""
        self.drop_orphans()
        row = request.row
        prompt = 0 if row.prompt is None else len(row.prompt)
        tokens = request.limit + SPARE_TOKENS
        return (
            not self.replays.has_failed
            and len(self.rows) + others < MAX_ROWS
            and isinstance(request.sampled.noise, SeededNoise)
            and prompt + tokens <= POSITIONS
            and len(row.phonemes) + prompt + tokens <= LENGTH_BUCKETS[-1]
        )

    def add_row(self, owner: GraphRows, request: GenerationRequest) -> None:
        """Read the start of a row, which joins the next launch."""
        row, number = request.row, len(self.rows)
        filled = len(row.phonemes) + (0 if row.prompt is None else len(row.prompt))
        self._lay_out(number + 1, max([filled, *(other.filled for other in self.rows)]) + REPLAY_STEPS)
        slots = self.buffers.row_slots(number, self.length)  # (L, S, 2E)
        slots.zero_()  # what an earlier row left might not be finite
        heads = slots.unflatten(2, (2, self.shape.heads, -1)).permute(2, 0, 3, 1, 4)  # (key | value, L, H, S, d)
        pointers = Pointers(self.shape.pointers, owner.weights.statistics)
        start = read_start(
            owner.packed,
            self.shape.heads,
            row,
            lambda length: (heads[0, :, :, :length], heads[1, :, :, :length]),
            pointers,
        )
        self.buffers.logits[number] = pointers.advance(start.logits, self.shape.end)[0]
        if pointers.heads:
            self.buffers.texts[number, : len(row.phonemes)] = row.phonemes
            self.buffers.pointer_state[number] = pointers.state[0]
        self.buffers.write(number, request.sampled, filled, start.prompt, request.limit, owner.number)
        self.rows.append(_StaticRow(request, ref(owner), filled))

    def launch(self, owner: GraphRows) -> _Launch:
        """Draw the next tokens of the rows of an owner, and wait for none."""
        self.drop_orphans()
        own = [(number, row) for number, row in enumerate(self.rows) if row.owner() is owner]
        self._lay_out(len(self.rows), max(row.filled for row in self.rows) + REPLAY_STEPS)
        general = any(needs_general_rules(row.request.sampled.settings) for _, row in own)
        bucket = GraphBucket(smallest(ROW_BUCKETS, own[-1][0] + 1), self.length, general)
        self._run(bucket, owner.weights, owner.number)
        for _, row in own:
            row.filled += REPLAY_STEPS
        tokens, event = self._send_tokens(bucket.rows)
        return _Launch([(number, row.request) for number, row in own], tokens, event)

    def remove(self, request: GenerationRequest) -> None:
        """Remove a row; the last one takes its number."""
        self._remove(next(number for number, row in enumerate(self.rows) if row.request is request))

    def drop_orphans(self) -> None:
        """Remove the rows of batches that were dropped."""
        for number in reversed(range(len(self.rows))):
            if self.rows[number].owner() is None:
                self._remove(number)

    def is_in_use(self) -> bool:
        """Return whether there are rows."""
        self.drop_orphans()
        return bool(self.rows)

    def missing_buckets(self) -> list[GraphBucket]:
        """Return what a warm-up captures and was not captured yet."""
        if not self.replays.captures:
            return []
        buckets = [GraphBucket(rows, length) for length in PREPARED_LENGTHS for rows in ROW_BUCKETS]
        return [
            bucket
            for bucket in buckets
            if bucket.rows * bucket.length <= self.buffers.positions and bucket not in self.replays
        ]

    @torch.inference_mode()
    def prepare(self, bucket: GraphBucket, weights: StepWeights) -> None:
        """Capture a bucket with rows that are none; while there are rows, do nothing: their launches capture it."""
        self.drop_orphans()
        if self.rows or bucket in self.replays:
            return
        owner = self.new_owner()
        self.buffers.write_examples(owner)
        try:
            self._run(bucket, weights, owner)
        finally:
            self.buffers.numbers.zero_()

    def _run(self, bucket: GraphBucket, weights: StepWeights, owner: int) -> None:
        if self._loaded is None or self._loaded() is not weights:
            self.weights.load(weights)
            self._loaded = ref(weights)
        if self._owner != owner:
            self.buffers.owner.fill_(owner)
            self._owner = owner
        if bucket not in self._steps:
            self._steps[bucket] = DecodingSteps(self.buffers, self.weights, bucket)
        self.replays.run(self._steps[bucket])

    def _lay_out(self, rows: int, filled: int) -> None:
        """Make room for so many slots of each of so many rows."""
        length = smallest(LENGTH_BUCKETS, filled)
        positions = smallest(ROW_BUCKETS, rows) * length
        if positions > self.buffers.positions:
            self.replays.clear()
            self._steps.clear()
            self.buffers.grow(positions)
        if length != self.length:
            self.buffers.relayout([row.filled for row in self.rows], self.length, length)
            self.length = length

    def _remove(self, number: int) -> None:
        last = len(self.rows) - 1
        if number != last:
            self.buffers.move(last, number, self.length, self.rows[last].filled)
            self.rows[number] = self.rows[last]
        self.rows.pop()
        self.buffers.end(last)

    def _send_tokens(self, rows: int) -> tuple[Tensor, torch.cuda.Event | None]:
        """Begin to copy the tokens of the last replay to the host, (rows, steps)."""
        tokens = self.buffers.tokens[:rows]
        if self.shape.device.type != "cuda" or not torch.cuda.is_available():
            return tokens.to("cpu", copy=True), None
        pinned = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
        pinned.copy_(tokens, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.shape.device))
        return pinned, event


class GraphRows:
    """The rows of one batch in a `GraphDecoder`; see RowLane. A step draws `REPLAY_STEPS` tokens of every row."""

    def __init__(self, decoder: GraphDecoder, model: Text2Semantic, precision: Precision = "auto") -> None:
        """Begin without rows."""
        self.decoder = decoder
        self.packed = pack_weights(model, precision)
        """What reads the start of a row."""
        self.weights = step_weights(model, self.packed.dtype)
        self.number = decoder.new_owner()
        self.rows: list[GenerationRequest] = []
        self._joining: list[GenerationRequest] = []
        self._launches: list[_Launch] = []
        """Those whose tokens were not read, the oldest first."""

    def accept(self, requests: Sequence[GenerationRequest]) -> Sequence[GenerationRequest]:
        """Take the rows that fit into the static memory; see RowLane."""
        others = []
        for request in requests:
            if self.decoder.has_room(request, len(self._joining)):
                self._joining.append(request)
            else:
                others.append(request)
        return others

    def step(self) -> list[GenerationRequest]:
        """Launch the next steps and read the tokens of those before; see RowLane."""
        for request in self._joining:
            self.decoder.add_row(self, request)
            self.rows.append(request)
        self._joining = []
        if self.rows:
            self._launches.append(self.decoder.launch(self))
        return self._read(unread=1)

    def read(self) -> list[GenerationRequest]:
        """Read all tokens that were drawn; see RowLane."""
        return self._read(unread=0)

    def remove(self, request: GenerationRequest) -> None:
        """Remove a row; see RowLane."""
        self.decoder.remove(request)
        self.rows.remove(request)

    def _read(self, unread: int) -> list[GenerationRequest]:
        """Read the launches that are done, and wait for all but so many."""
        ended = []
        while self._launches and (len(self._launches) > unread or self._launches[0].is_done):
            launch = self._launches.pop(0)
            for (_, request), tokens in zip(launch.rows, launch.read(), strict=True):
                if request not in self.rows:  # it has ended, or was removed, since the launch
                    continue
                request.append(tokens, self.decoder.shape.end)
                if request.ended:
                    self.remove(request)
                    ended.append(request)
        return ended


def new_graph_decoder(model: Text2Semantic, precision: Precision = "auto", *, positions: int = 0) -> GraphDecoder:
    """Return a graph decoder for a model and all of its shape; for the arguments see GraphDecoder."""
    dtype = pack_weights(model, precision).dtype
    weights = step_weights(model, dtype)
    return GraphDecoder(step_shape(model, dtype), weights, positions=positions)


def needs_general_rules(settings: SamplingSettings) -> bool:
    """Return whether a row's settings need more than the plain sampling rules."""
    return settings.nucleus < float("inf") or settings.top_k is None or settings.top_k > PLAIN_TOP_K


def _first_positions(shape: StepShape) -> int:
    """Return for how many slots memory is allocated at first: a power of two."""
    if shape.device.type != "cuda" or not torch.cuda.is_available():
        return MAX_POSITIONS
    free, _ = torch.cuda.mem_get_info(shape.device)
    fitting = free // SHARE_OF_FREE_MEMORY // (shape.layers * 2 * shape.width * shape.dtype.itemsize)
    return min(max(1 << (fitting.bit_length() - 1 if fitting else 0), MIN_POSITIONS), MAX_POSITIONS)
