"""One update, however it is cut: into batches, precisions and recomputed layers."""

from __future__ import annotations

import threading

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.data import collate, read_items
from GPT_SoVITS.gpt.loss import compute_loss
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.text.symbols import symbols
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers


def gradients(model: Text2Semantic, batches: list[list]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    for items in batches:
        compute_loss(model, collate(items)).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(ours, theirs):
    total = float(sum(tensor.square().sum() for tensor in theirs.values()) ** 0.5)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert float((ours[name] - tensor).norm()) <= 1e-5 * float(tensor.norm()) + 1e-6 * total, name


@pytest.fixture
def items(training_set):
    return read_items(training_set, symbols("v2"), max_seconds=54)[0]


def test_batches_that_are_collected_make_the_gradients_of_one_large_batch(tiny_model, items):
    whole = gradients(tiny_model, [items[:6]])

    assert_close(gradients(tiny_model, [items[:2], items[2:6]]), whole)


def test_recomputed_layers_have_the_same_gradients(tiny_model, items):
    tiny_model.train()
    torch.manual_seed(5)
    plain = gradients(tiny_model, [items[:4]])
    checkpoint_layers(tiny_model.model.h.layers)
    torch.manual_seed(5)

    assert_close(gradients(tiny_model, [items[:4]]), plain)


def train(plan_file, **changes) -> GPTTrainer:
    training = GPTTrainer(GPTTrainingConfig.read(plan_file(**changes)), lambda *_, **__: None, threading.Event())
    training.fit()
    return training


def test_the_plan_says_how_many_batches_make_an_update(plan_file):
    training = train(plan_file, epochs=1, accumulate=2)

    assert training.schedule.batches == 4
    assert training.optimizer.updates == 2


def test_checkpointed_layers_train_alike_and_the_time_for_data_is_measured(plan_file, tmp_path):
    plain = train(plan_file, output="plain", epochs=1)
    spared = train(plan_file, output="spared", epochs=1, grad_ckpt=True)

    assert spared.progress.history[0] == pytest.approx(plain.progress.history[0], rel=1e-5)
    assert plain.timer.steps == plain.progress.step
    assert 0.0 < plain.timer.share < 1.0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda state: state.pop("model.bert_proj.bias"), "model.bert_proj.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(2)), "extra is not known"),
        (
            lambda state: state.update({"model.bert_proj.bias": torch.zeros(3)}),
            r"model.bert_proj.bias has shape \(3,\) and \(32,\) is needed",
        ),
    ],
)
def test_a_base_that_does_not_fit_is_refused_with_its_first_fault(plan_file, tmp_path, tiny, tiny_model, change, fault):
    state = tiny_model.state_dict()
    change(state)
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, Checkpoint(kind="gpt", version="nano", config=tiny, state=state, info={}))

    with pytest.raises(ModelError, match=fault) as refused:
        train(plan_file, base=str(path))

    assert refused.value.code == "wrong_base"


def test_a_base_with_the_phonemes_of_another_version_is_refused(plan_file, tmp_path, tiny_model):
    path = tmp_path / "first.safetensors"
    save_checkpoint(
        path, Checkpoint(kind="gpt", version="v1", config={"model": {}}, state=tiny_model.state_dict(), info={})
    )

    with pytest.raises(ModelError, match="gpt weights of v1") as refused:
        train(plan_file, base=str(path))

    assert refused.value.code == "wrong_base"
