"""The arithmetic that suits a device."""

from __future__ import annotations

import pytest

from GPT_SoVITS.device_precision import GpuTraits, device_precision, gpu_precision
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.synthesis.model_loading import suitable_precision


@pytest.mark.parametrize(
    ("gpu", "chosen"),
    [
        (GpuTraits((9, 0), "NVIDIA H200"), "bf16"),
        (GpuTraits((8, 0), "NVIDIA A100"), "bf16"),
        (GpuTraits((7, 5), "Tesla T4"), "fp16"),
        (GpuTraits((7, 5), "NVIDIA GeForce GTX 1660"), "fp32"),
        (GpuTraits((6, 1), "NVIDIA GeForce GTX 1080"), "fp32"),
        (GpuTraits((6, 0), "Tesla P100"), "fp16"),
        (GpuTraits((5, 2), "NVIDIA GeForce GTX 980"), "fp32"),
        (GpuTraits((11, 0), "AMD Radeon RX 7900 XTX", rocm=True, bf16=True), "bf16"),
        (GpuTraits((9, 0), "AMD Instinct MI50", rocm=True), "fp16"),
    ],
)
def test_a_gpu_computes_in_what_it_has_units_for(gpu, chosen):
    assert gpu_precision(gpu) == chosen


def test_other_devices_compute_in_float32():
    assert [device_precision(name) for name in ("cpu", "mps")] == ["fp32", "fp32"]


@pytest.mark.parametrize(
    ("setting", "device", "chosen"),
    [
        ("auto", "cpu", "auto"),
        ("bf16", "cpu", "bf16"),
        ("int8", "cpu", "int8"),
        ("fp16", "cpu", "auto"),
        ("int8", "cuda", "auto"),
        ("fp16", "cuda", "fp16"),
        ("fp16", "mps", "auto"),
    ],
)
def test_a_setting_for_all_hosts_is_followed_where_the_device_can(setting, device, chosen):
    assert suitable_precision(setting, device) == chosen


def test_a_precision_that_is_none_is_an_error():
    with pytest.raises(ModelError, match="fp64"):
        suitable_precision("fp64", "cpu")
