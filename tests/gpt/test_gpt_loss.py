from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.gpt.data import collate, read_items
from GPT_SoVITS.gpt.loss import IGNORE_INDEX, compute_loss, damage, draw_damage
from GPT_SoVITS.gpt.schedule import UpdateSchedule
from GPT_SoVITS.text.symbols import symbols


@pytest.fixture
def items(training_set):
    return read_items(training_set, symbols("v2"), max_seconds=54)[0]


def test_a_batch_has_the_gradients_of_its_rows_alone(tiny_model, items):
    compute_loss(tiny_model, collate(items)).loss.backward()
    together = {name: p.grad.clone() for name, p in tiny_model.named_parameters() if p.grad is not None}
    tiny_model.zero_grad()
    for item in items:
        compute_loss(tiny_model, collate([item])).loss.backward()

    for name, parameter in tiny_model.named_parameters():
        if not name.endswith("in_proj_bias") and parameter.grad is not None:
            difference = (parameter.grad - together[name]).norm() / together[name].norm()
            assert float(difference) < 1e-4, name


def test_the_preference_of_a_row_does_not_depend_on_its_batch(tiny_model, items):
    batch = collate(items[:4])
    operations, ranges = draw_damage(batch, torch.Generator().manual_seed(1))

    damaged = damage(batch, operations, ranges)

    for i, item in enumerate(items[:4]):
        single = damage(collate([item]), operations[i : i + 1], ranges[i : i + 1])
        length = int(damaged.token_lengths[i])
        assert length == int(single.token_lengths[0])
        assert damaged.tokens[i, :length].tolist() == single.tokens[0].tolist()
        a, b = ranges[i]
        assert length == len(item.tokens) + (b - a if operations[i] == 0 else a - b)


def test_targets_end_once(tiny_model, items):
    result = compute_loss(tiny_model, collate(items[:3]))

    for row, item in zip(result.targets.tolist(), items, strict=False):
        assert row[: len(item.tokens) + 1] == [*item.tokens, tiny_model.config.end_token]
        assert set(row[len(item.tokens) + 1 :]) <= {IGNORE_INDEX}


@pytest.mark.parametrize("batches", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("update_every", [1, 3, 4])
def test_every_batch_reaches_an_update(batches, update_every):
    schedule = UpdateSchedule(4, batches, update_every, 0.002, 3)
    waiting = updates = 0
    for epoch in range(4):
        for batch in range(batches):
            waiting += 1
            if schedule.is_due(epoch, batch):
                assert waiting <= update_every
                waiting, updates = 0, updates + 1

    assert waiting == 0
    assert updates == schedule.planned_updates


@pytest.mark.parametrize(("batches", "planned"), [(4, 0), (5, 2), (9, 4), (10, 4)])
def test_the_references_schedule_leaves_batches_over(batches, planned):
    schedule = UpdateSchedule(2, batches, 4, 0.002, 3, compat="reference")

    due = sum(schedule.is_due(epoch, batch) for epoch in range(2) for batch in range(batches))

    assert schedule.planned_updates == due == planned


def test_the_rate_warms_up_stays_and_falls_where_asked():
    constant = UpdateSchedule(1, 100, 1, 0.002, 4)
    falling = UpdateSchedule(1, 100, 1, 0.002, 0, final_factor=0.1)

    rates = [constant.rate(update) for update in range(100)]

    assert rates[:4] == sorted(rates[:4])
    assert max(rates[:4]) < 0.002
    assert set(rates[4:]) == {0.002}
    assert falling.rate(0) == 0.002
    assert falling.rate(100) == pytest.approx(0.0002)
