"""The steps of scripts/train-base, each of which goes on where it was stopped."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.train_base.run_state import pause, resume, running

if TYPE_CHECKING:
    from torch import Tensor

    from scripts.train_base.clips import Clip

REPOSITORY = Path(__file__).resolve().parents[2]
ALLISON = REPOSITORY / "prompts" / "allison"
FOLDERS = ("synthetic", "real", "teacher-speech")
"""Whose clips are trained on."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/train-base", description=__doc__)
    parser.add_argument("step", choices=sorted(STEPS | CONTROLS))
    folder = Path(os.environ.get("TRAIN_BASE_DIR") or REPOSITORY / "data" / "base")
    parser.add_argument("--work", type=Path, default=folder, help="where everything is kept (TRAIN_BASE_DIR)")
    parser.add_argument("--hours", type=float, default=6.0, help="data, teacher: of synthetic speech")
    parser.add_argument("--steps", type=int, default=0, help="updates in all; measure: sentences of a speaker")
    parser.add_argument("--epochs", type=int, default=20, help="language: passes over all clips")
    parser.add_argument("--minutes", type=float, default=60.0, help="acoustic: after which it saves and stops")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--half", action="store_true", help="acoustic: networks in bfloat16, where that is fast")
    parser.add_argument("--adversarial-from", type=int, help="acoustic: update from which a discriminator takes part")
    parser.add_argument("--from-shipped", action="store_true", help="begin from the base in GPT_SoVITS/base")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    options.work = options.work.absolute()
    if options.step in CONTROLS:
        CONTROLS[options.step](options)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    with running():
        STEPS[options.step](options)


def data(options: argparse.Namespace) -> None:
    """Speech of a real speaker and of a synthetic one, and what is read of every clip."""
    from scripts.train_base.data import gather_synthetic
    from scripts.train_base.features import extract
    from scripts.train_base.real import gather_real

    lines = (ALLISON / "transcript.txt").read_text(encoding="utf-8").splitlines()
    bundled = {line.split("\t")[2] for line in lines if line.strip()} | {"ss-noservice"}
    gather_real(options.work, bundled)
    gather_synthetic(options.work, hours=options.hours, processes=options.threads)
    for name in ("real", "held", "synthetic"):
        extract(options.work / name, options.work)


def teacher(options: argparse.Namespace) -> None:
    """Speech of many speakers in two languages, read by the teacher."""
    from scripts.train_base.data import gather_teacher

    gather_teacher(options.work, hours=options.hours, processes=options.threads)
    read(options)


def read(options: argparse.Namespace) -> None:
    """Read what the teacher has said so far: features, and whether a recognizer understands it."""
    from scripts.train_base.features import extract
    from scripts.train_base.screen import screen
    from scripts.train_base.shift import shift

    folder = options.work / "teacher-speech"
    extract(folder, options.work)
    shift(folder, options.work)
    screen(folder, options.work)


def prompts(options: argparse.Namespace) -> None:
    """Make the recordings of the bundled Mandarin voices, read by the teacher."""
    from scripts.train_base.prompts import make_prompts

    make_prompts(options.work, REPOSITORY / "prompts")


def tokenizer(options: argparse.Namespace) -> None:
    """Train the projection and the codebook of the semantic tokens."""
    import torch

    from scripts.train_base.shipped import shipped_sovits
    from scripts.train_base.tokenizer import train_tokenizer

    torch.set_num_threads(options.threads)
    clips = _spoken(options.work)
    initial = shipped_sovits() if options.from_shipped else None
    train_tokenizer(clips, options.work / "tokenizer.pt", steps=options.steps or 700, initial=initial)


def listener(options: argparse.Namespace) -> None:
    """Which phoneme a frame speaks; writes it with the tokenizer, as what `acoustic` begins from."""
    import torch

    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.sovits.model import SoVITS
    from scripts.train_base.acoustic import Set
    from scripts.train_base.align import read
    from scripts.train_base.listener import fit
    from scripts.train_base.shipped import shipped_sovits

    torch.set_num_threads(options.threads)
    work, tokens = options.work, _tokens(options.work)
    initial = (shipped_sovits() if options.from_shipped else {}) | tokens
    model = SoVITS.from_config(load_config("nano"))
    model.load_state_dict(initial, strict=False)
    fit(model, Set(_spoken(work), tokens), read(work / "align.npz"), steps=options.steps or 500)
    classifier_state = {f"enc_p.listener.{name}": value for name, value in model.enc_p.listener.state_dict().items()}
    torch.save(initial | classifier_state, work / "listener.pt")


def acoustic(options: argparse.Namespace) -> None:
    """Tokens, phonemes and style to sound."""
    import torch

    from GPT_SoVITS.features.whisper_model import model_folder
    from scripts.train_base.acoustic import Set, Training
    from scripts.train_base.shift import FOLDER
    from scripts.train_base.shipped import shipped_sovits

    torch.set_num_threads(options.threads)
    work, models = options.work, model_folder(options.work / "models")
    initial = shipped_sovits() if options.from_shipped else torch.load(work / "listener.pt", weights_only=True)
    data = Set(_spoken(work, (*FOLDERS, FOLDER)), _tokens(work))
    training = Training(
        data,
        initial,
        work / "acoustic.pt",
        models,
        steps=options.steps or 6000,
        half=options.half,
        adversarial_from=options.adversarial_from,
    )
    training.fit(60 * options.minutes)


