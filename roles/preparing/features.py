"""From transcribed segments to the training-set folder (specification s1-gpt §12): text, content, speaker, tokens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from core.errors import MissingPart, NoSpeech
from roles.preparing.segments import segment_files
from roles.stage_role import StageRun

logger = logging.getLogger(__name__)

BASE = "base.safetensors"
"""The SoVITS model that a training of this experiment starts from, in the experiment's folder."""
SEED = 1234


def text_feature(run: StageRun) -> dict[str, Any]:
    """Phonemes of every transcript; a line that cannot be read is left out and named."""
    from GPT_SoVITS.dataset.folder import NameToText, read_annotations, write_name2text
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text import process

    lines = read_annotations(run.folder / "transcripts.list")
    entries, left_out = [], []
    for done, line in enumerate(lines, start=1):
        try:
            spoken = process(line.text, line.language)
        except ModelError as error:
            left_out.append({"segment": line.path, "reason": error.message})
        else:
            entries.append(NameToText(line.path, spoken.phones, spoken.word2ph, spoken.norm_text))
        run.progress(done / len(lines), f"Read {done} of {len(lines)} transcripts.")
    if not entries:
        raise NoSpeech("No transcript can be read aloud in the language of the task.", hint=left_out[0]["reason"])
    write_name2text(run.folder, entries)
    return {"transcripts": len(entries), "left_out": left_out}


def hubert_feature(run: StageRun) -> dict[str, Any]:
    """Content features of every segment, and the sound that the training hears."""
    from GPT_SoVITS.audio import read_mono, resample, write_wav
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.dataset.folder import write_features
    from GPT_SoVITS.features.content import ContentEncoder
    from GPT_SoVITS.whisper import model_folder

    if run.experiment.version != "nano":
        raise MissingPart(
            f"Version {run.experiment.version} needs its official weights and HuBERT, which are not installed.",
            hint='Train with "version": "nano".',
        )
    rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
    encoder = ContentEncoder(model_folder(run.services.settings.data_path / "models"), threads=run.services.threads)
    segments = segment_files(run)
    with run.fresh_folder("5-wav32k") as sounds, run.fresh_folder("4-cnhubert") as features:
        for done, segment in enumerate(segments, start=1):
            samples, found_rate = read_mono(segment)
            write_wav(sounds / segment.name, resample(samples, found_rate, rate), rate)
            write_features(features, segment.name, encoder.encode(resample(samples, found_rate, 16_000)))
            run.progress(done / len(segments), f"Encoded {done} of {len(segments)} segments.")
    return {"segments": len(segments)}


def speaker_vector(run: StageRun) -> dict[str, Any]:
    """Speaker vectors belong to v2Pro and v2ProPlus, whose weights come with the whole family."""
    raise MissingPart(
        "Speaker vectors need ERes2NetV2's weights, which are not installed.",
        hint='Train with "version": "nano".',
    )


def semantic_token(run: StageRun) -> dict[str, Any]:
    """Turn content features into semantic tokens with the codebook of the model that will be trained."""
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
