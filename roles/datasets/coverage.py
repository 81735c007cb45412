"""The job that finds the phonemes which the transcripts of a data set lack."""

from __future__ import annotations

from core.datasets.jobs import PhonemeCoverage, PhonemeCoveragePayload
from GPT_SoVITS.errors import ModelError
from roles.runtime.file_job import FileJobRun


def measure_coverage(request: PhonemeCoveragePayload, run: FileJobRun) -> PhonemeCoverage:
    """Return the phonemes of the language that no transcript of the version has, and sentences to record next."""
    from GPT_SoVITS.dataset.phoneme_coverage import find_coverage, recording_sentences
    from GPT_SoVITS.text import phonemize

    contents = run.services.call(run.services.records.dataset_versions.contents, request.dataset_id, request.version)
    texts = [segment.transcript for segment in contents.segments if segment.transcript]

    def phonemes(text: str) -> list[str]:
        run.context.check()
        try:
            return phonemize(text, request.language, retry=False).phonemes
        except ModelError:
            return []  # a transcript in another language

    coverage = find_coverage(texts, recording_sentences(request.language), phonemes)
    return {
        "dataset_id": request.dataset_id,
        "version": request.version,
        "language": request.language,
        "phonemes": coverage.phonemes,
        "missing": coverage.missing,
        "sentences": [{"text": sentence.text, "phonemes": sentence.phonemes} for sentence in coverage.sentences],
    }