def listen(options: argparse.Namespace) -> None:
    """Held-back clips spoken again from their tokens, and judged."""
    import torch

    from GPT_SoVITS.checkpoints.resume_files import load_resume
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.sovits.model import SoVITS
    from scripts.train_base.acoustic import Set
    from scripts.train_base.clips import load_clips
    from scripts.train_base.listen import listen as judge

    torch.set_num_threads(options.threads)
    work, tokens = options.work, _tokens(options.work)
    model = SoVITS.from_config(load_config("nano"))
    state = load_resume(work / "acoustic.pt")
    if state is None:
        raise SystemExit("There is no acoustic model yet: scripts/train-base acoustic")
    model.load_state_dict(state["model"])
    held = Set(load_clips(work / "features" / "held"), tokens)
    judge(
        model,
        held,
        work / "held" / "texts.jsonl",
        ALLISON / "recording.flac",
        work / "models",
        work / "listen",
        count=30,
    )


def language(options: argparse.Namespace) -> None:
    """Phonemes to tokens; each call with more epochs begins anew, the same call goes on."""
    from scripts.train_base.acoustic import Set
    from scripts.train_base.align import read
    from scripts.train_base.language import fit, write_training_set
    from scripts.train_base.shipped import CODEBOOK, write_initial_gpt

    work = options.work
    base = work / "initial-gpt.safetensors" if options.from_shipped else None
    if base is not None and not base.exists():
        write_initial_gpt(_tokens(work)[CODEBOOK], base)
    pointers, varied = read(work / "align.npz"), read(work / "varied.npz") if (work / "varied.npz").exists() else {}
    if not (work / "language").exists():
        clips = [clip for clip in _spoken(work) if clip.name in pointers]
        write_training_set(Set(clips, _tokens(work)), work / "language", varied={n: v[0] for n, v in varied.items()})
    fit(
        work, pointers | {n: v[1] for n, v in varied.items()}, epochs=options.epochs, threads=options.threads, base=base
    )


def align(options: argparse.Namespace) -> None:
    """Align: find the phoneme of each token."""
    import torch

    from scripts.train_base.align import align as find

    torch.set_num_threads(options.threads)
    find(_spoken(options.work), options.work / "align.npz", steps=options.steps or 280)


def vary(options: argparse.Namespace) -> None:
    """Write the clips at other speeds."""
    import torch

    from GPT_SoVITS.features.whisper_content import ContentEncoder
    from GPT_SoVITS.features.whisper_model import model_folder
    from GPT_SoVITS.sovits.tokens import SemanticTokens
    from scripts.train_base.align import read
    from scripts.train_base.vary import vary as make

    torch.set_num_threads(options.threads)
    work, tokens = options.work, _tokens(options.work)
    codebook = SemanticTokens(
        tokens["ssl_proj.weight"], tokens["ssl_proj.bias"], tokens["quantizer.vq.layers.0._codebook.embed"]
    )
    encoder = ContentEncoder(model_folder(work / "models"), threads=options.threads)
    make(_spoken(work), codebook, encoder, read(work / "align.npz"), work / "varied.npz")


def _spoken(work: Path, folders: Sequence[str] = FOLDERS) -> list[Clip]:
    from scripts.train_base.clips import load_clips
    from scripts.train_base.screen import dropped

    left_out = dropped(work)
    clips = [clip for folder in folders for clip in load_clips(work / "features" / folder, seconds=(0.6, 15.0))]
    return [clip for clip in clips if clip.name not in left_out]


def ship(options: argparse.Namespace) -> None:
    """Write the base's two files where the product looks for them."""
    from scripts.train_base.acoustic import Set
    from scripts.train_base.align import read
    from scripts.train_base.count import count
    from scripts.train_base.ship import ship as write

    work = options.work
    counts = count(Set(_spoken(work), _tokens(work)), read(work / "align.npz"), phones=732, tokens=1025)
    write(work, counts, commit=_commit())


def _commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout.strip()


def _tokens(work: Path) -> dict[str, Tensor]:
    import torch

    tokens: dict[str, Tensor] = torch.load(work / "tokenizer.pt", weights_only=True)
    return tokens


def measure(options: argparse.Namespace) -> None:
    """Measure the shipped base: every kind of speaker says 20 sentences."""
    import torch

    from scripts.train_base.measure import measure as judge

    torch.set_num_threads(options.threads)
    judge(options.work, count=options.steps or 20, commit=_commit())


def confusions(options: argparse.Namespace) -> None:
    """As which phonemes the shipped base's clean speech is heard, for the verifier of speech."""
    from GPT_SoVITS.synthesis.verification.confusions import COUNTS
    from scripts.train_base.confusions import count_confusions
    from scripts.train_base.mandarin_sentences import mandarin_examples, mandarin_utterances
    from scripts.train_base.sentences import examples, utterances
    from scripts.train_base.sources import WORDNET, mandarin_texts, unpack

    mandarin = mandarin_examples(mandarin_texts(options.work))
    texts = {
        "en": utterances(examples(unpack(WORDNET, options.work)), seed=77, leave_out=set()),
        "zh": mandarin_utterances(mandarin, seed=77, leave_out=set()),
    }
    count_confusions(texts, COUNTS)


STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "data": data,
    "teacher": teacher,
    "read": read,
    "tokenizer": tokenizer,
    "vary": vary,
    "align": align,
    "listener": listener,
    "acoustic": acoustic,
    "language": language,
    "listen": listen,
    "ship": ship,
    "measure": measure,
    "confusions": confusions,
    "prompts": prompts,
}

CONTROLS: dict[str, Callable[[argparse.Namespace], None]] = {"pause": pause, "resume": resume}
"""What is done to a step that runs."""

if __name__ == "__main__":
    main()
