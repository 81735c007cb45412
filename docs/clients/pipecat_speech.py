"""The speech of a Pipecat agent: Pipecat's own service for OpenAI, pointed here.

    BASE=http://127.0.0.1:9880 KEY=... python pipecat_speech.py "What it says."

writes speech.wav. An agent has the same service in its pipeline, between the language model and the transport. Pipecat
knows only the names of OpenAI's voices: `VOICE_ALIASES` or `DEFAULT_VOICE` of the server says what `alloy` is here.

Needs pipecat-ai[openai].
"""

import asyncio
import os
import sys
import wave

from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
RATE = 24_000


def speech() -> OpenAITTSService:
    """Return what an agent speaks with."""
    return OpenAITTSService(
        base_url=f"{BASE}/v1", api_key=KEY or "none", settings=OpenAITTSService.Settings(voice="alloy")
    )


class Recorder(FrameProcessor):
    """Stands in the place of a transport and keeps what it would play."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = b""
        self.frames = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.samples += frame.audio
            self.frames += 1
        if isinstance(frame, ErrorFrame):
            sys.exit(f"error: {frame.error}")
        await self.push_frame(frame, direction)


async def main(text: str) -> None:
    recorder = Recorder()
    task = PipelineTask(Pipeline([speech(), recorder]), params=PipelineParams(audio_out_sample_rate=RATE))
    await task.queue_frames([TTSSpeakFrame(text), EndFrame()])
    await PipelineRunner(handle_sigint=False).run(task)
    with wave.open("speech.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(recorder.samples)
    print("speech.wav", recorder.frames, "frames of", RATE, "Hz")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
