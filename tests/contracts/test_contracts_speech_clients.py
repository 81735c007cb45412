"""Programs that speak through upstream's and OpenAI's interfaces, as they ask: SillyTavern, xiaozhi, Open WebUI, Home
Assistant. Each test sends what its program sends, in its order, and reads of the responses what the program reads."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import av
import httpx
import pytest
import soundfile
from wav_chunks import samples_of

from scripts.demo_daemon import Daemon

pytestmark = pytest.mark.slow
PAGE = {"Origin": "http://127.0.0.1:8000"}
TEXT = "Hello there."
KEY = "a-key-of-open-webui"


@pytest.fixture(scope="module")
def client(contract_daemon: Daemon) -> Iterator[httpx.Client]:
    """Yield a client of a daemon without keys."""
    with httpx.Client(base_url=contract_daemon.url, timeout=60) as client:
        yield client


def ogg_seconds(content: bytes) -> float:
    info = soundfile.info(io.BytesIO(content))
    assert (info.format, info.subtype, info.channels) == ("OGG", "VORBIS", 1)
    return float(info.duration)


def wav_seconds(content: bytes) -> float:
    with wave.open(io.BytesIO(content)) as file:
        assert len(samples_of(content)) == 2 * file.getnframes()
        return file.getnframes() / file.getframerate()


def decoded_seconds(content: bytes) -> float:
    with av.open(io.BytesIO(content), "r") as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def preflight(client: httpx.Client, path: str) -> None:
    """Ask as a browser does before it posts JSON."""
    requested = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    response = client.options(path, headers=PAGE | requested)
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] in ("*", PAGE["Origin"])
    assert "content-type" in response.headers["access-control-allow-headers"].lower()


def test_sillytavern_gpt_sovits_v2_chooses_weights_and_plays_one_ogg(client: httpx.Client):
    speaker = client.get("/speakers", headers=PAGE).json()[0]
    for kind, folder in (("gpt", "GPT_weights_v2"), ("sovits", "SoVITS_weights_v2")):
        name = client.get(f"/get_{kind}_weights", headers=PAGE).json()[0]["name"]
        chosen = client.get(f"/set_{kind}_weights?weights_path={folder}/{name}", headers=PAGE)
        assert (chosen.status_code, chosen.json()) == (200, {"message": "success"})
    preflight(client, "/")
    body: dict[str, Any] = {
        "text": TEXT,
        "prompt_text": speaker["voice_id"],
        "ref_audio_path": f"./参考音频/{speaker['voice_id']}.wav",
        "text_lang": "zh",
        "prompt_lang": "zh",
        "text_split_method": "cut5",
        "batch_size": 1,
        "media_type": "ogg",
        "streaming_mode": "true",
    }
    later = {"fragment_interval": 0.3, "speed_factor": 1.0, "top_k": 5, "top_p": 1, "temperature": 1}

    for request in (body, body | later | {"repetition_penalty": 1.35}):
        response = client.post("/", json=request, headers=PAGE)
        assert response.status_code == 200, response.text
        assert response.headers["access-control-allow-origin"] in ("*", PAGE["Origin"])
        assert response.content.count(b"\x01vorbis") == 1  # one stream: players stop at the end of the first
        assert 0.3 < ogg_seconds(response.content) < 10


def test_sillytavern_gpt_sovits_v2_of_another_version_sends_its_settings(client: httpx.Client):
    voice = client.get("/speakers").json()[0]["voice_id"]
    body = {"text": TEXT, "ref_audio_path": f"./参考音频/{voice}.wav", "text_lang": "en", "prompt_lang": "en"}
    settings = {"text_split_method": "cut5", "batch_size": 1, "batch_threshold": 0.75, "media_type": "wav"}

    for streaming in ("true", "false"):
        response = client.post("/", json=body | settings | {"streaming_mode": streaming}, headers=PAGE)
        assert response.headers["content-type"] == "audio/wav"
        assert wav_seconds(response.content) > 0.3


@pytest.mark.parametrize("media_type", ["auto", "wav", "mp3", "ogg", "silk", "flac"])
def test_sillytaverns_gpt_sovits_adapter_names_a_voice_alone(client: httpx.Client, media_type: str):
    body = {
        "text": TEXT,
        "card_name": ["Nova"],
        "use_st_adapter": True,
        "target_voice": client.get("/voices").json()[0],
        "text_lang": "en",
        "text_split_method": "cut5",
        "batch_size": 1,
        "media_type": media_type,
        "streaming_mode": "true",
    }

    response = client.post("/", json=body, headers=PAGE)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("audio/")
    assert decoded_seconds(response.content) > 0.3


def test_sillytaverns_cosyvoice_provider_names_a_speaker(client: httpx.Client):
    speaker = client.get("/voices").json()[0]

    for body in ({"text": TEXT, "speaker": speaker, "streaming": 1}, {"text": TEXT, "speaker": speaker}):
        assert decoded_seconds(client.post("/", json=body, headers=PAGE).content) > 0.3


def test_sillytavern_shows_the_body_of_an_error(client: httpx.Client):
    body = {"text": TEXT, "ref_audio_path": "./参考音频/nobody.wav", "text_lang": "en", "prompt_lang": "en"}

    response = client.post("/", json=body | {"streaming_mode": "true", "media_type": "ogg"}, headers=PAGE)

    assert response.status_code == 400
    assert response.json()["message"] == "tts failed"
    assert "nobody" in response.text


def test_sillytaverns_openai_compatible_provider_sends_bearer_with_nothing_behind_it(client: httpx.Client):
    body = {"input": TEXT, "response_format": "mp3", "voice": "alloy", "speed": 1, "model": "tts-1"}

    response = client.post("/v1/audio/speech", json=body, headers={"Authorization": "Bearer"})

    assert response.headers["content-type"] == "audio/mpeg"
    assert decoded_seconds(response.content) > 0.3


def test_every_name_of_openais_voices_speaks(client: httpx.Client):
    names = "alloy ash ballad coral echo fable nova onyx sage shimmer verse Alloy"
    for voice in names.split():
        body = {"model": "tts-1", "input": "Hi.", "voice": voice, "response_format": "wav"}
        response = client.post("/v1/audio/speech", json=body)
        assert response.status_code == 200, voice
        assert wav_seconds(response.content) > 0.1


@pytest.mark.parametrize(
    ("voice", "language", "text", "number"),
    [
        ("allison", "en", "Hello.", ["F", "AO1", "R", "T", "IY0", "T", "UW1"]),
        ("xiaoyi", "zh", "你好。", ["s", "i04", "sh", "ir2", "EE", "er4"]),
        ("yunjian", "zh", "你好。", ["s", "i04", "sh", "ir2", "EE", "er4"]),
    ],
)
def test_every_bundled_voice_speaks_by_its_name_and_reads_digits_in_its_own_language(
    client: httpx.Client, voice: str, language: str, text: str, number: list[str]
):
    view = client.get(f"/api/v1/voices/{voice}").json()
    speech = {"voice": voice, "verify": "off"}
    spoken = client.post("/v1/audio/speech", json=speech | {"input": text, "response_format": "wav"})
    reference = {"ref_audio_path": voice, "prompt_lang": language, "text": text, "text_lang": language}
    upstream = client.get("/tts", params=reference)
    timed = {"input": "42.", "response_format": "pcm", "stream_format": "sse", "timestamps": "phoneme"}
    events = client.post("/v1/audio/speech", json=speech | timed).text.splitlines()
    chunks = [json.loads(line.removeprefix("data:")) for line in events if line.startswith("data:")]
    words = [word for chunk in chunks for word in chunk.get("words", [])]

    assert (view["name"], view["language"], view["languages"]) == (voice, language, ["zh", "en"])
    assert decoded_seconds(spoken.content) > 0.3
    assert spoken.headers.get("X-Warning") is None
    assert wav_seconds(upstream.content) > 0.3
    assert [phoneme["phoneme"] for word in words for phoneme in word["phonemes"]] == number


def test_a_request_without_a_voice_is_spoken_by_the_bundled_one_of_its_language(client: httpx.Client):
    ids = {item["name"]: item["id"] for item in client.get("/api/v1/voices").json()["items"]}
    body = {"response_format": "pcm", "stream_format": "sse", "verify": "off"}
    spoken = {text: client.post("/v1/audio/speech", json=body | {"input": text}).text for text in ("Hello.", "你好。")}

    assert ids["allison"] in spoken["Hello."]
    assert ids["xiaoyi"] in spoken["你好。"]


def test_xiaozhi_gpt_sovits_v2_reads_a_file(client: httpx.Client):
    body = {
        "text": TEXT,
        "text_lang": "auto",
        "ref_audio_path": client.get("/voices").json()[0] + ".wav",
        "aux_ref_audio_paths": [],
        "prompt_text": "",
        "prompt_lang": "zh",
        "top_k": 5,
        "top_p": 1,
        "temperature": 1,
        "text_split_method": "cut0",
        "batch_size": 1,
        "batch_threshold": 0.75,
        "split_bucket": True,
        "return_fragment": False,
        "speed_factor": 1.0,
        "streaming_mode": False,
        "seed": -1,
        "parallel_infer": True,
        "repetition_penalty": 1.35,
    }

    response = client.post("/tts", json=body)

    assert response.status_code == 200, response.text
    assert wav_seconds(response.content) > 0.3


def test_xiaozhi_gpt_sovits_v3_gets_a_file_of_the_first_interface(client: httpx.Client):
    voice = client.get("/voices").json()[0]
    parameters = {"refer_wav_path": voice, "prompt_text": "x", "prompt_language": "en", "text": TEXT}
    numbers = {"top_k": 15, "top_p": 1.0, "temperature": 1.0, "speed": 1.0, "sample_steps": 32, "if_sr": False}

    response = client.get("/", params=parameters | {"text_language": "auto"} | numbers)

    assert response.status_code == 200, response.text
    assert wav_seconds(response.content) > 0.3


def test_xiaozhi_openai_reads_a_wav(client: httpx.Client):
    body = {"model": "tts-1", "input": TEXT, "voice": "alloy", "response_format": "wav", "speed": 1}

    response = client.post("/v1/audio/speech", json=body, headers={"Authorization": "Bearer sk-x"})

    assert response.status_code == 200
    assert wav_seconds(response.content) > 0.3


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of a daemon that asks for a key, with a default voice and an alias."""
    folder = tmp_path_factory.mktemp("keyed")
    settings = {"VALID_API_KEYS": KEY, "DEFAULT_VOICE": "allison", "VOICE_ALIASES": "jarvis=allison"}
    with (
        Daemon(folder / "data", folder / "daemon.log", settings) as daemon,
        httpx.Client(base_url=f"{daemon.url}/v1", timeout=60) as client,
    ):
        yield client


