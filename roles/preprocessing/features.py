"""From transcribed segments to the training-set folder (specification s1-gpt §12): text, content, speaker, tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from common.progress_messages import progress_message
from core.errors import NoSpeech
from core.stages.outputs import LeftOutSegment, SegmentOutputs, SemanticTokenOutputs, TextFeatureOutputs
from roles.preprocessing.file_operations import EncodeContent, EncodeHubert, EncodeSpeaker, FileOperation
from roles.preprocessing.model_files import base_model, is_half, is_official, models_folder, official_part
from roles.preprocessing.process_pool import process_files
from roles.preprocessing.segments import segment_files
from roles.runtime.model_cache import file_version
from roles.stages.stage_run import StageRun

if TYPE_CHECKING:
    from torch import Tensor

    from GPT_SoVITS.features.bert import Roberta

logger = logging.getLogger(__name__)


def text_feature(run: StageRun) -> TextFeatureOutputs:
    """Write the phonemes of every transcript and, for those with Mandarin, RoBERTa's features.

    A transcript that cannot be pronounced is left out. Raises NoSpeech when all are, and ModelError "missing_part" when
    an official version needs RoBERTa for a transcript and it is not there.
    """
    from GPT_SoVITS.dataset.folder import BERT, NameToText, read_annotations, write_name2text, write_tensor
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text import TextFrontend

    lines = read_annotations(run.folder / "transcripts.list")
    official = is_official(run.experiment)
    models = models_folder(run.services)
    frontend = run.models.get(
        ("front end", official), lambda: TextFrontend.with_models(models) if official else TextFrontend()
    )
    version = run.experiment.version if official else "v2"
    entries: list[NameToText] = []
    left_out: list[LeftOutSegment] = []
    with run.new_folder(BERT) as folder:
        for done, line in enumerate(lines, start=1):
            try:
                # No recording says what synthesis puts before very short texts.
                phonemized = frontend.phonemize(line.text, line.language, version, retry=not official)
            except ModelError as error:
                if error.code == "missing_part":
                    raise
                left_out.append({"segment": line.path, "reason": error.message})
            else:
                entries.append(NameToText(line.path, phonemized.phonemes, phonemized.word2ph, phonemized.norm_text))
                # Official weights learned Mandarin with these features; no other text loads RoBERTa.
                if official and any(segment.language == "zh" for segment in phonemized.segments):
                    roberta = _load_roberta(run)
                    features = roberta.features_of(phonemized.segments)
                    write_tensor(folder, line.path, features.half() if roberta.half else features)
            run.progress(done / len(lines), progress_message("transcripts_read", done=done, count=len(lines)))
        if not entries:
            raise NoSpeech("No transcript can be read aloud in the language of the task.", hint=_first_reason(left_out))
    write_name2text(run.folder, entries)
    return {"transcripts": len(entries), "left_out": left_out}


def hubert_feature(run: StageRun) -> SegmentOutputs:
    """Write the content features of every segment, and the audio that is trained on."""
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.dataset.folder import AUDIO, CONTENT
    from GPT_SoVITS.features.whisper_model import model_folder

    with run.new_folder(AUDIO) as audio, run.new_folder(CONTENT) as features:
        operation: FileOperation
        if is_official(run.experiment):
            model = official_part(run, "hubert")
            operation = EncodeHubert(str(model), half=is_half(run), audio=str(audio), features=str(features))
        else:
            rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
            model = model_folder(models_folder(run.services))
            operation = EncodeContent(str(model), rate=rate, audio=str(audio), features=str(features))
        return _encode_segments(run, operation, "Encoded")


def speaker_vector(run: StageRun) -> SegmentOutputs:
    """Write a vector of the speaker's voice for every segment (v2Pro and v2ProPlus)."""
    from GPT_SoVITS.dataset.folder import SPEAKER

    with run.new_folder(SPEAKER) as vectors:
        operation = EncodeSpeaker(str(official_part(run, "speaker_vector")), str(vectors))
        return _encode_segments(run, operation, "Heard the speaker in")


def semantic_token(run: StageRun) -> SemanticTokenOutputs:
    """Turn content features into semantic tokens with the codebook of the model that will be trained."""
    from GPT_SoVITS.dataset.folder import write_semantic
    from GPT_SoVITS.sovits.tokens import SemanticTokens

    parameters = run.experiment.parameters.get("sovits_train", {})
    codebook = SemanticTokens.load(base_model(run, "sovits", parameters))
    features = list(_content_features(run))
    tokens = {}
    for done, (name, content) in enumerate(features, start=1):
        tokens[name] = codebook.extract(content)
        run.progress(done / len(features), progress_message("tokens_extracted", done=done, count=len(features)))
    write_semantic(run.folder, tokens)
    outputs: SemanticTokenOutputs = {
        "tokens": sum(map(len, tokens.values())),
        "segments": len(tokens),
        "pretrained_s2G": parameters.get("pretrained_s2G", ""),
        "codebook": codebook.fingerprint,
    }
    # nano's prompt is one of the segments as it is; official versions encode it with the silence that belongs at its
    # end, because it is spoken after. The stage asr may still be running.
    transcribed = run.outputs.get("asr")
    if transcribed is not None and not is_official(run.experiment):
        outputs["prompt_tokens"] = tokens[Path(transcribed["prompt"]["audio"]).name]
    return outputs


def _content_features(run: StageRun) -> Iterable[tuple[str, Tensor]]:
    """Return (segment, (1, D, T)) in the order of the segments' names."""
    from GPT_SoVITS.dataset.folder import CONTENT, read_features, read_tensor

    if not is_official(run.experiment):
        return read_features(run.folder)
    paths = sorted((run.folder / CONTENT).glob("*.pt"))
    return ((path.name.removesuffix(".pt"), read_tensor(path)) for path in paths)


def _load_roberta(run: StageRun) -> Roberta:
    from GPT_SoVITS.features.bert import Roberta

    weights, device, half = official_part(run, "roberta"), run.services.device, is_half(run)
    return run.models.get(
        ("roberta", *file_version(weights), half), lambda: Roberta.load(weights, device=device, half=half)
    )


def _encode_segments(run: StageRun, operation: FileOperation, verb: str) -> SegmentOutputs:
    """Run the operation on every segment; raise NoSpeech when all of them are left out."""
    segments = segment_files(run)
    results = process_files(run, operation, segments, verb=verb)
    left_out: list[LeftOutSegment] = [
        {"segment": segment.name, "reason": result["left_out"]}
        for segment, result in zip(segments, results, strict=True)
        if "left_out" in result
    ]
    if len(left_out) == len(segments):
        raise NoSpeech("No segment can be learnt from.", hint=_first_reason(left_out))
    return {"segments": len(segments) - len(left_out), "left_out": left_out}


def _first_reason(left_out: list[LeftOutSegment]) -> str:
    return left_out[0]["reason"] if left_out else ""
