"""From transcribed segments to the training-set folder (specification s1-gpt §12): text, content, speaker, tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import NoSpeech
from roles.preprocessing.official import base, is_half, is_official, models_folder, part
from roles.preprocessing.process_pool import do_all
from roles.preprocessing.segments import segment_files
from roles.runtime.model_cache import file_version
from roles.stages.stage_role import StageRun

if TYPE_CHECKING:
    from torch import Tensor

    from GPT_SoVITS.text import PhonemizedText

logger = logging.getLogger(__name__)


def text_feature(run: StageRun) -> dict[str, Any]:
    """Phonemes of every transcript and, of those in Mandarin, features; a line that cannot be read is left out."""
    from GPT_SoVITS.dataset.folder import BERT, NameToText, read_annotations, write_name2text
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text import TextFrontend

    lines = read_annotations(run.folder / "transcripts.list")
    official = is_official(run.experiment)
    models = models_folder(run.services)
    frontend = run.models.get(
        ("front end", official), lambda: TextFrontend.with_models(models) if official else TextFrontend()
    )
    version = run.experiment.version if official else "v2"
    entries, left_out = [], []
    with run.fresh_folder(BERT) as features:
        keep = _bert_writer(run, features)
        for done, line in enumerate(lines, start=1):
            try:
                # What synthesis puts before very short texts, no recording says.
                spoken = frontend.phonemize(line.text, line.language, version, retry=not official)
            except ModelError as error:
                if error.code == "missing_part":
                    raise
                left_out.append({"segment": line.path, "reason": error.message})
            else:
                entries.append(NameToText(line.path, spoken.phonemes, spoken.word2ph, spoken.norm_text))
                keep(line.path, spoken)
            run.progress(done / len(lines), f"Read {done} of {len(lines)} transcripts.")
        if not entries:
            raise NoSpeech("No transcript can be read aloud in the language of the task.", hint=_first(left_out))
    write_name2text(run.folder, entries)
    return {"transcripts": len(entries), "left_out": left_out}


def hubert_feature(run: StageRun) -> dict[str, Any]:
    """Content features of every segment, and the sound that the training hears."""
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.dataset.folder import AUDIO, CONTENT
    from GPT_SoVITS.features.whisper_model import model_folder

    options: dict[str, Any]
    if is_official(run.experiment):
        work, options = "hubert", {"model": str(part(run, "hubert")), "half": is_half(run)}
    else:
        rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
        work, options = "content", {"model": str(model_folder(models_folder(run.services))), "rate": rate}
    with run.fresh_folder(AUDIO) as sounds, run.fresh_folder(CONTENT) as features:
        return _of_segments(run, work, {**options, "sounds": str(sounds), "features": str(features)}, "Encoded")


def speaker_vector(run: StageRun) -> dict[str, Any]:
    """A vector of the speaker's voice for every segment (v2Pro and v2ProPlus)."""
    from GPT_SoVITS.dataset.folder import SPEAKER

    with run.fresh_folder(SPEAKER) as vectors:
        options = {"model": str(part(run, "speaker_vector")), "vectors": str(vectors)}
        return _of_segments(run, "speaker", options, "Heard the speaker in")


def semantic_token(run: StageRun) -> dict[str, Any]:
    """Turn content features into semantic tokens with the codebook of the model that will be trained."""
    from GPT_SoVITS.dataset.folder import write_semantic
    from GPT_SoVITS.sovits.tokens import SemanticTokens

    chosen = run.experiment.parameters.get("sovits_train", {})
    codebook = SemanticTokens.load(base(run, "sovits", chosen))
    features = list(_content_features(run))
    tokens = {}
    for done, (name, content) in enumerate(features, start=1):
        tokens[name] = codebook.extract(content)
        run.progress(done / len(features), f"Found the tokens of {done} of {len(features)} segments.")
    write_semantic(run.folder, tokens)
    return {
        "tokens": sum(map(len, tokens.values())),
        "segments": len(tokens),
        "pretrained_s2G": chosen.get("pretrained_s2G", ""),
        "codebook": codebook.fingerprint,
    } | _prompt_tokens(run, tokens)


def _content_features(run: StageRun) -> Iterable[tuple[str, Tensor]]:
    """(segment, (1, D, T)) in the order of their names."""
    from GPT_SoVITS.dataset.folder import CONTENT, read_features, read_tensor

    if not is_official(run.experiment):
        return read_features(run.folder)
    paths = sorted((run.folder / CONTENT).glob("*.pt"))
    return ((path.name.removesuffix(".pt"), read_tensor(path)) for path in paths)


def _prompt_tokens(run: StageRun, tokens: dict[str, list[int]]) -> dict[str, Any]:
    """nano's prompt is one of the segments as it is; official versions encode it with the silence that belongs at its
    end, because it is spoken after."""
    if is_official(run.experiment) or "asr" not in run.outputs:  # it may still be under way
        return {}
    return {"prompt_tokens": tokens[Path(run.outputs["asr"]["prompt"]["audio"]).name]}


def _bert_writer(run: StageRun, folder: Path) -> Callable[[str, PhonemizedText], None]:
    """Writes the features of a text that holds Mandarin; RoBERTa is loaded for the first such text, and for no other.

    Raises ModelError "missing_part" then: official weights learnt Mandarin with these features.
    """

    def keep(name: str, spoken: PhonemizedText) -> None:
        if not is_official(run.experiment) or not any(piece.language == "zh" for piece in spoken.segments):
            return
        from GPT_SoVITS.dataset.folder import write_tensor
        from GPT_SoVITS.features.bert import Roberta

        weights, device, half = part(run, "roberta"), run.services.device, is_half(run)
        roberta = run.models.get(
            ("roberta", *file_version(weights), half), lambda: Roberta.load(weights, device=device, half=half)
        )
        features = roberta.features_of(spoken.segments)
        write_tensor(folder, name, features.half() if roberta.half else features)

    return keep


def _of_segments(run: StageRun, work: str, options: dict[str, Any], verb: str) -> dict[str, Any]:
    """Do the work on every segment; what cannot be learnt from is left out, with the reason."""
    segments = segment_files(run)
    answers = do_all(run, work, segments, options, verb=verb)
    left_out = [
        {"segment": segment.name, "reason": answer["left_out"]}
        for segment, answer in zip(segments, answers, strict=True)
        if "left_out" in answer
    ]
    if len(left_out) == len(segments):
        raise NoSpeech("No segment can be learnt from.", hint=_first(left_out))
    return {"segments": len(segments) - len(left_out), "left_out": left_out}


def _first(left_out: list[dict[str, str]]) -> str:
    return left_out[0]["reason"] if left_out else ""