def test_open_webui_lists_without_a_key_and_speaks_with_one(keyed: httpx.Client):
    voices = keyed.get("/audio/voices").json()["voices"]
    models = keyed.get("/audio/models").json()["models"]
    body = {"input": TEXT, "voice": voices[0]["id"], "model": models[0]["id"]}
    spoken = keyed.post("/audio/speech", json=body, headers={"Authorization": f"Bearer {KEY}"})
    rejected = keyed.post("/audio/speech", json=body, headers={"Authorization": "Bearer wrong"})

    assert {"id", "name"} <= set(voices[0])
    assert decoded_seconds(spoken.content) > 0.3
    assert rejected.status_code == 401
    assert isinstance(rejected.json()["error"]["message"], str)


def test_home_assistant_checks_its_key_lists_voices_and_speaks(keyed: httpx.Client):
    check = {"model": "tts-1", "input": ".", "voice": "alloy", "response_format": "mp3"}
    good = {"Authorization": f"Bearer {KEY}"}
    accepted = keyed.post("/audio/speech", json=check, headers=good, timeout=10)
    wrong = keyed.post("/audio/speech", json=check, headers={"Authorization": "Bearer wrong"}, timeout=10)
    listed = keyed.get("/audio/voices", params={"limit": 100}, headers=good, timeout=8).json()
    names = [item["name"] for item in listed["voices"]]
    extra = {"model": "tts-1", "input": TEXT, "speed": 1.0, "instructions": "Speak kindly.", "exaggeration": 0.5}

    assert (accepted.status_code, wrong.status_code) == (200, 401)
    assert 0.3 < decoded_seconds(accepted.content) < 1
    assert names == ["allison", "xiaoyi", "yunjian"]
    for response_format in ("mp3", "opus", "wav"):
        for voice in (names[0], "alloy", "Allison", "Jarvis"):
            body = extra | {"voice": voice, "response_format": response_format}
            response = keyed.post("/audio/speech", json=body, headers=good)
            assert response.status_code == 200, voice
            assert response.headers["x-request-id"]
            assert decoded_seconds(response.content) > 0.3
