"""The decoder in C++ behind the interface of `Decoder`: 2 to 10 times as fast as PyTorch on a CPU.

A step is bound by how fast the weights come from memory, so they stay in the precision in which the checkpoint has
them. Every output is the same to the last bit whatever the number of rows and threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from weakref import finalize

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.native.library import kernels_wanted, load_library
from GPT_SoVITS.gpt.native.weights import NativeWeights

BAD_ARGUMENT, NO_MEMORY, NOT_FINITE = 1, 2, 3
"""`sovitsd::Status` of csrc/decoder.h."""


class NativeDecoder:
    """See Decoder. Not thread-safe; several decoders may share weights."""

    def __init__(self, weights: NativeWeights, threads: int = 1) -> None:
        """Begin without rows; `threads` include the caller's.

        Raises:
            MemoryError: There is no memory, or there are no more threads.
        """
        library = load_library()
        assert library is not None, "the caller has checked that there is one"
        self.weights = weights
        self.vocabulary = weights.config.vocab_size
        heads = weights.pointer_heads
        self._library = library
        self._handle = library.sovitsd_new(
            ctypes.byref(weights.shape),
            weights.addresses,
            heads.data_ptr(),
            len(heads),
            threads,
            kernels_wanted().encode(),
        )
        if not self._handle:
            raise MemoryError("There is no memory, or there are no more threads, for a decoder.")
        finalize(self, library.sovitsd_delete, self._handle)

    def prefill(self, inputs: Sequence[GenerationInput], steps: int) -> Tensor:
        """Add rows; see Decoder."""
        return torch.cat([self._prefill_row(row, steps) for row in inputs])

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token of every row; see Decoder."""
        tokens = tokens.to(torch.int64).contiguous()
        logits = torch.empty(len(tokens), self.vocabulary)
        self._check(self._library.sovitsd_step(self._handle, tokens.data_ptr(), len(tokens), logits.data_ptr()))
        return logits

    def remove_row(self, row: int) -> None:
        """Remove a row; see Decoder."""
        self._check(self._library.sovitsd_remove(self._handle, row))

    def _prefill_row(self, row: GenerationInput, steps: int) -> Tensor:
        embedded = self._embed(row)
        phonemes = row.phonemes.to(torch.int32).contiguous()
        logits = torch.empty(1, self.vocabulary)
        self._check(
            self._library.sovitsd_prefill(
                self._handle,
                embedded.data_ptr(),
                len(embedded),
                len(phonemes),
                phonemes.data_ptr(),
                steps,
                logits.data_ptr(),
            )
        )
        return logits

    def _embed(self, row: GenerationInput) -> Tensor:
        """Return the embedded text and prompt of a row, (S, E)."""
        weights = self.weights
        text = F.embedding(row.phonemes, weights.text_embedding) + weights.bert_bias
        if row.bert is not None:
            text = text + F.linear(row.bert.T.float(), weights.bert_weight)
        text = text + weights.text_positions[: len(row.phonemes)]
        if row.prompt is None:
            return text.contiguous()
        tokens = F.embedding(row.prompt, weights.token_embedding) + weights.token_positions[: len(row.prompt)]
        return torch.cat([text, tokens]).contiguous()

    def _check(self, status: int) -> None:
        """Raise ModelError, or MemoryError, for a status that is an error."""
        if status == NO_MEMORY:
            raise MemoryError("There is no memory for another row.")
        if status == NOT_FINITE:
            raise ModelError("not_finite", "The GPT computed numbers that are none; its checkpoint is damaged.")
        if status == BAD_ARGUMENT:
            raise ModelError("wrong_tokens", "These are tokens or positions that the GPT does not have.")
