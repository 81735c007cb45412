"""Items of v3 and v4 and their batches."""

from __future__ import annotations

import pytest
import torch
from tiny_flow import tiny_of

from GPT_SoVITS.flow_matching.data import FlowMatchingItem, FlowMatchingItemLoader, as_v2, collate
from GPT_SoVITS.sovits.training_set import select_entries


def item(frames: int, mel: int, *, phones: int = 3, codes: bool = True) -> FlowMatchingItem:
    tokens = torch.arange((frames + 1) // 2) if codes else None
    ssl = None if codes else torch.ones(16, frames)
    return FlowMatchingItem(
        torch.ones(704, frames), torch.ones(12, mel), torch.ones(phones, dtype=torch.long), tokens, ssl
    )


@pytest.mark.parametrize(("ratio", "frames"), [(1.875, 15 * 4), (2.0, 2 * 26)])
def test_a_batch_is_padded_as_the_version_asks(ratio, frames):
    items = [item(22, int(22 * ratio), phones=5), item(25, int(25 * ratio))]

    batch = collate(items, ratio)

    assert batch.spec_lengths.tolist() == [25, 22]
    assert batch.spec.shape == (2, 704, 26)
    assert batch.mel.shape == (2, 12, frames)
    assert batch.mel_lengths.tolist() == [int(25 * ratio), int(22 * ratio)]
    assert batch.codes.shape == (1, 2, 13)
    assert batch.text_lengths.tolist() == [3, 5]
    assert batch.mel[1].sum() == 12 * int(22 * ratio)


def test_features_take_the_place_of_tokens():
    batch = collate([item(25, 50, codes=False), item(24, 48, codes=False)], 2.0)

    assert batch.codes is None
    assert batch.ssl.shape == (2, 16, 26)


@pytest.mark.parametrize(("version", "frames"), [("v3", 75), ("v4", 80)])
def test_an_item_has_the_mel_of_its_version(folder, version, frames):
    recipe = tiny_of(version)
    items = FlowMatchingItemLoader(folder.path, recipe)

    selection = select_entries(folder.path, as_v2(recipe), source="codes")

    entries = selection.entries
    loaded = items(entries[0])  # 0.8 s
    assert (len(entries), selection.repeats, selection.left_out) == (3, 4, {})
    assert loaded.mel.shape == (12, frames)
    assert loaded.spec.shape == (704, 40)
    assert loaded.mel.abs().max() < 2
    assert items(entries[0]) is loaded
