"""A client of the CosyVoice service: the voices at the root, a text in, the address of a WAV out.

    BASE=http://127.0.0.1:9880 KEY=... python cosyvoice.py "A voice's name" "What it says."

In place of a name, VOICE_URL and VOICE_PROMPT_TEXT name a recording to imitate. Needs nothing but Python.
"""

import json
import os
import sys
import urllib.error
import urllib.request

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
VOICE_URL = os.environ.get("VOICE_URL", "")
VOICE_PROMPT_TEXT = os.environ.get("VOICE_PROMPT_TEXT", "")


def main(voice: str, text: str) -> None:
    print("voices:", ask("/voices"))
    body = {"apikey": KEY, "target": text, "voice": voice}
    if VOICE_URL:
        body = {"apikey": KEY, "target": text, "voice_url": VOICE_URL, "voice_prompt_text": VOICE_PROMPT_TEXT}
    spoken = ask("/synthesize", body)
    print(f"{spoken['num_chunks']} sentences in {spoken['processing_time_seconds']} s")
    urllib.request.urlretrieve(spoken["download_url"], "speech.wav")
    print("speech.wav", os.path.getsize("speech.wav"), "bytes")


def ask(path: str, body: "dict | None" = None):
    content = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(BASE + path, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {json.load(error)['detail']}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
