"""Stage 1 learns as the reference does, number for number. `PARITY_DIR` names another folder of fixtures.

A fixture's kind is the end of its stem (`night_train_ce.npz` is a `train_ce`); folders may nest. Tolerances are those
of the fixtures' README.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import cast

import pytest
import torch
from parity_fixtures import BUNDLED, ROOT, companion, find, fixtures
from stage_1 import Stage1

from GPT_SoVITS.checkpoints.official_files import read_official
from GPT_SoVITS.gpt.data import (
    bucket_order,
    collate,
    effective_batch_size,
    length_buckets,
    read_items,
    rejection_reason,
    repeat_small,
)
from GPT_SoVITS.gpt.loss import GPTBatch, GPTLoss, compute_loss, damage, draw_damage, predict, row_log_likelihood
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.scaled_adam import ScaledAdam
from GPT_SoVITS.gpt.schedule import UpdateSchedule
from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.text.symbols import symbols


def training_batch(fixture: Stage1, lengths: torch.Tensor, rows: slice = slice(None)) -> GPTBatch:
    x, y, y_lengths = fixture["in/x"][rows], fixture["in/y"][rows], fixture["in/y_lens"][rows]
    lengths = lengths[rows]
    width, height = int(lengths.max()), int(y_lengths.max())
    return GPTBatch(x[:, :width], lengths, y[:, :height], y_lengths, fixture["in/bert"][rows][:, :, :width])


def without_padding(fixture: Stage1, lengths: torch.Tensor) -> GPTBatch:
    """Return the batch as a collate makes it: ids and features beyond a row's length are zero."""
    batch = training_batch(fixture, lengths)
    beyond = torch.arange(batch.phonemes.shape[1])[None] >= lengths[:, None]
    assert batch.bert is not None
    return GPTBatch(
        batch.phonemes.masked_fill(beyond, 0),
        lengths,
        batch.tokens,
        batch.token_lengths,
        batch.bert.masked_fill(beyond[:, None], 0.0),
    )


@pytest.mark.parametrize("path", fixtures("train_ce"))
def test_cross_entropy_of_equal_phoneme_counts(path):
    fixture = Stage1(path)
    model = fixture.model()
    x = fixture["in/x"]
    batch = training_batch(fixture, torch.full((len(x),), x.shape[1]))

    result = compute_loss(model, batch, compat="reference")
    result.loss.backward()

    compare(result, model, fixture, "out/equal_x")


@pytest.mark.parametrize("path", fixtures("train_ce", having="in/x_lens_ragged"))
def test_cross_entropy_with_the_references_mask(path):
    fixture = Stage1(path)
    model = fixture.model()
    batch = without_padding(fixture, fixture["in/x_lens_ragged"])

    result = compute_loss(model, batch, compat="reference")
    result.loss.backward()

    compare(result, model, fixture, "out/ragged_refmask")


@pytest.mark.parametrize("compat", [None, "reference"])
@pytest.mark.parametrize("path", fixtures("train_ce", having="out/single_loss"))
def test_an_utterance_alone_is_the_same_with_and_without_the_switch(path, compat):
    fixture = Stage1(path)
    for i, loss in enumerate(fixture["out/single_loss"]):
        model = fixture.model()
        result = compute_loss(
            model, training_batch(fixture, fixture["in/x_lens_ragged"], slice(i, i + 1)), compat=compat
        )
        result.loss.backward()

        torch.testing.assert_close(result.loss.detach().double(), loss, rtol=1e-5, atol=0)
        compare(result, model, fixture, f"out/single{i}")


@pytest.mark.parametrize("path", fixtures("train_ce", having="out/single_loss"))
def test_a_batch_equals_its_rows_alone(path):
    fixture = Stage1(path)
    model = fixture.model()

    result = compute_loss(model, without_padding(fixture, fixture["in/x_lens_ragged"]))

    torch.testing.assert_close(result.loss.detach().double(), fixture["out/single_loss"].sum(), rtol=1e-5, atol=0)
    for i, row in enumerate(log_p(result)):
        alone = fixture[f"out/single{i}/target_logp"]
        torch.testing.assert_close(row[: len(alone)], alone, atol=1e-4, rtol=0)


