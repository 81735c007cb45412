"""Settings of the models: weights, the processes that speak and prepare, and how speech sounds by default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from common.limits import MAX_TRUE_PEAK, MIN_TRUE_PEAK
from common.repository import BUNDLED_PROMPTS
from common.versions import RequestedVersion
from core.setting_values import Aliases, JsonOrPath, OptionalInteger, OptionalLoudness, OptionalPath, WebAddress


class ModelSettings(BaseSettings):
    """Models, synthesizers, preprocessors and defaults of speech."""

    default_version: RequestedVersion = "auto"
    """Version that a request trains which names none; `auto`: the best whose weights are installed, else `nano`."""
    models_path: OptionalPath = None
    """Folder of official weights, such as `GPT_SoVITS/pretrained_models` of upstream; empty: `models` below
    DATA_PATH."""
    default_gpu: str = Field("0", pattern=r"[0-9]{1,2}(-[0-9]{1,2}){0,15}")
    """GPU of an eleven-step task that names none; several with hyphens: 0-1."""
    default_batch_size: OptionalInteger = Field(None, ge=1, le=32)
    """Batch size of an eleven-step task that names none; empty: that of the stages."""
    default_epochs_s2: OptionalInteger = Field(None, ge=1, le=100)
    """SoVITS epochs of an eleven-step task that names none; empty: that of the stage."""
    default_epochs_s1: OptionalInteger = Field(None, ge=1, le=100)
    """GPT epochs of an eleven-step task that names none; empty: that of the stage."""
    num_models: int = Field(0, ge=0, le=64)
    """Synthesizer processes; 0: one for each GPU with room, or one on the CPU. Per GPU at most, or in all when
    GPU_MEMORY_PER_MODEL_MB is -1; on a CPU at most."""
    synthesis_slots: int = Field(0, ge=0, le=256)
    """Utterances that one synthesizer speaks at once; 0: 32 on a GPU, on a CPU four for each core, 8 to 32."""
    gpu_memory_per_model_mb: int = Field(-1, ge=-1)
    """MiB of VRAM a synthesizer needs; -1 spreads NUM_MODELS evenly over the GPUs."""
    device_check_seconds: float = Field(10.0, ge=0)
    """Between two readings of the host's GPUs, after which workers end and start for those that were lost or have come;
    0: none, another host has them."""
    inference_precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    """In which voices speak; auto: what suits the device. int8 is for CPUs, fp16 for GPUs; elsewhere they are auto."""
    inference_cuda_graphs: Literal["auto", "off"] = "auto"
    """Whether GPUs generate tokens and decode chunks by CUDA graphs: auto (where they can be captured) or off."""
    voice_cache_mb: int = Field(0, ge=0)
    """MiB that a synthesizer keeps of voices, prompts and the networks around them; 0: half of what is free."""
    voice_idle_seconds: float = Field(1800.0, ge=0)
    """How long a synthesizer keeps voices that nobody uses; 0 keeps them."""
    vocoder_runtime: Literal["auto", "torch"] = "auto"
    """What computes the generator of v1 to v2ProPlus on a CPU: auto (OpenVINO where it is installed) or torch."""
    model_cache_mb: int = Field(4096, ge=0)
    """MiB of disk below DATA_PATH for what synthesizers make of checkpoints, once for all of them; the least recently
    used goes first."""
    speech_cache_mb: int = Field(64, ge=0)
    """MiB of finished sentences that a synthesizer keeps, for requests with the same seed; 0: none."""
    speech_retries: int = Field(3, ge=0, le=10)
    """How often a sentence with faults is spoken again, unless its request says `verify: off`; 0 only reports."""
    speech_loudness: OptionalLoudness = None
    """LUFS (EBU R128) that speech is brought to where neither request nor voice says another loudness; empty: none."""
    speech_true_peak: float = Field(-1.0, ge=MIN_TRUE_PEAK, le=MAX_TRUE_PEAK)
    """dBTP that speech with a loudness does not exceed, unless its request says another one."""
    trim_silence: bool = False
    """Whether silence before and after speech is dropped, unless its request says otherwise."""
    num_preprocessors: int = Field(0, ge=0, le=64)
    """Preprocessors of this host; 0: as many as its cores and memory carry, four at most."""
    preprocessor_memory_mb: int = Field(1500, ge=0)
    """MiB of memory above which a preprocessor keeps no model but the one it uses."""
    preprocessor_warm_seconds: float = Field(300.0, ge=0)
    """How long a preprocessor keeps models that nobody uses."""
    num_file_workers: int = Field(1, ge=0, le=64)
    """Workers of this host that assemble inferences, archive, import and check data sets; one job at a time each.

    0: none, another host has them."""

    prompts_config: JsonOrPath = BUNDLED_PROMPTS
    """The prompt catalogue: a JSON file, or the JSON itself, `[{"name", "path", "text"}, …]`."""
    default_voice: str = ""
    """Voice of requests that name none, or one of OpenAI's voices; empty: a bundled one that speaks the text's
    language, but for requests that name none the newest of your own, where there is one."""
    voice_aliases: Aliases = Field(default_factory=dict)
    """Other names of voices, `alloy=anna, echo=ben` or a JSON object; keys in lower case."""
    cosyvoice_sample_rate: int = Field(0, ge=0, le=48_000)
    """Hz of the WAVs of POST /synthesize; 0: as the voice's model speaks."""
    openai_pcm_sample_rate: int = Field(24_000, ge=0, le=48_000)
    """Hz of `pcm` by POST /v1/audio/speech without `sample_rate`, which OpenAI's clients play at 24 kHz; 0: as the
    voice's model speaks."""
    static_dir: str = ""
    """Folder that also gets the WAVs of POST /synthesize; a relative one lies in the working folder. Empty: none."""
    hf_endpoint: WebAddress = ""
    """`http://` or `https://` address of a mirror of the Hugging Face hub; empty asks the hub itself."""

    @field_validator("cosyvoice_sample_rate", "openai_pcm_sample_rate")
    @classmethod
    def _audible_rate(cls, value: int) -> int:
        if 0 < value < 8000:
            raise ValueError("use 0 for the voice's own rate, or 8000 to 48000 Hz")
        return value

    @field_validator("gpu_memory_per_model_mb")
    @classmethod
    def _no_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("use -1 for an even spread, or a number of MiB above 0")
        return value
