"""A client of upstream's api_v2: the voices, then a text that is spoken by one, streamed to a file.

    BASE=http://127.0.0.1:9880 KEY=... python upstream_tts.py "A voice's name" "What it says." [LANGUAGE]

Needs nothing but Python.
"""

import json
import os
import sys
import urllib.error
import urllib.request

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")


def main(voice: str, text: str, language: str = "auto") -> None:
    with send("/speakers") as response:
        print("voices:", [speaker["name"] for speaker in json.load(response)])
    body = {
        "text": text,
        "text_lang": language,
        "ref_audio_path": voice,
        "prompt_lang": "auto",
        "media_type": "ogg",
        "streaming_mode": 1,
    }
    with send("/tts", body) as response, open("speech.ogg", "wb") as file:
        while chunk := response.read1(65536):
            file.write(chunk)
    print("speech.ogg", os.path.getsize("speech.ogg"), "bytes")


def send(path: str, body: "dict | None" = None):
    content = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    try:
        return urllib.request.urlopen(urllib.request.Request(BASE + path, content, headers), timeout=600)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
        sys.exit(f"{error.code}: {answer['message']} {answer.get('Exception', '')}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
