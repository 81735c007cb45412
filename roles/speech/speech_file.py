"""The audio file of an inference while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from common.audio_formats import AudioFormat
from core.media.encode import Encoder, wav_header, write_flac_length
from core.media.resample import Resampler
from core.media.riff_info import info_chunk


class SpeechFile:
    """Resamples and encodes 16-bit mono samples into a file of any format, with its tags."""

    def __init__(
        self, file: BinaryIO, audio_format: AudioFormat, rate: int, output_rate: int, tags: Mapping[str, str]
    ) -> None:
        """`rate`: of the samples, `output_rate`: of the file, both in Hz."""
        self._file = file
        self._format = audio_format
        self._output_rate = output_rate
        self._tags = tags
        self._resampler = Resampler(rate, output_rate) if output_rate != rate else None
        self._encoder = Encoder(audio_format, output_rate, tags=tags) if audio_format != "wav" else None
        self._frames = 0
        """Samples of the file."""
        if self._encoder is None:
            file.write(wav_header(output_rate, 0))

    def write(self, samples: bytes) -> None:
        """Add samples."""
        self._write(samples if self._resampler is None else self._resampler.feed(samples))

    def finish(self) -> None:
        """Write the end of the file, and what its beginning says of its length."""
        if self._resampler is not None:
            self._write(self._resampler.finish())
        if self._encoder is None:
            chunk = info_chunk(self._tags)
            self._file.write(chunk)
            self._file.seek(0)
            self._file.write(wav_header(self._output_rate, 2 * self._frames, len(chunk)))
            return
        self._file.write(self._encoder.finish())
        if self._format == "flac":
            write_flac_length(self._file, self._frames)

    def _write(self, samples: bytes) -> None:
        self._file.write(samples if self._encoder is None else self._encoder.feed(samples))
        self._frames += len(samples) // 2
