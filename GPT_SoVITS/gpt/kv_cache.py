"""The keys and values of rows that join and leave a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from GPT_SoVITS.gpt.packed_weights import round_up

SLOT_MULTIPLE = 32
"""Attention reads a multiple of so many slots: a row's sums are then in the same order whatever rows are beside it."""
RESERVED_SLOTS = 256
"""Most slots that are allocated at once for tokens to come."""


class CacheView(NamedTuple):
    """The cache as steps read and write it, layer by layer; kept between steps, as views cost time, too."""

    flat: tuple[Tensor, ...]
    """(2 * rows * H * slots, d)."""
    keys: tuple[Tensor, ...]
    """(B * H, d, filled slots)."""
    values: tuple[Tensor, ...]
    """(B * H, filled slots, d)."""
    mask: Tensor
    """(B * H, 1, filled slots)."""
    target: Tensor
    """(2 * B * H,), where in `flat` the step's keys and values go; (key | value, rows, H)."""


class KVCache:
    """One preallocated tensor; every row begins in slot 0 and the mask hides the slots beyond its end.

    Hidden slots must be finite all the same, since zero times NaN is NaN.
    """

    def __init__(self, layers: int, heads: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.data = torch.empty(layers, 2, 0, heads, 0, width, dtype=dtype, device=device)
        """(L, key | value, rows, H, slots, d)."""
        self.mask = self.data.new_empty(0, heads, 0)
        """(rows, H, slots), added to scores: 0 where a row has a key, minus infinity elsewhere."""
        self.lengths: list[int] = []
        """Filled slots of each row; on the host, so that reading them does not wait for the device."""
        self.ends = torch.empty(0, dtype=torch.long, device=device)
        """(B,), the same on the device."""
        self.view: CacheView | None = None
        """Of the previous step, valid until a row joins or leaves or a few dozen steps have passed."""

    def add_row(self, length: int, steps: int) -> tuple[Tensor, Tensor]:
        """Add a row of `length` that expects so many more steps.

        Returns:
            Its keys and values, (L, H, length, d) each, to be filled in.
        """
        row = len(self.lengths)
        self._reserve(row + 1, length + min(steps, RESERVED_SLOTS))
        self.lengths.append(length)
        self.ends = torch.cat([self.ends, self.ends.new_tensor([length])])
        self.data[:, :, row] = 0  # what an earlier row left might not be finite
        self.mask[row] = -torch.inf
        self.mask[row, :, :length] = 0
        self.view = None
        return self.data[:, 0, row, :, :length], self.data[:, 1, row, :, :length]

    def advance(self) -> CacheView:
        """Begin a step, which makes every row one longer."""
        longest = max(self.lengths) + 1
        if longest > self.data.shape[4]:
            self._reserve(len(self.lengths), longest + RESERVED_SLOTS - 1)
        slots = round_up(longest, SLOT_MULTIPLE)
        if self.view is None or slots != self.view.mask.shape[2]:
            self.view = self._make_view(slots)
        self.mask[: len(self.lengths)].scatter_(2, self.ends[:, None, None].expand(-1, self.mask.shape[1], 1), 0.0)
        self.ends += 1
        self.view.target.add_(1)
        self.lengths = [length + 1 for length in self.lengths]
        return self.view

    def remove_row(self, row: int) -> None:
        """Remove a row; the last one takes its place, and without rows the memory is freed."""
        last = len(self.lengths) - 1
        if row != last:
            length = self.lengths[last]
            self.data[:, :, row, :, :length] = self.data[:, :, last, :, :length]
            self.mask[row] = self.mask[last]
            self.ends[row] = self.ends[last]
            self.lengths[row] = length
        self.lengths.pop()
        self.ends = self.ends[:-1]
        if not self.lengths:
            self._allocate(0, 0)
        self.view = None

    def _reserve(self, rows: int, slots: int) -> None:
        """Make room; rows double, so that a batch that fills up one by one is not copied every time."""
        old_rows, old_slots = self.data.shape[2], self.data.shape[4]
        if rows <= old_rows and slots <= old_slots:
            return
        old, mask, used = self.data, self.mask, len(self.lengths)
        rows = old_rows if rows <= old_rows else max(rows, 2 * used)
        filled = max(self.lengths, default=0)
        self._allocate(rows, round_up(max(slots, filled), SLOT_MULTIPLE))
        if used:
            self.data[:, :, :used] = 0
            self.data[:, :, :used, :, :filled] = old[:, :, :used, :, :filled]
            self.mask[:used, :, :filled] = mask[:used, :, :filled]
            self.view = None

    def _allocate(self, rows: int, slots: int) -> None:
        layers, pair, _, heads, _, width = self.data.shape
        self.data = self.data.new_empty(layers, pair, rows, heads, slots, width)
        self.mask = self.mask.new_full((rows, heads, slots), -torch.inf)

    def _make_view(self, slots: int) -> CacheView:
        layers, pair, rows, heads, all_slots, width = self.data.shape
        used = len(self.lengths)
        merged = self.data[:, :, :used].view(layers, pair, used * heads, all_slots, width)
        keys, values = merged[:, :, :, :slots].unbind(1)
        offsets = torch.arange(pair * rows * heads, device=self.ends.device).view(pair, rows, heads)
        return CacheView(
            flat=self.data.view(layers, -1, width).unbind(),
            keys=keys.transpose(2, 3).unbind(),
            values=values.unbind(),
            mask=self.mask[:used].view(used * heads, 1, all_slots)[:, :, :slots],
            target=(offsets[:, :used] * all_slots + self.ends[:, None] - 1).flatten(),
        )
