"""Voices speak sentences and are scored, and the best checkpoint is the one that a listener would take."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest

from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.best_checkpoint import best_checkpoint
from GPT_SoVITS.evaluation.sentences import FOLDER, packaged_language, packaged_sentences, read_sentences
from GPT_SoVITS.evaluation.voice_evaluation import SentenceResult, mean_scores

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = "The number you have dialed is not in service. Please check the number and try again."


def row(epoch, wer, similarity=0.8, dnsmos=3.0):
    return {"epoch": epoch, "wer": wer, "similarity": similarity, "dnsmos": dnsmos}


@pytest.mark.parametrize(
    ("rows", "epoch"),
    [
        ([row(4, 0.3), row(8, 0.1), row(12, 0.2)], 8),
        ([row(4, 0.10, 0.85), row(8, 0.12, 0.75)], 4),
        ([row(4, 0.10, 0.75), row(8, 0.12, 0.85)], 8),
        ([row(4, 0.10, 0.80, 3.2), row(8, 0.12, 0.81, 2.8)], 4),
        ([row(4, 0.10), row(8, 0.10)], 8),
        ([row(4, 0.5), row(8, 0.1, None, None)], 8),
        ([row(4, None), row(8, 0.9)], 8),
    ],
)
def test_the_best_checkpoint_is_chosen_by_words_then_speaker_then_sound_then_age(rows, epoch):
    assert best_checkpoint(rows)["epoch"] == epoch


def test_what_was_not_judged_is_not_chosen():
    assert best_checkpoint([{"epoch": 4}, {"epoch": 8}]) is None
    assert best_checkpoint([]) is None


@pytest.mark.parametrize("language", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_every_packaged_sentence_can_be_read_and_judged(language):
    from GPT_SoVITS.text import phonemize

    for sentence in packaged_sentences(language):
        assert phonemize(sentence, language).ids


def test_a_language_without_sentences_of_its_own_speaks_english():
    assert packaged_sentences("de") == packaged_sentences("en")
    assert packaged_language("de") == "en"
    assert packaged_language("all_zh") == "zh"
    assert len(packaged_sentences("en")) == 20


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "holds no sentences"),
        (b"# only this\n\n", "holds no sentences"),
        (b"fine\n...\n", "Sentence 2"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_sentences_says_so(tmp_path, content, named):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=named) as refused:
        read_sentences(path, "en")

    assert refused.value.code == "bad_sentences"


def test_sentences_of_a_file_are_taken_a_line_each(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffOne sentence.\n\n# a note\n  Another one. \n", encoding="utf-8")

    assert read_sentences(path, "en") == ["One sentence.", "Another one."]


def test_means_leave_out_what_nobody_knows():
    measured = SentenceResult(
        "a b", "a a", 0.5, 0.2, similarity=0.8, dnsmos=3.0, rtf=0.2, f0_low=90.0, f0_high=200.0, repeated=["a"]
    )
    unspoken = SentenceResult("a b", "", 1.0, 1.0, skipped=["a", "b"])

    mean = mean_scores([measured, unspoken])

    assert (mean["wer"], mean["similarity"], mean["repeated"], mean["skipped"]) == (0.75, 0.8, 0.5, 1.0)


@pytest.mark.slow
@pytest.mark.skipif(not (BASE_FOLDER / "gpt.safetensors").is_file(), reason="needs the bundled base of nano")
def test_pairs_of_weights_speak_and_are_judged_one_after_another_in_a_process_of_its_own(models, voice_file, tmp_path):
    sample, preview, request = tmp_path / "sample.wav", tmp_path / "preview.wav", tmp_path / "request.json"
    pair = {kind: str(BASE_FOLDER / f"{kind}.safetensors") for kind in ("gpt", "sovits")}
    voices = [
        {**pair, "name": "before", "sample": str(preview), "preview": True},
        {**pair, "name": "none", "gpt": str(tmp_path / "gone"), "sample": str(preview), "preview": True},
        {**pair, "name": "base", "sample": str(sample)},
    ]
    request.write_text(
        json.dumps(
            {
                "models": str(models),
                "prompt": {"audio": str(voice_file), "text": TEXT, "language": "en"},
                "sentences": ["We watched the sun go down."],
            }
        )
    )

    done = subprocess.run(
        [sys.executable, "-m", "GPT_SoVITS.evaluation.program", str(request)],
        input="".join(json.dumps(voice) + "\n" for voice in voices),
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["preview", "no_preview", "sentence", "voice", "done"], done.stderr
    assert (events[0]["name"], events[0]["text"]) == ("before", "We watched the sun go down.")
    assert preview.read_bytes() == sample.read_bytes(), "the base says the same, judged or not"
    assert "gone" in events[1]["message"]
    spoken = events[3]["sentences"][0]
    assert spoken.keys() >= {"text", "heard", "wer", "cer", "similarity", "dnsmos", "rtf", "f0_low", "repeated"}
    assert 0 < spoken["rtf"] == events[3]["mean"]["rtf"]
    assert 60 < spoken["f0_low"] < spoken["f0_high"] < 500
    assert sample.stat().st_size > 16_000


def test_voices_come_with_the_request_or_line_by_line():
    from GPT_SoVITS.evaluation.program import CheckpointPair, EvaluationRequest

    prompt = {"audio": "prompt.wav", "text": "Hello.", "language": "en", "tokens": [1, 2]}
    common = {"models": "models", "prompt": prompt, "count": 2}
    voice = {"name": "epoch 4", "gpt": "g", "sovits": "s", "sample": "e4.wav"}

    together = EvaluationRequest.from_json({**common, "voices": [voice]})
    streamed = EvaluationRequest.from_json(common)

    assert list(together.pairs(BytesIO())) == list(streamed.pairs(BytesIO(json.dumps(voice).encode() + b"\n")))
    assert next(together.pairs(BytesIO())) == CheckpointPair("epoch 4", Path("g"), Path("s"), Path("e4.wav"), [1, 2])
    assert len(streamed.sentences) == 2


def test_a_request_that_cannot_be_met_is_an_error_event(tmp_path, capsys):
    from GPT_SoVITS.evaluation.program import main

    request = tmp_path / "request.json"
    prompt = {"audio": str(tmp_path / "no.wav"), "text": "", "language": "en"}
    voices = [{"name": "none", "gpt": "no", "sovits": "no"}]
    request.write_text(json.dumps({"models": str(tmp_path), "prompt": prompt, "file": str(tmp_path), "voices": voices}))

    code = main([str(request)])

    event = json.loads(capsys.readouterr().out)
    assert (code, event["event"], event["code"]) == (1, "error", "bad_sentences")