def compare(result: GPTLoss, model: Text2Semantic, fixture: Stage1, case: str) -> None:
    """Every entry that the fixture has of a case; a single row has no batch dimension there."""
    end = model.config.end_token
    ours = {
        "logits": result.logits,
        "target_logp": log_p(result),
        "targets": result.targets,
        "argmax": result.logits.argmax(-1),
        "loss": result.loss.detach().double(),
        "loss_float64": result.loss.detach().double(),
        "top3_acc": torch.tensor(result.top3_accuracy(end)),
    }
    for name, tensor in ours.items():
        theirs = fixture.get(f"{case}/{name}")
        if theirs is None:
            continue
        if name in ("targets", "argmax"):
            assert torch.equal(tensor.view_as(theirs), theirs), name
        elif name.startswith("loss"):
            assert float(tensor) == pytest.approx(float(theirs), rel=1e-5), name
        else:
            torch.testing.assert_close(tensor.view_as(theirs).double(), theirs.double(), atol=1e-4, rtol=0, msg=name)
    check_gradients(model, fixture, case)


def log_p(result: GPTLoss) -> torch.Tensor:
    targets = result.targets.clamp_min(0)
    return result.logits.log_softmax(-1).gather(2, targets[..., None])[..., 0]


def check_gradients(model: Text2Semantic, fixture: Stage1, case: str) -> None:
    gradients = {name: cast(torch.Tensor, p.grad) for name, p in model.named_parameters()}
    if f"{case}/grad_names" in fixture:
        names = [str(name) for name in fixture.arrays[f"{case}/grad_names"]]
        norms = fixture[f"{case}/grad_l2"].tolist()
        assert set(names) == set(gradients)
        for name, norm in zip(names, norms, strict=True):
            assert float(gradients[name].double().norm()) == pytest.approx(norm, rel=1e-4), name
        if f"{case}/grad_sum" in fixture:
            for name, norm, total in zip(names, norms, fixture[f"{case}/grad_sum"].tolist(), strict=True):
                # What a relative error of 1e-4 of the tensor can make of its sum.
                bound = 1e-4 * norm * gradients[name].numel() ** 0.5
                assert float(gradients[name].double().sum()) == pytest.approx(total, abs=bound), name
    for entry in fixture.names(f"{case}/grad/"):
        name, expected = entry.removeprefix(f"{case}/grad/"), fixture[entry]
        # A relative bound on the tensor as a whole: single entries near zero have no relative precision.
        difference = (gradients[name] - expected).norm() / expected.norm()
        assert float(difference) <= 1e-4, name


@pytest.mark.parametrize("path", fixtures("train_dpo"))
def test_preference_loss(path):
    fixture = Stage1(path)
    model = fixture.model()
    batch = GPTBatch(fixture["in/x"], fixture["in/x_lens"], fixture["in/y"], fixture["in/y_lens"], fixture["in/bert"])
    operations, ranges = fixture["in/reject_op"].tolist(), fixture["in/reject_range"].tolist()

    drawn = draw_damage(batch, torch.Generator().manual_seed(int(fixture["in/torch_manual_seed"])), "reference")
    damaged = damage(batch, operations, ranges, compat="reference")
    rejected_logits, rejected_targets = predict(model, damaged, "reference")
    generator = torch.Generator().manual_seed(int(fixture["in/torch_manual_seed"]))
    result = compute_loss(model, batch, preference=True, generator=generator, compat="reference")
    result.loss.backward()

    assert drawn == (operations, ranges)
    assert torch.equal(damaged.tokens, fixture["out/reject_y"])
    assert torch.equal(damaged.token_lengths, fixture["out/reject_y_lens"])
    assert torch.equal(result.targets, fixture["out/targets"])
    assert torch.equal(rejected_targets, fixture["out/reject_targets"])
    chosen = row_log_likelihood(result.logits, result.targets)
    torch.testing.assert_close(chosen, fixture["out/chosen_logp"], atol=2e-3, rtol=0)
    rejected = row_log_likelihood(rejected_logits, rejected_targets)
    torch.testing.assert_close(rejected.detach(), fixture["out/reject_logp"], atol=2e-3, rtol=0)
    torch.testing.assert_close(result.loss.detach().double(), fixture["out/loss_total"], rtol=1e-5, atol=0)
    torch.testing.assert_close(result.cross_entropy.double(), fixture["out/loss_ce"], rtol=1e-5, atol=0)
    # A difference of sums that agree to 2e-3 each.
    preference = float(result.loss.detach() - result.cross_entropy)
    assert preference == pytest.approx(float(fixture["out/loss_dpo"]), abs=2e-3)
    assert result.top3_accuracy(model.config.end_token) == pytest.approx(float(fixture["out/top3_acc"]), abs=1e-6)
    check_gradients(model, fixture, "out")


