"""The official OpenAI client, pointed here: a text spoken, the sound written as it comes.

    BASE=http://127.0.0.1:9880 KEY=... python openai_speech.py "A voice's name" "What it says."

Needs openai.
"""

import os
import sys

import openai

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")


def main(voice: str, text: str) -> None:
    client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY or "none")
    print("models:", [model.id for model in client.models.list()])
    with client.audio.speech.with_streaming_response.create(
        model="nano", voice=voice, input=text, response_format="wav"
    ) as answer:
        answer.stream_to_file("speech.wav")
    print("speech.wav", os.path.getsize("speech.wav"), "bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
