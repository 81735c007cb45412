"""Upstream's api_v2 and api v1: fields, their order and words in errors, media types, and each caller's own choices."""

from __future__ import annotations

import io
import json
import struct
import wave
from typing import Any

import av
import httpx
import pytest
import soundfile
from api_support import RATE, Api, ToneWorkers, make_voice, running, tone, upload

from core.access import ALL_SCOPES, USER_SCOPES
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.speech.requests import UtteranceRequest
from core.speech.sampling import SamplingOptions

TEXT = "This is the first one. That is the second one."
SECONDS = (len(TEXT) - 1) / 20 + 2 * 0.3


@pytest.fixture
async def spoken(client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord) -> httpx.AsyncClient:
    """Return a client of an API with workers and the voice Allison."""
    return client


def tts(**more: Any) -> dict[str, Any]:
    return {"text": TEXT, "text_lang": "en", "ref_audio_path": "Allison", "prompt_lang": "en", **more}


def last_request(tone_workers: ToneWorkers) -> UtteranceRequest:
    """Return the last utterance that a worker was asked for."""
    return tone_workers.requests[-1]


def seconds_of(response: httpx.Response) -> float:
    with wave.open(io.BytesIO(response.content)) as file:
        return file.getnframes() / file.getframerate()


async def test_every_field_reaches_the_job_and_absent_ones_are_the_models(
    spoken: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    fields = {"top_k": 7, "top_p": 0.9, "temperature": 0.8, "repetition_penalty": 1.1, "sample_steps": 8}
    more = {"super_sampling": True, "fragment_interval": 0.5, "min_chunk_length": 20, "overlap_length": 3}
    everything = tts(**fields, **more, text_split_method="cut3", speed_factor=1.5, seed=11, batch_size=2)

    response = await spoken.post("/tts", json=everything)
    full = last_request(tone_workers)
    await spoken.post("/tts", json=tts(seed=-1))
    plain = last_request(tone_workers)

    assert response.status_code == 200, response.text
    assert full.sampling == SamplingOptions(**fields, **more)
    assert (full.text, full.speed, full.seed, full.language) == (TEXT, 1.5, 11, "en")
    assert (full.voice_id, full.prompt_name) == (voice.id, "default")
    assert (plain.text, plain.sampling) == ("That is the second one.", SamplingOptions())
    assert plain.seed != 11


async def test_numbers_in_strings_blanks_and_unknown_fields_are_taken(
    spoken: httpx.AsyncClient, tone_workers: ToneWorkers
) -> None:
    more = {"return_fragment": False, "streaming_mode": ""}
    body = tts(top_k="7", temperature="0.8", seed="", top_p="", text_lang="EN", **more)

    response = await spoken.post("/tts", json=body)

    request = last_request(tone_workers)
    assert response.status_code == 200
    assert (request.sampling.top_k, request.sampling.temperature, request.sampling.top_p) == (7, 0.8, None)
    assert request.language == "en"


MODES = "the modes are 0, 1, 2, 3, true and false"
ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"ref_audio_path": "", "text": "", "text_lang": ""}, "ref_audio_path is required"),
    ({"text": " ", "text_lang": "", "prompt_lang": ""}, "text is required"),
    ({"text_lang": "", "prompt_lang": "xx"}, "text_lang is required"),
    ({"text_lang": "xx", "prompt_lang": ""}, "text_lang: xx is not supported in version nano"),
    ({"prompt_lang": "", "media_type": "flv"}, "prompt_lang is required"),
    ({"prompt_lang": "xx", "media_type": "flv"}, "prompt_lang: xx is not supported in version nano"),
    ({"media_type": "flv", "text_split_method": "cut9"}, "media_type: flv is not supported"),
    ({"text_split_method": "cut9", "streaming_mode": 4}, "text_split_method:cut9 is not supported"),
    ({"streaming_mode": 4}, f"streaming_mode: 4 is not supported; {MODES}"),
    ({"streaming_mode": "maybe"}, f"streaming_mode: maybe is not supported; {MODES}"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_errors_come_in_upstreams_order_and_words(spoken: httpx.AsyncClient, method: str) -> None:
    answers = []
    for change, _ in ERRORS:
        arguments: dict[str, Any] = {"params" if method == "GET" else "json": tts(**change)}
        response = await spoken.request(method, "/tts", **arguments)
        answers.append((response.status_code, response.json()["message"]))

    assert answers == [(400, message) for _, message in ERRORS]


async def test_a_value_of_no_use_is_400_and_names_its_field(spoken: httpx.AsyncClient) -> None:
    changes: dict[str, list[Any]] = {
        "top_k": [0, "many", 10_000],
        "top_p": [1.5],
        "temperature": [-1, 9],
        "repetition_penalty": [0],
        "seed": [-2, "1.5"],
        "speed_factor": [9, 0.1],
        "fragment_interval": [-1],
        "sample_steps": [10_000],
        "batch_size": ["two"],
        "aux_ref_audio_paths": [3],
        "text": [["Hello.", 1], {"a": 1}],
        "ref_audio_path": [{"a": 1}, True],
    }
    for name, values in changes.items():
        for value in values:
            response = await spoken.post("/tts", json=tts(**{name: value}))
            assert (response.status_code, name in response.json()["message"]) == (400, True), (name, value)


async def test_every_streaming_mode_speaks_and_only_streams_are_chunked(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    whole = [False, 0, "false", "0", "no", "off"]
    streams = [True, 1, 2, 3, "true", "1", "2", "3", "yes", "on"]
    for streamed, modes in ((False, whole), (True, streams)):
        for mode in modes:
            response = await api.client.post("/tts", json=tts(streaming_mode=mode))
            content = response.content

            assert response.headers["content-type"] == "audio/wav"
            assert ("transfer-encoding" in response.headers) is streamed, mode
            assert struct.unpack("<I", content[40:44])[0] == (0 if streamed else len(content) - 44)
            assert (len(content) - 44) / 2 / RATE == pytest.approx(SECONDS, abs=0.01)


async def test_raw_is_the_samples_alone(spoken: httpx.AsyncClient) -> None:
    whole = await spoken.post("/tts", json=tts(media_type="raw"))
    streamed = await spoken.get("/tts", params=tts(media_type="raw", streaming_mode="true"))

    assert whole.headers["content-type"] == "audio/raw"
    assert whole.headers["x-sample-rate"] == streamed.headers["x-sample-rate"] == str(RATE)
    assert len(whole.content) / 2 / RATE == pytest.approx(SECONDS, abs=0.01)
    assert streamed.content == whole.content


async def test_a_pause_follows_the_last_sentence_too_as_long_as_asked_for(spoken: httpx.AsyncClient) -> None:
    """So that clients may join what several requests gave them."""
    sentence = TEXT.split(". ")[0] + "."
    lengths = [
        seconds_of(await spoken.post("/tts", json=tts(text=sentence, **more)))
        for more in ({}, {"fragment_interval": 0}, {"fragment_interval": 1.5})
    ]

    assert lengths == pytest.approx([lengths[1] + 0.3, lengths[1], lengths[1] + 1.5], abs=0.01)


async def test_ogg_is_vorbis_one_file_or_one_after_another(spoken: httpx.AsyncClient) -> None:
    whole = await spoken.post("/tts", json=tts(media_type="ogg"))
    chained = await spoken.post("/tts", json=tts(media_type="ogg", streaming_mode=True))
    single = await spoken.post("/", json=tts(media_type="ogg", streaming_mode="true"))

    beginnings = [response.content.count(b"\x01vorbis") for response in (whole, chained, single)]
    assert beginnings == [1, 3, 1], "two sentences and the pause behind the last one"
    for response in (whole, single):
        assert response.headers["content-type"] == "audio/ogg"
        info = soundfile.info(io.BytesIO(response.content))
        assert (info.subtype, info.channels, info.samplerate) == ("VORBIS", 1, RATE)
        assert info.duration == pytest.approx(SECONDS, abs=0.01)


async def test_aac_is_adts(spoken: httpx.AsyncClient) -> None:
    response = await spoken.post("/tts", json=tts(media_type="aac"))

    with av.open(io.BytesIO(response.content), "r") as container:
        assert container.format.name == "aac"
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert response.headers["content-type"] == "audio/aac"
    assert seconds == pytest.approx(SECONDS, abs=0.2)


async def test_a_path_names_a_voice_or_its_prompt_behind_any_folder(spoken: httpx.AsyncClient) -> None:
    names = ("Allison", "allison.wav", "./参考音频/Allison.wav", "D:\\voices\\Allison.WAV", "x/Allison/default.wav")
    for path in names:
        assert (await spoken.post("/tts", json=tts(ref_audio_path=path))).status_code == 200, path


async def test_a_path_that_is_too_long_is_one_sentence(spoken: httpx.AsyncClient) -> None:
    response = await spoken.get("/set_refer_audio", params={"refer_audio_path": "x" * 1001})

    assert response.status_code == 400
    assert "refer_audio_path" in response.json()["message"]
    assert response.json()["detail"] == response.json()["message"]


async def test_any_other_path_fails_without_telling_whether_it_exists(spoken: httpx.AsyncClient) -> None:
    for path in ("none.wav", "/etc/passwd", "../../etc/hostname", "..", "/", "%", "_"):
        response = await spoken.post("/tts", json=tts(ref_audio_path=path))

        assert response.status_code == 400
        assert response.json()["message"] == "tts failed"
        assert response.json()["Exception"].startswith("No voice, prompt or upload is named")


async def test_an_upload_is_a_reference_by_its_id_and_by_its_file_name(
    spoken: httpx.AsyncClient, tone_workers: ToneWorkers, settings: Settings
) -> None:
    file = await upload(spoken, tone(4.0), "Nova Speaks.wav")

    for path in (file["id"], "refs/Nova Speaks.wav", "Nova Speaks"):
        response = await spoken.post("/tts", json=tts(ref_audio_path=path, prompt_text="My words.", prompt_lang="ja"))
        assert response.status_code == 200, response.text
    request = last_request(tone_workers)
    await spoken.delete(f"/api/v1/files/{file['id']}")

    assert request.prompt is not None
    assert (request.prompt.text, request.prompt.language) == ("My words.", "ja")
    assert not (settings.storage_root / request.prompt.audio).exists()  # it goes with the upload


@pytest.mark.parametrize("seconds", [2.0, 11.0])
async def test_an_upload_of_another_length_is_rejected_with_that_reason(
    spoken: httpx.AsyncClient, seconds: float
) -> None:
    await upload(spoken, tone(seconds), "odd.wav")

    response = await spoken.post("/tts", json=tts(ref_audio_path="odd.wav"))

    assert response.json()["message"] == "tts failed"
    assert f"lasts {seconds:.1f} s. It may last 3 to 10 s." in response.json()["Exception"]


async def test_more_references_are_taken_along(spoken: httpx.AsyncClient, tone_workers: ToneWorkers) -> None:
    await spoken.post("/tts", json=tts(aux_ref_audio_paths=["", "voices/Allison.wav"]))

    assert last_request(tone_workers).extra_references == ("voices/x/prompt.wav",)


async def test_a_failed_synthesis_is_400_with_the_reason(spoken: httpx.AsyncClient, tone_workers: ToneWorkers) -> None:
    tone_workers.error = {"code": "internal_error", "message": "Out of luck.", "hint": ""}

    for mode in (0, 1):
        response = await spoken.post("/tts", json=tts(streaming_mode=mode))
        assert (response.status_code, response.json()["message"]) == (400, "tts failed")
        assert response.json()["Exception"] == "Out of luck."


async def test_without_a_worker_the_answer_is_503(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    response = await client.post("/tts", json=tts())

    assert (response.status_code, response.json()["message"]) == (503, "tts failed")


async def test_chosen_weights_are_used_and_forgotten_by_other_callers(
    settings: Settings, tone_workers: ToneWorkers, records: Records
) -> None:
    await make_voice(records, "Allison")
    await make_voice(records, "Bob")
    files = {f"ckpt-{name}-{kind}": kind for name in ("Allison", "Bob") for kind in ("gpt", "sovits")}
    folder = settings.storage_root / "checkpoints"
    folder.mkdir(parents=True)
    for name in files:
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    keyed = settings.model_copy(update={"valid_api_keys": ("k1", "k2")})
    first, second = {"X-API-Key": "k1"}, {"X-API-Key": "k2"}

    async with running(keyed) as api:
        listed = (await api.client.get("/get_gpt_weights", headers=first)).json()
        chosen = await api.client.get(
            f"/set_gpt_weights?weights_path=GPT_weights_v2/{listed[0]['name']}", headers=first
        )
        both = await api.client.get("/set_sovits_weights?weights_path=SoVITS_weights_v2/ckpt-Bob-sovits", headers=first)
        await api.client.post("/tts", json=tts(), headers=first)
        own = last_request(tone_workers)
        await api.client.post("/tts", json=tts(), headers=second)
        others = last_request(tone_workers)

    assert {item["name"] for item in listed} == {"Allison.ckpt", "Bob.ckpt"}
    assert (chosen.json(), both.json()) == ({"message": "success"}, {"message": "success"})
    assert (own.gpt_checkpoint_id, own.sovits_checkpoint_id) == ("ckpt-Bob-gpt", "ckpt-Bob-sovits")
    assert (others.gpt_checkpoint_id, others.sovits_checkpoint_id) == ("", "")


async def test_a_voices_name_chooses_both_of_its_checkpoints(
    spoken: httpx.AsyncClient, tone_workers: ToneWorkers, records: Records, settings: Settings
) -> None:
    bob = await make_voice(records, "Bob")
    folder = settings.storage_root / "checkpoints"
    folder.mkdir(parents=True)
    for checkpoint in (bob.gpt_checkpoint_id, bob.sovits_checkpoint_id):
        (folder / f"{checkpoint}.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")

    response = await spoken.post("/set_model", json={"gpt_model_path": bob.id})
    await spoken.post("/tts", json=tts())

    request = last_request(tone_workers)
    assert response.json() == {"code": 0, "message": "Success"}
    assert (request.gpt_checkpoint_id, request.sovits_checkpoint_id) == (
        bob.gpt_checkpoint_id,
        bob.sovits_checkpoint_id,
    )


@pytest.fixture
async def controlled(records: Records) -> dict[str, dict[str, str]]:
    """Return the headers of a user and of an admin."""
    headers = {}
    for name, scopes in (("user", USER_SCOPES), ("admin", ALL_SCOPES)):
        _, key = await records.api_keys.create(name, scopes=scopes)
        headers[name] = {"X-API-Key": key}
    return headers


async def test_control_needs_an_admins_key(
    settings: Settings, client: httpx.AsyncClient, controlled: dict[str, dict[str, str]]
) -> None:
    async with running(settings) as api:
        nobody = await api.client.get("/control?command=exit")
        user = await api.client.get("/control?command=exit", headers=controlled["user"])
        wrong = await api.client.get("/control?command=dance", headers=controlled["admin"])
        missing = await api.client.get("/control", headers=controlled["admin"])

    assert (nobody.status_code, user.status_code) == (401, 403)
    assert (wrong.status_code, missing.status_code) == (400, 400)
    assert missing.json()["message"] == "command is required"


async def test_control_is_closed_where_there_are_no_keys(client: httpx.AsyncClient) -> None:
    assert (await client.get("/control?command=restart")).status_code == 403


async def test_api_v1_speaks_with_its_own_fields(spoken: httpx.AsyncClient, tone_workers: ToneWorkers) -> None:
    reference = {"refer_wav_path": "Allison.wav", "prompt_text": "Hello.", "prompt_language": "英文"}
    more = {"top_k": 9, "speed": 1.25, "if_sr": True, "sample_steps": 4, "cut_punc": ",.", "inp_refs": ["Allison"]}

    response = await spoken.post(
        "/", json={"text": "It costs more, 1.5 a piece.", "text_language": "日英混合", **reference, **more}
    )

    request = last_request(tone_workers)
    assert (response.status_code, response.headers["content-type"]) == (200, "audio/wav")
    assert (request.language, request.speed, request.sampling.top_k) == ("ja", 1.25, 9)
    assert (request.sampling.super_sampling, request.sampling.sample_steps) == (True, 4)
    assert [item.text for item in tone_workers.requests] == ["It costs more,", "1.5 a piece."]
    assert request.extra_references == ("voices/x/prompt.wav",)


async def test_api_v1_takes_the_chosen_reference_and_none_is_400(spoken: httpx.AsyncClient) -> None:
    text = {"text": TEXT, "text_language": "en"}

    without = await spoken.get("/", params=text)
    unknown = await spoken.get("/change_refer?refer_wav_path=nobody.wav")
    chosen = await spoken.get("/change_refer?refer_wav_path=Allison.wav&prompt_text=Hello.&prompt_language=en")
    response = await spoken.get("/", params=text)

    assert (without.status_code, without.json()["code"]) == (400, 400)
    assert (unknown.status_code, unknown.json()["code"]) == (400, 400)
    assert chosen.json() == {"code": 0, "message": "Success"}
    assert seconds_of(response) == pytest.approx(SECONDS, abs=0.01)


async def test_a_body_that_names_nobody_to_speak_is_400(spoken: httpx.AsyncClient) -> None:
    for content in (b"{}", b"[]", b"no JSON", json.dumps({"text": TEXT}).encode()):
        response = await spoken.post("/", content=content)
        assert response.status_code == 400
        assert response.json()["message"] == response.json()["detail"]


async def test_clients_of_xtts_list_and_speak(spoken: httpx.AsyncClient) -> None:
    names = (await spoken.get("/speakers_list")).json()
    body = {"text": TEXT, "speaker_wav": names[0], "language": "en"}
    response = await spoken.post("/tts_to_audio/", json=body)

    assert names == ["Allison"]
    assert seconds_of(response) == pytest.approx(SECONDS, abs=0.01)
