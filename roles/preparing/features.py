"""From transcribed segments to the training-set folder (specification s1-gpt §12): text, content, speaker, tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import NoSpeech
from roles.preparing.official import base, is_official, models_folder, part
from roles.preparing.segments import segment_files
from roles.stage_role import StageRun

if TYPE_CHECKING:
    import numpy as np

    from GPT_SoVITS.features.bert import Roberta
    from GPT_SoVITS.text import Phonemes

logger = logging.getLogger(__name__)

BASE = "base.safetensors"
"""The SoVITS model that a nano training starts from, in the experiment's folder."""
SEED = 1234


def text_feature(run: StageRun) -> dict[str, Any]:
    """Phonemes of every transcript and, of those in Mandarin, features; a line that cannot be read is left out."""
    from GPT_SoVITS.dataset.folder import BERT, NameToText, read_annotations, write_name2text
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text import Frontend

    lines = read_annotations(run.folder / "transcripts.list")
    official = is_official(run.experiment)
    frontend = Frontend.with_models(models_folder(run.services)) if official else Frontend()
    version = run.experiment.version if official else "v2"
    entries, left_out = [], []
    with run.fresh_folder(BERT) as features:
        keep = _bert_writer(run, features)
        for done, line in enumerate(lines, start=1):
            try:
                # What synthesis puts before very short texts, no recording says.
                spoken = frontend.process(line.text, line.language, version, retry=not official)
            except ModelError as error:
                if error.code == "missing_part":
                    raise
                left_out.append({"segment": line.path, "reason": error.message})
            else:
                entries.append(NameToText(line.path, spoken.phones, spoken.word2ph, spoken.norm_text))
                keep(line.path, spoken)
            run.progress(done / len(lines), f"Read {done} of {len(lines)} transcripts.")
    if not entries:
        raise NoSpeech("No transcript can be read aloud in the language of the task.", hint=left_out[0]["reason"])
    write_name2text(run.folder, entries)
    return {"transcripts": len(entries), "left_out": left_out}


def hubert_feature(run: StageRun) -> dict[str, Any]:
    """Content features of every segment, and the sound that the training hears."""
    return _hubert_feature(run) if is_official(run.experiment) else _content_feature(run)


def speaker_vector(run: StageRun) -> dict[str, Any]:
    """A vector of the speaker's voice for every segment (v2Pro and v2ProPlus)."""
    import torch

    from GPT_SoVITS.dataset.folder import SPEAKER, write_tensor
    from GPT_SoVITS.dataset.prepare import TRAINING_RATE, training_sound
    from GPT_SoVITS.features.mel import resample
    from GPT_SoVITS.features.speaker_vector import SAMPLE_RATE, ERes2NetV2

    torch.set_num_threads(run.services.threads)
    network = ERes2NetV2.load(part(run, "speaker_vector"), device=run.services.device)
    with run.fresh_folder(SPEAKER) as vectors:

        def hear(name: str, samples: np.ndarray) -> None:
            heard = torch.from_numpy(training_sound(samples)).float() / 32768  # what `5-wav32k` holds
            write_tensor(vectors, name, network.vector_of(resample(heard, TRAINING_RATE, SAMPLE_RATE)))

        return _each_segment(run, hear, "Heard the speaker in")


def semantic_token(run: StageRun) -> dict[str, Any]:
    """Turn content features into semantic tokens with the codebook of the model that will be trained."""
    return _official_tokens(run) if is_official(run.experiment) else _own_tokens(run)


def _hubert_feature(run: StageRun) -> dict[str, Any]:
    import torch

    from GPT_SoVITS.audio import write_wav
    from GPT_SoVITS.dataset.folder import CONTENT, SOUND, write_tensor
    from GPT_SoVITS.dataset.prepare import TRAINING_RATE, content_sound, training_sound
    from GPT_SoVITS.features.hubert import Hubert

    torch.set_num_threads(run.services.threads)
    hubert = Hubert.load(part(run, "hubert"), device=run.services.device, half=_half(run))
    with run.fresh_folder(SOUND) as sounds, run.fresh_folder(CONTENT) as features:

        def encode(name: str, samples: np.ndarray) -> None:
            sound, content = training_sound(samples), hubert.features_of(content_sound(samples))
            write_wav(sounds / name, sound, TRAINING_RATE)
            write_tensor(features, name, content.half() if hubert.half else content)

        return _each_segment(run, encode, "Encoded")


