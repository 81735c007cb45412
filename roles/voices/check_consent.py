"""The jobs that listen to a spoken consent, and compare it with the voice that it is for."""

from __future__ import annotations

from pathlib import Path

from core.errors import InvalidRequest, NoSpeech
from core.voices.consent_jobs import (
    MAX_ERROR_RATE,
    MIN_SIMILARITY,
    NEGATIONS,
    OTHER_SERVICES,
    ConsentCheck,
    ConsentCheckRequest,
    SpeakerComparison,
    SpeakerComparisonRequest,
    phrase_to_say,
)
from roles.preprocessing.model_files import bundled_recognizer, speaker_encoder
from roles.runtime.file_job import FileJobRun
from roles.stages.stage_run import StageRun


def check_consent(request: ConsentCheckRequest, run: FileJobRun) -> ConsentCheck:
    """Return what is said in a recording; raise InvalidRequest when it is not the phrase of a consent."""
    from GPT_SoVITS.dataset.word_errors import error_rate

    language, hint = request.language, f"Say: {phrase_to_say(request.language, request.service)}"
    transcript = bundled_recognizer(run).transcribe(run.services.storage.path(request.recording), language).text
    if not transcript:
        raise NoSpeech("Nobody speaks in the recording of the consent.", hint=hint)
    phrases = [phrase_to_say(language, service) for service in (request.service, *OTHER_SERVICES)]
    rate = min(error_rate(phrase, transcript, language) for phrase in phrases)
    if rate > MAX_ERROR_RATE or is_negated(transcript, language):
        raise InvalidRequest(
            f"The recording says “{transcript[:200]}”, which is not the phrase of a consent.",
            hint=hint,
            details={"param": "recording", "error_rate": round(rate, 3)},
        )
    return {"transcript": transcript, "error_rate": round(rate, 3)}


def is_negated(transcript: str, language: str) -> bool:
    """Return whether a sentence says the opposite of a consent, which is only a word more."""
    from GPT_SoVITS.dataset.word_errors import BY_CHARACTERS, words

    if language in BY_CHARACTERS:
        return any(negation in transcript for negation in NEGATIONS[language])
    return not NEGATIONS[language].isdisjoint(words(transcript, language))


def compare_speaker(request: SpeakerComparisonRequest, run: FileJobRun) -> SpeakerComparison:
    """Return how much a recording has the voice of a consent, and its words; InvalidRequest for another voice."""
    storage = run.services.storage
    recording = storage.path(request.recording)
    text = language = ""
    if request.transcribe:
        transcription = bundled_recognizer(run).transcribe(recording)
        text, language = transcription.text, transcription.language
        if not text:
            raise NoSpeech("Nobody speaks in the sample of the voice.", hint="Send 3 to 10 s of clear speech.")
    similarity = check_speaker(run, recording, storage.path(request.consent))
    return {"similarity": similarity, "text": text, "language": language}


def check_speaker(run: FileJobRun | StageRun, recording: Path, consent: Path) -> float:
    """Return the similarity of the voices of two recordings; raise InvalidRequest when they are two speakers'."""
    from GPT_SoVITS.audio import read_resampled
    from GPT_SoVITS.features.resemblyzer import SAMPLE_RATE, similarity

    encoder = speaker_encoder(run)
    likeness = similarity(*(encoder.embed(read_resampled(path, SAMPLE_RATE)) for path in (recording, consent)))
    if likeness < MIN_SIMILARITY:
        raise InvalidRequest(
            f"The voice is not that of the consent: their similarity is {likeness:.2f}, and {MIN_SIMILARITY:g} is "
            "needed.",
            hint="The speaker of the voice gives the consent; both recordings must be clear.",
            details={"param": "audio_sample", "similarity": round(likeness, 3)},
        )
    return round(likeness, 3)
