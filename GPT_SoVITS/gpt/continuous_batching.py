"""Continuous batching: rows join and leave a running batch, each with its own settings and noise.

A row's tokens depend on its input and its noise alone, never on which other rows are in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.config import MAX_TOKENS, GPTConfig
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.gpt.graphs.decoder import GraphDecoder, GraphRows
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.gpt.row_lanes import GenerationRequest, RowLane
from GPT_SoVITS.gpt.row_sampler import SampledRow
from GPT_SoVITS.gpt.sampling import NoiseSource, SamplingSettings
from GPT_SoVITS.gpt.stepwise_rows import StepwiseRows

READ_INTERVAL = 8
"""Steps between two transfers of tokens from an accelerator, each of which waits for the device."""


class ContinuousBatch:
    """Rows that are decoded side by side, one token per row and step (specification s1-gpt §5.2).

    Not thread-safe. `len()` is the number of requests whose tokens have not been returned.
    """

    def __init__(
        self,
        model: Text2Semantic,
        *,
        decoder: Decoder | None = None,
        graphs: GraphDecoder | None = None,
        precision: Precision = "auto",
        read_interval: int | None = None,
    ) -> None:
        """Begin without rows.

        Args:
            model: the GPT.
            decoder: an empty decoder; by default the fastest (`new_decoder`).
            graphs: takes the rows that fit into it, and leaves the others to the decoder.
            precision: of the weights.
            read_interval: steps between two looks at which rows of the decoder have ended; it changes only the speed.
        """
        self.config = model.config
        self.device = model.device
        self.decoder: Decoder = decoder or new_decoder(model, precision)
        interval = read_interval or (1 if self.device.type == "cpu" else READ_INTERVAL)
        self.lanes: list[RowLane] = [StepwiseRows(self.decoder, self.config, self.device, interval)]
        if graphs is not None:
            self.lanes.insert(0, GraphRows(graphs, model, precision))
        self.waiting: list[GenerationRequest] = []
        self.finished: dict[int, list[int]] = {}
        self.last_id = 0

    @property
    def running(self) -> list[GenerationRequest]:
        """The rows of all lanes."""
        return [request for lane in self.lanes for request in lane.rows]

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running) + len(self.finished)

    def add_request(
        self,
        row: GenerationInput,
        settings: SamplingSettings,
        noise_source: NoiseSource,
        forced: Sequence[int] = (),
    ) -> int:
        """Queue a row, which joins at the next step.

        Args:
            row: what the sequence begins with.
            settings: how its tokens are drawn.
            noise_source: the row's own seed, or recorded noise, (steps, V).
            forced: the first tokens, where they are decided; the row goes on behind them.

        Returns:
            The request's id.

        Raises:
            ModelError: "empty_text", "wrong_symbols" or "wrong_tokens": the model has no such ids.
        """
        _check_ids(self.config, row)
        count = settings.early_stop_num
        limit = MAX_TOKENS if count == -1 else min(MAX_TOKENS, max(count, 0) + 1)
        self.last_id += 1
        sampled = SampledRow(settings, noise_source, row.prompt, forced)
        self.waiting.append(GenerationRequest(self.last_id, row, sampled, limit))
        return self.last_id

    @torch.inference_mode()
    def step(self) -> dict[int, list[int]]:
        """Draw one more token of every row, or several.

        On an accelerator most steps only start work and wait for none, so that an end shows a few steps later.

        Returns:
            The tokens of the requests that have ended, by id.
        """
        joining: Sequence[GenerationRequest] = self.waiting
        self.waiting = []
        for lane in self.lanes:
            joining = lane.accept(joining)
            self._finish(lane.step())
        finished, self.finished = self.finished, {}
        return finished

    def known_tokens(self) -> dict[int, Sequence[int]]:
        """Return the tokens of the running requests, by id, as far as they were read; waits for nothing."""
        return {request.request_id: request.tokens for request in self.running}

    def tokens(self, request_id: int) -> list[int]:
        """Return a request's tokens so far, without the end token. Raises KeyError if it was returned or removed."""
        self._read_tokens()
        return self.finished[request_id] if request_id in self.finished else list(self._find(request_id).tokens)

    @torch.inference_mode()
    def remove_request(self, request_id: int) -> None:
        """Abort a request. Raises KeyError if it was returned or removed."""
        self._read_tokens()
        if self.finished.pop(request_id, None) is not None:
            return
        request = self._find(request_id)
        if request in self.waiting:
            self.waiting.remove(request)
            return
        next(lane for lane in self.lanes if request in lane.rows).remove(request)

    @torch.inference_mode()
    def _read_tokens(self) -> None:
        """Read all tokens that were drawn; this waits for the device."""
        for lane in self.lanes:
            self._finish(lane.read())

    def _finish(self, requests: Sequence[GenerationRequest]) -> None:
        self.finished |= {request.request_id: request.tokens for request in requests}

    def _find(self, request_id: int) -> GenerationRequest:
        for request in (*self.waiting, *self.running):
            if request.request_id == request_id:
                return request
        raise KeyError(request_id)


def _check_ids(config: GPTConfig, row: GenerationInput) -> None:
    """Raise ModelError for ids beyond the embeddings; an accelerator would report them without saying which."""
    if len(row.phonemes) == 0:
        raise ModelError("empty_text", "There are no phonemes to speak.")
    if int(row.phonemes.max()) >= config.phoneme_vocab_size:
        raise ModelError(
            "wrong_symbols",
            f"Phoneme id {int(row.phonemes.max())} is beyond the {config.phoneme_vocab_size} of this model.",
            hint="The text was read for another version of the symbol table.",
        )
    if row.prompt is not None and len(row.prompt) and int(row.prompt.max()) >= config.end_token:
        raise ModelError(
            "wrong_tokens",
            f"Prompt token {int(row.prompt.max())} is beyond the {config.end_token} of this model.",
        )