@pytest.mark.parametrize("path", fixtures("scaled_adam") + fixtures("scaled_adam_clip"))
def test_optimiser_updates(path):
    fixture = Stage1(path)
    hyper = fixture.json("in/hyper")
    parameters = {name: torch.nn.Parameter(fixture[f"in/param0/{name}"].clone()) for name in hyper["param_order"]}
    optimizer = ScaledAdam(parameters.values(), clip_period=hyper["clipping_update_period"])
    schedule = UpdateSchedule(1, 8, 4, 0.002, 0, compat="reference")
    rates = fixture["out/lr_used"].tolist()
    for step in range(hyper["steps"]):
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        for name, parameter in parameters.items():
            entry = f"in/grad{step:02d}/{name}"
            parameter.grad = fixture.get(entry)

        optimizer.step()

        assert schedule.rate(step) == pytest.approx(rates[step], rel=1e-12)
        assert optimizer.clip_scale == pytest.approx(float(fixture["out/clip_scale"][step]), rel=1e-5)
        for name, parameter in parameters.items():
            expected = fixture[f"out/step{step:02d}/{name}"]
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-9, msg=f"{name}, step {step}")
    if "out/lr_reported_by_scheduler" in fixture:  # one update late (specification s1-gpt §9.3)
        later = fixture["out/lr_reported_by_scheduler"].tolist()[1:]
        assert later == pytest.approx(rates[: len(later)])


@pytest.mark.parametrize("path", fixtures("dataset_cases", suffix=".json"))
def test_filter_repetition_batch_size_and_order(path):
    cases = json.loads(path.read_text())
    for case in cases["filter"]:
        reason = rejection_reason(case["phonemes"], case["tokens"], case["max_sec"])
        assert (reason == "") is case["kept"], case
    for case in cases["repeat_small_sets"]:
        names = repeat_small([f"u{i}" for i in range(case["kept_items"])])
        assert len(names) == case["dataset_length"], case
        assert names[:5] == case["first_five_names"], case
    for case in cases["effective_batch_size"]:
        size = effective_batch_size(case["configured"], case["dataset_length"], preference=case["if_dpo"])
        assert size == case["effective"], case
    for case in cases["bucket_sampler"]:
        order = bucket_order(
            case["tokens"],
            case["batch_size"],
            epoch=case["epoch"],
            replicas=case["replicas"],
            rank=case["rank"],
        )
        assert order == case["order"], case
        if case.get("buckets"):
            assert length_buckets(case["tokens"]) == case["buckets"], case
    for version, size in cases["symbol_table_sizes"].items():
        assert len(symbols("v1" if version == "v1" else "v2")) == size


def experiment(path: Path) -> Path:
    """Return the training-set folder beside a recorded training."""
    return companion(path, next(path.parent.rglob("6-name2semantic.tsv")).parent.name)


def starting_file(path: Path) -> Path:
    """Return the checkpoint that a recorded training began from: the nearest, or that of the public fixtures."""
    folders = [path.parent, path.parent.parent, ROOT, BUNDLED]
    return next(path for folder in folders for path in folder.rglob("*tiny_official.ckpt"))


TRAIN_RUNS = fixtures("train_run")
for run in find("train_run"):
    experiment(run)  # whose files are read, too


