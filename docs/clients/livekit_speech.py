"""The speech of a LiveKit agent: LiveKit's own plugin for OpenAI, pointed here.

    BASE=http://127.0.0.1:9880 KEY=... python livekit_speech.py "A voice's name" "What it says."

writes speech.wav. An agent takes the same object: `AgentSession(tts=speech("allison"), stt=..., llm=...)`; it speaks
sentence by sentence, and what the listener interrupts is cancelled here.

Needs livekit-agents and livekit-plugins-openai.
"""

import asyncio
import os
import sys
import wave

from livekit.plugins import openai

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")


def speech(voice: str) -> openai.TTS:
    """Return what an agent speaks with: any model streams, and the voice has its own name."""
    return openai.TTS(
        base_url=f"{BASE}/v1", api_key=KEY or "none", model="gpt-4o-mini-tts", voice=voice, response_format="pcm"
    )


async def main(voice: str, text: str) -> None:
    tts = speech(voice)
    async with tts.synthesize(text) as stream:
        frames = [event.frame async for event in stream]
    await tts.aclose()
    with wave.open("speech.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(tts.sample_rate)
        file.writeframes(b"".join(bytes(frame.data) for frame in frames))
    print("speech.wav", len(frames), "frames of", tts.sample_rate, "Hz")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
