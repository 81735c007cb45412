"""LoRA: merged and running are the same, and what does not fit is refused."""

from __future__ import annotations

import copy

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.checkpoints.identify import lora_rank
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS

CONDITION = torch.randn(1, 16, 20, generator=torch.Generator().manual_seed(1))
NOISE = torch.randn(1, 12, 20, generator=torch.Generator().manual_seed(3))
PROMPT = torch.randn(1, 12, 6, generator=torch.Generator().manual_seed(2))


def sample(model):
    return model.cfm.sample(CONDITION, PROMPT, steps=3, noise=NOISE)


@pytest.fixture
def changed(tiny, model):
    """Return a copy of the model that has learned something of rank 4."""
    other = FlowMatchingSoVITS.from_config(tiny)
    other.load_state_dict(model.state_dict())
    lora.inject(other, 4).eval()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.3 if "cfm." in name else 0.01))
    return other


def test_a_fresh_lora_changes_nothing(tiny, model):
    before = sample(model)

    assert torch.equal(sample(lora.inject(model, 4)), before)


def test_merging_equals_running(tiny, model, changed):
    merged = FlowMatchingSoVITS.from_config(tiny).eval()

    merged.load_state_dict(lora.merge(model.state_dict(), lora.lora_state(changed)))

    assert torch.allclose(sample(merged), sample(changed), atol=1e-5)
    attached = lora.attach(copy.deepcopy(model), lora.lora_state(changed))
    assert torch.allclose(sample(attached), sample(changed), atol=1e-5)
    assert not torch.allclose(sample(merged), sample(model), atol=1e-3)
    for name, tensor in merged.state_dict().items():
        if name.startswith(("bridge.", "wns1.")):
            assert torch.equal(tensor, changed.state_dict()[name]), name


def test_a_lora_file_beside_its_base_speaks_like_the_model(tiny, model, changed, base, load, tmp_path):
    path = tmp_path / "voice.safetensors"
    state = lora.lora_state(changed)
    save_checkpoint(path, Checkpoint(kind="sovits", version="v4", config=tiny, state=state, info={}), half=False)

    loaded = load(path, base)

    assert torch.allclose(sample(loaded), sample(changed), atol=1e-2)  # the base is stored in half precision


def test_a_base_of_other_sizes_is_refused(model, changed):
    other = model.state_dict() | {"bridge.0.weight": torch.zeros(4, 8, 1)}

    with pytest.raises(ModelError, match=r"disagree about bridge\.0\.weight"):
        lora.merge(other, lora.lora_state(changed))


def test_half_a_change_is_refused(model, changed):
    state = lora.lora_state(changed)
    state = {name: tensor for name, tensor in state.items() if not name.endswith("to_v.lora_B.default.weight")}

    with pytest.raises(ModelError, match="without its other half"):
        lora.merge(model.state_dict(), state)


def test_weights_without_a_lora_have_no_rank(model):
    assert not lora.is_lora(model.state_dict())
    assert lora_rank(model.state_dict()) is None