@pytest.mark.parametrize("path", TRAIN_RUNS)
def test_a_whole_training_of_the_reference(path):
    fixture = Stage1(path)
    config = fixture.config
    items, _ = read_items(experiment(path), symbols("v2"), max_seconds=config["data"]["max_sec"])
    items = repeat_small(items)
    start = read_official(starting_file(path))
    model = Text2Semantic.from_config(config, layer_dropout=0.0)
    model.load_state_dict({name: tensor.float() for name, tensor in start.state.items()}, strict=True)
    optimizer = ScaledAdam(model.parameters())
    size = effective_batch_size(config["train"]["batch_size"], len(items))
    schedule = UpdateSchedule(config["train"]["epochs"], -(-len(items) // size), 4, 0.002, 0, compat="reference")

    assert [item.name for item in items] == [str(name) for name in fixture.arrays["out/dataset_item_names"]]
    losses, accuracies, batches, updated_after, places = [], [], [], [], []
    for epoch in range(schedule.epochs):
        order = bucket_order([len(item.tokens) for item in items], size, epoch=epoch)
        for index in range(schedule.batches):
            chosen = order[index * size : (index + 1) * size]
            result = compute_loss(model, collate([items[i] for i in chosen]), compat="reference")
            result.loss.backward()
            losses.append(float(result.loss.detach()))
            places.append([epoch, index])
            accuracies.append(result.top3_accuracy(model.config.end_token))
            batches.append(chosen + [-1] * (fixture["out/batch_items"].shape[1] - len(chosen)))
            if schedule.is_due(epoch, index):
                optimizer.param_groups[0]["lr"] = schedule.rate(optimizer.updates)
                optimizer.step()
                optimizer.zero_grad()
                updated_after.append(len(losses))

    assert batches == fixture["out/batch_items"].tolist()
    assert places == fixture["out/batch_epoch_idx"].tolist()
    assert losses == pytest.approx(fixture["out/batch_loss"].tolist(), rel=1e-5)
    assert accuracies == pytest.approx(fixture["out/batch_top3_acc"].tolist(), abs=1e-6)
    assert updated_after == fixture["out/optimizer_step_after_n_batches"].tolist()
    rates = [schedule.rate(update) for update in range(len(updated_after))]
    assert rates == pytest.approx(fixture["out/optimizer_step_lr"].tolist())
    compare_final_weights(model, fixture)


def compare_final_weights(model: Text2Semantic, fixture: Stage1) -> None:
    width = model.config.embedding_dim
    for name, tensor in model.state_dict().items():
        expected = fixture[f"out/final/{name}"]
        if name.endswith("in_proj_bias"):  # the key third has no true gradient (specification s1-gpt §9.4)
            tensor, expected = (torch.cat([t[:width], t[2 * width :]]) for t in (tensor, expected))
        torch.testing.assert_close(tensor, expected, atol=5e-6, rtol=0, msg=name)


@pytest.mark.parametrize("path", TRAIN_RUNS)
def test_the_training_program_ends_with_the_references_weights(path, tmp_path):
    fixture = Stage1(path)
    recorded = fixture.config["train"]
    plan = GPTTrainingConfig(
        "v2",
        experiment(path),
        tmp_path,
        epochs=recorded["epochs"],
        batch_size=recorded["batch_size"],
        save_every_epoch=recorded["epochs"],
        base=starting_file(path),
        precision="fp32",
        compat="reference",
        export_official=True,
        name="demo",
        train={"layer_dropout": 0.0, "inner_dropout": 0.0},
    )
    training = GPTTrainer(plan, lambda *_, **__: None, threading.Event())

    training.fit()

    assert training.optimizer.updates == len(fixture["out/optimizer_step_lr"])
    compare_final_weights(training.model, fixture)
    written = read_official(tmp_path / f"demo-e{recorded['epochs']}.ckpt")
    for name, tensor in training.model.state_dict().items():
        assert torch.equal(written.state[name], tensor.half()), name


@pytest.mark.parametrize("path", TRAIN_RUNS)
def test_reading_and_collating(path):
    fixture = Stage1(path)
    items, _ = read_items(experiment(path), symbols("v2"), max_seconds=54)

    batch = collate(repeat_small(items)[:3])

    assert len(repeat_small(items)) == int(fixture["out/dataset_len"])
    assert items[0].phonemes == fixture["out/phoneme_ids_item0"].tolist()
    assert items[0].tokens == fixture["out/semantic_ids_item0"].tolist()
    assert torch.equal(batch.phonemes, fixture["out/collate012/phoneme_ids"])
    assert torch.equal(batch.phoneme_lengths, fixture["out/collate012/phoneme_ids_len"])
    assert torch.equal(batch.token_lengths, fixture["out/collate012/semantic_ids_len"])
    own = torch.arange(batch.tokens.shape[1])[None] < batch.token_lengths[:, None]
    assert torch.equal(batch.tokens[own], fixture["out/collate012/semantic_ids"][own])
    assert batch.bert.dtype == torch.float32
    torch.testing.assert_close(
        batch.bert.sum(dim=(1, 2)), fixture["out/collate012/bert_sum_per_item"], atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("path", TRAIN_RUNS)
def test_the_file_that_a_training_leaves_holds_its_last_weights_in_half(path):
    fixture = Stage1(path)
    final = fixture.state("out/final/")
    for file in path.parent.glob("*.ckpt"):
        written = read_official(file)

        assert written.kind == "gpt"
        assert written.state.keys() == final.keys()
        for name, tensor in written.state.items():
            assert torch.equal(tensor, final[name].half()), name