def _content_feature(run: StageRun) -> dict[str, Any]:
    """nano's: the encoder of the bundled Whisper, and the sound at the recipe's rate."""
    from GPT_SoVITS.audio import read_mono, resample, write_wav
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.dataset.folder import write_features
    from GPT_SoVITS.features.content import ContentEncoder
    from GPT_SoVITS.whisper import model_folder

    rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
    encoder = ContentEncoder(model_folder(models_folder(run.services)), threads=run.services.threads)
    segments = segment_files(run)
    with run.fresh_folder("5-wav32k") as sounds, run.fresh_folder("4-cnhubert") as features:
        for done, segment in enumerate(segments, start=1):
            samples, found_rate = read_mono(segment)
            write_wav(sounds / segment.name, resample(samples, found_rate, rate), rate)
            write_features(features, segment.name, encoder.encode(resample(samples, found_rate, 16_000)))
            run.progress(done / len(segments), f"Encoded {done} of {len(segments)} segments.")
    return {"segments": len(segments)}


def _official_tokens(run: StageRun) -> dict[str, Any]:
    from GPT_SoVITS.dataset.folder import CONTENT, read_tensor, write_semantic
    from GPT_SoVITS.features.tokens import SemanticTokens

    chosen = run.experiment.parameters.get("sovits_train", {})
    codebook = SemanticTokens.load(base(run, "sovits", chosen))
    paths = sorted((run.folder / CONTENT).glob("*.pt"))
    tokens = {}
    for done, path in enumerate(paths, start=1):
        tokens[path.name.removesuffix(".pt")] = codebook.extract(read_tensor(path))
        run.progress(done / len(paths), f"Found the tokens of {done} of {len(paths)} segments.")
    write_semantic(run.folder, tokens)
    # No prompt tokens: a prompt is spoken after, so it is encoded with the silence that belongs at its end.
    return {
        "tokens": sum(map(len, tokens.values())),
        "segments": len(tokens),
        "pretrained_s2G": chosen.get("pretrained_s2G", ""),
        "codebook": codebook.fingerprint,
    }


def _own_tokens(run: StageRun) -> dict[str, Any]:
    """nano's: the codebook is made of this experiment's own features."""
    from GPT_SoVITS.checkpoint import save_checkpoint
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.dataset.folder import read_features, write_semantic
    from GPT_SoVITS.sovits.initialise import initial_generator

    config = load_config(run.experiment.version)
    features = read_features(run.folder)
    run.progress(0.1, "Finding the codebook.")
    model = initial_generator(config, [one for _, one in features], seed=SEED)
    save_checkpoint(
        run.folder / BASE,
        kind="sovits",
        version=run.experiment.version,
        config=config,
        state=model.state_dict(),
        info={"epoch": 0, "step": 0},
        half=False,
    )
    tokens = {name: model.extract_codes(one)[0, 0].tolist() for name, one in features}
    write_semantic(run.folder, tokens)
    run.progress(1.0, f"Wrote {sum(map(len, tokens.values()))} tokens.")
    prompt = Path(run.outputs["asr"]["prompt"]["audio"]).name
    return {"tokens": sum(map(len, tokens.values())), "segments": len(tokens), "prompt_tokens": tokens[prompt]}


def _bert_writer(run: StageRun, folder: Path) -> Callable[[str, Phonemes], None]:
    """Writes the features of a text that holds Mandarin; RoBERTa is loaded for the first such text, and for no other.

    Raises ModelError "missing_part" then: official weights learnt Mandarin with these features.
    """
    loaded: list[Roberta] = []

    def keep(name: str, spoken: Phonemes) -> None:
        if not is_official(run.experiment) or not any(piece.language == "zh" for piece in spoken.pieces):
            return
        from GPT_SoVITS.dataset.folder import write_tensor
        from GPT_SoVITS.features.bert import Roberta

        if not loaded:
            loaded.append(Roberta.load(part(run, "roberta"), device=run.services.device, half=_half(run)))
        features = loaded[0].features_of(spoken.pieces)
        write_tensor(folder, name, features.half() if loaded[0].half else features)

    return keep


def _each_segment(run: StageRun, work: Callable[[str, np.ndarray], None], verb: str) -> dict[str, Any]:
    """Give every segment at 32 kHz to `work`; what that refuses to learn from is left out, with the reason."""
    from GPT_SoVITS.audio import read_mono, resample
    from GPT_SoVITS.dataset.prepare import TRAINING_RATE
    from GPT_SoVITS.errors import ModelError

    segments = segment_files(run)
    left_out: list[dict[str, str]] = []
    for done, segment in enumerate(segments, start=1):
        samples, rate = read_mono(segment)
        try:
            work(segment.name, resample(samples, rate, TRAINING_RATE))
        except ModelError as error:
            left_out.append({"segment": segment.name, "reason": error.message})
        run.progress(done / len(segments), f"{verb} {done} of {len(segments)} segments.")
    if len(left_out) == len(segments):
        raise NoSpeech("No segment can be learnt from.", hint=left_out[0]["reason"] if left_out else "")
    return {"segments": len(segments) - len(left_out), "left_out": left_out}


def _half(run: StageRun) -> bool | None:
    """Half precision where the device has a fast one, unless the experiment forbids it."""
    return None if run.experiment.is_half else False
