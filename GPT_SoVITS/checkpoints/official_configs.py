"""Convert our recipes to the configs of official files.

`recipe` in `sovits.official` and `flow_matching.official` convert back.
"""

from __future__ import annotations

from typing import Any

SOVITS_TEMPLATE: dict[str, dict[str, Any]] = {
    "train": {
        "log_interval": 100,
        "eval_interval": 500,
        "seed": 1234,
        "epochs": 100,
        "learning_rate": 1e-4,
        "betas": [0.8, 0.99],
        "eps": 1e-9,
        "batch_size": 32,
        "fp16_run": True,
        "lr_decay": 0.999875,
        "segment_size": 20480,
        "init_lr_ratio": 1,
        "warmup_epochs": 0,
        "c_mel": 45,
        "c_kl": 1.0,
        "text_low_lr_rate": 0.4,
        "grad_ckpt": False,
    },
    "data": {
        "max_wav_value": 32768.0,
        "sampling_rate": 32000,
        "filter_length": 2048,
        "hop_length": 640,
        "win_length": 2048,
        "n_mel_channels": 128,
        "mel_fmin": 0.0,
        "mel_fmax": None,
        "add_blank": True,
        "n_speakers": 300,
        "cleaned_text": True,
    },
    "model": {
        "inter_channels": 192,
        "hidden_channels": 192,
        "filter_channels": 768,
        "n_heads": 2,
        "n_layers": 6,
        "kernel_size": 3,
        "p_dropout": 0.1,
        "resblock": "1",
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "upsample_rates": [10, 8, 2, 2, 2],
        "upsample_initial_channel": 512,
        "upsample_kernel_sizes": [16, 16, 8, 2, 2],
        "n_layers_q": 3,
        "use_spectral_norm": False,
        "gin_channels": 512,
        "semantic_frame_rate": "25hz",
        "freeze_quantizer": True,
    },
}
"""The settings of an official file in its order, as s2-sovits §1 and §13 and s1-gpt §13 have them."""
GPT_TEMPLATE: dict[str, dict[str, Any]] = {
    "train": {
        "seed": 1234,
        "epochs": 20,
        "batch_size": 8,
        "save_every_n_epoch": 1,
        "precision": "16-mixed",
        "gradient_clip": 1.0,
    },
    "optimizer": {"lr": 0.01, "lr_init": 1e-5, "lr_end": 1e-4, "warmup_steps": 2000, "decay_steps": 40000},
    "data": {"max_eval_sample": 8, "max_sec": 54, "num_workers": 4, "pad_val": 1024},
    "model": {
        "vocab_size": 1025,
        "phoneme_vocab_size": 732,
        "embedding_dim": 512,
        "hidden_dim": 512,
        "head": 16,
        "linear_units": 2048,
        "n_layer": 24,
        "dropout": 0,
        "EOS": 1024,
        "random_bert": 0,
    },
    "inference": {"top_k": 15},
}


def sovits_config(version: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of an official SoVITS file; a config from such a file only gets its version.

    Of our recipes it contains what an official file has a name for, without the sizes that are fixed upstream.
    """
    if is_recipe(config):
        sections = _fill_template(SOVITS_TEMPLATE, config)
        name = str(config.get("name", "voice"))
        return {**_versioned(sections, version), "content_module": "cnhubert", "name": name, "version": version}
    return {**_versioned(config, version), "version": version}


def gpt_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of an official s1 file; a config from such a file stays as it is."""
    return config if "optimizer" in config else _fill_template(GPT_TEMPLATE, config)


def is_recipe(config: dict[str, Any]) -> bool:
    """Return whether a SoVITS config is ours: it names the sizes that no official file holds."""
    return "symbols" in config.get("model", {})


def _fill_template(template: dict[str, dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """Return the template with the recipe's values where it has them."""
    return {
        section: {name: config.get(section, {}).get(name, value) for name, value in values.items()}
        for section, values in template.items()
    }


def _versioned(config: dict[str, Any], version: str) -> dict[str, Any]:
    return {**config, "model": {**config.get("model", {}), "version": version}}
