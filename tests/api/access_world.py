"""A server with four callers, one of whom owns something of every kind, and requests of every route that name it."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from api_support import Api, make_voice, tone

from api.http.access import DeclaredRoute
from common import storage_keys
from core.access import ALL_SCOPES, USER_SCOPES, Caller, act_as
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.jobs.job import NewJob
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import FILES, SPLITTER
from core.records import ConsentSource, NewConsentRecord, NewFileRecord, NewProvenance, Records
from core.redis import connect
from core.settings import Settings
from core.speech.dubbing_jobs import DubbedCue, DubbingPlan
from core.speech.inference_jobs import BatchItem
from core.speech.requests import SpeechRequest
from core.voices.prompt_proposals import proposal_key

_numbers = itertools.count()
ALICE = Caller("alice", USER_SCOPES, "key-alice")


CONSTANTS = {
    "version": "1",
    "number": "1",
    "stage": "gpt_train",
    "step": "audio_slice",
    "prompt": "default",
    "proposal": "proposals-alice.0",
    "preset": "full_training",
    "name": "none.png",
    "filename": "none.wav",
    "model": "nano",
}
"""Values of path parameters that name nothing of anybody's by themselves."""
PARAMETERS_BY_PREFIX = {
    "/api/v1/task/": {"task_id": "step_task_id"},
    "/api/v1/dead-letters/": {"job_id": "dead_job_id"},
    "/api/v2/preprocessing/": {"job_id": "dataset_job_id"},
}
"""Path parameters that mean something else below these paths."""
BODIES: Mapping[str, object] = {
    "PATCH /api/v1/datasets/{dataset_id}": {"name": "new"},
    "POST /api/v1/datasets": {"name": "new", "file_ids": ["{file_id}"]},
    "POST /api/v1/datasets/{dataset_id}/files": {"file_ids": ["{file_id}"]},
    "PATCH /api/v1/datasets/{dataset_id}/segments": {"segments": [{"number": 1, "transcript": "a"}]},
    "PATCH /api/v1/datasets/{dataset_id}/segments/{number}": {"transcript": "a"},
    "POST /api/v1/tasks": {"exp_name": "new", "audio_file_id": "{file_id}"},
    "POST /api/v1/experiments": {"exp_name": "new", "audio_file_id": "{file_id}"},
    "PATCH /api/v1/experiments/{exp_id}": {"exp_name": "new"},
    "POST /api/v1/experiments/{exp_id}/stages/{stage}/control": {"action": "pause"},
    "POST /api/v1/voices": {
        "name": "new",
        "gpt_checkpoint_id": "{model_id}",
        "sovits_checkpoint_id": "{model_id}",
        "prompts": [{"file_id": "{file_id}", "text": "a"}],
    },
    "PATCH /api/v1/voices/{voice}": {"language": "ja"},
    "POST /api/v1/voices/{voice}/prompts": {"name": "new", "file_id": "{file_id}", "text": "a"},
    "PATCH /api/v1/voices/{voice}/prompts/{prompt}": {"text": "b"},
    "POST /api/v1/inference": {"text": "a", "voice": "{voice}"},
    "POST /api/v1/inference/batch": {"voice": "{voice}", "items": [{"text": "a"}]},
    "POST /api/v1/inference/subtitles": {"voice": "{voice}", "subtitles": "00:00 --> 00:01\na"},
    "POST /api/v1/keys": {"name": "new"},
    "POST /api/v1/datasets/{dataset_id}/crop": {"end_seconds": 1.0},
    "POST /api/v1/resources/config": {"max_concurrent": {"cpu": {"training": 1}}},
    "POST /api/v2/resources/config": {"max_concurrent": {"cpu": {"training": 1}}},
    "POST /api/v2/training/start": {
        "model": "nano",
        "num_classes": 1,
        "train_path": "{dataset_id}",
        "val_path": "",
        "save_path": "new",
    },
    "POST /api/v2/preprocessing/split": {"input_path": "{dataset_id}", "output_path": "new"},
    "POST /api/v2/preprocessing/augment": {"dataset_path": "{dataset_id}", "output_path": "new", "methods": ["CLAHE"]},
    "POST /api/v2/preprocessing/crop": {"input_path": "{dataset_id}", "output_path": "new", "x": 0, "width": 9},
    "POST /api/v2/inference/start": {"cfg_path": "{voice}", "weight_path": "", "source_path": "a"},
    "POST /api/v2/inference/batch": {"cfg_path": "{voice}", "weight_path": "", "source_paths": ["a"]},
    "POST /v1/audio/speech": {"model": "tts-1", "input": "a", "voice": "{voice}"},
    "POST /v1/audio/voice_consents/{consent_id}": {"name": "new"},
    "POST /synthesize": {"target": "a", "voice": "{voice}"},
    "POST /tts": {"text": "a", "text_lang": "en", "ref_audio_path": "{voice}", "prompt_lang": "en"},
    "POST /tts_to_audio/": {"text": "a", "language": "en", "speaker_wav": "{voice}"},
    "POST /tts_to_audio": {"text": "a", "language": "en", "speaker_wav": "{voice}"},
    "POST /change_refer": {"refer_wav_path": "{voice}"},
    "POST /set_model": {"gpt_model_path": "{model_id}"},
    "POST /": {"text": "a", "speaker": "{voice}"},
}
"""Bodies that name what is Alice's; routes that take none of hers are left out."""


@dataclass(frozen=True)
class Keys:
    """The key of each caller."""

    owner: str
    other: str
    admin: str


async def create_keys(records: Records) -> Keys:
    """Create keys of two users and of an admin."""
    created = [await records.api_keys.create(name, scopes=USER_SCOPES) for name in ("alice", "bob")]
    _, admin = await records.api_keys.create("root", scopes=ALL_SCOPES)
    return Keys(created[0][1], created[1][1], admin)


def headers(key: str) -> dict[str, str]:
    """Return the headers of a request with a key; none without one."""
    return {"X-API-Key": key} if key else {}


def route_name(route: DeclaredRoute, method: str) -> str:
    """Return a route as the tables here name it."""
    return f"{method} {route.path}"


class World:
    """The things of Alice, and requests that name them."""

    def __init__(self, api: Api, ids: dict[str, str]) -> None:
        self.api = api
        self.ids = ids

    def path(self, route: DeclaredRoute) -> str:
        """Return the path of a route with Alice's ids in it."""
        path = route.path.replace("task-steps-{rest}", "{step_task_id}").replace("exp-{rest}", "{step_task_id}")
        for prefix, names in PARAMETERS_BY_PREFIX.items():
            if path.startswith(prefix):
                for parameter, name in names.items():
                    path = path.replace(f"{{{parameter}}}", f"{{{name}}}")
        return self._fill(path)

    def body(self, route: DeclaredRoute, method: str) -> object:
        """Return the body of a request; None without one."""
        body = BODIES.get(route_name(route, method))
        return None if body is None else self._fill_body(body)

    async def status(self, route: DeclaredRoute, method: str, key: str) -> tuple[int, str]:
        """Send a request and return its status and its body; of a stream only the status."""
        content = self.body(route, method)
        request = self.api.client.build_request(method, self.path(route), headers=headers(key), json=content)
        response = await self.api.client.send(request, stream=True)
        try:
            if "event-stream" in response.headers.get("content-type", ""):
                return response.status_code, ""
            return response.status_code, (await response.aread()).decode(errors="replace")
        finally:
            await response.aclose()

    def _fill(self, text: str) -> str:
        return re.sub(r"{([a-z_]+)}", lambda match: {**CONSTANTS, **self.ids}[match[1]], text)

    def _fill_body(self, body: object) -> object:
        if isinstance(body, dict):
            return {name: self._fill_body(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self._fill_body(value) for value in body]
        return self._fill(body) if isinstance(body, str) else body


async def create_world(api: Api) -> dict[str, str]:
    """Create something of every kind that belongs to Alice; return the ids by the names of path parameters."""
    services, records = api.services, api.services.records
    with act_as(ALICE):
        file = await records.files.create(
            NewFileRecord(id=_unique("file"), filename="alice.wav", purpose="training", size_bytes=9, sha256="0" * 64)
        )
        await asyncio.to_thread(services.storage.put_bytes, file.storage_key, tone(2.0))
        voice = await make_voice(records, _unique("alice-voice"))
        await asyncio.to_thread(services.storage.put_bytes, "voices/x/prompt.wav", tone(2.0))
        proposal = proposal_key("proposals-alice", voice.id, 0)
        await asyncio.to_thread(services.storage.put_bytes, proposal, tone(4.0))
        step_task = await services.experiments.create_without_source(ExperimentRequest(exp_name="alice-steps"))
        task = await services.experiments.tasks.create(TaskRequest("alice-task", audio_file_id=file.id, version="nano"))
        experiment = await services.experiments.create(
            ExperimentRequest(exp_name="alice-exp", audio_file_id=file.id, version="nano")
        )
        dataset = await records.datasets.create(_unique("ds"), "alice-set", "en", "import", {}, 5)
        version = await records.dataset_versions.get(dataset.id, 1)
        await services.queue.enqueue(NewJob(FILES, {}, job_id=version.job_id))
        webhook = await services.webhooks.register("https://8.8.8.8/alice", ["task.cancelled"], "", "alice")
        ended = await services.experiments.tasks.create(TaskRequest("alice-end", audio_file_id=file.id, version="nano"))
        await services.experiments.tasks.cancel(ended.id)
        speech = SpeechRequest(text="Alice says.", voice_id=voice.id)
        inference = await services.inference.create(speech)
        batch = await services.batches.create([BatchItem(speech=speech, format="wav", filename="a.wav")])
        cue = DubbedCue(start=0, end=1, text="Alice says.", voice=0)
        plan = DubbingPlan(cues=(cue,), voices=(speech,), min_speed=1, max_speed=2, format="wav", seconds=1)
        dubbing = await services.dubbings.create(plan)
        job = await services.queue.enqueue(NewJob(SPLITTER, {"text": "alice-text"}, job_id=_unique("alice-job")))
        dead = await services.queue.enqueue(NewJob(SPLITTER, {"text": "alice-text"}, priority=10))
        consent = await records.consents.create(
            NewConsentRecord(
                speaker="alice",
                statement="I agree.",
                source=ConsentSource.RECORDING,
                recording_key=storage_keys.consent_file("alice"),
            )
        )
        await asyncio.to_thread(services.storage.put_bytes, consent.recording_key, tone(2.0))
        request_id = _unique("alice-speech")
        await records.provenance.add([_speech(request_id, voice.id)])
    await asyncio.to_thread(_fail_next, api.settings)
    deliveries = await records.deliveries.page()
    key, _ = await records.api_keys.create(_unique("spare"))
    return {
        "file_id": file.id,
        "voice": voice.id,
        "model_id": voice.gpt_checkpoint_id,
        "task_id": task.id,
        "training_id": task.id,
        "step_task_id": step_task.id,
        "exp_id": experiment.id,
        "dataset_id": dataset.id,
        "dataset_job_id": version.job_id,
        "webhook_id": webhook.id,
        "delivery_id": deliveries.items[0].id if deliveries.items else "",
        "inference_id": inference.job.id,
        "batch_id": batch.job.id,
        "dubbing_id": dubbing.job.id,
        "job_id": job.id,
        "dead_job_id": dead.id,
        "key_id": key.id,
        "consent_id": consent.id,
        "request_id": request_id,
    }


def _speech(request_id: str, voice_id: str) -> NewProvenance:
    return NewProvenance(
        request_id=request_id,
        mark_id=1,
        voice_id=voice_id,
        gpt_checkpoint_id="",
        sovits_checkpoint_id="",
        time=1.0,
        seconds=1.0,
        text="Alice says.",
        owner="alice",
        key_id="key-alice",
    )


def _unique(prefix: str) -> str:
    return f"{prefix}-{next(_numbers)}"


def _fail_next(settings: Settings) -> None:
    """Fail the job of the highest priority for good."""
    with connect(settings.redis_url) as redis:
        queue = Queue(redis, QueueOptions.from_settings(settings))
        lease = queue.claim(SPLITTER, "splitter-test-1-failing")
        assert lease is not None
        queue.fail(lease, {"code": "internal_error", "message": "No luck.", "hint": ""}, permanent=True)
