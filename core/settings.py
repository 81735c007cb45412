"""Every setting, read once from the environment or `.env`; a bad value stops the start with a sentence."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from common.hosts import bracketed
from common.limits import MAX_API_WORKERS, MAX_TRUE_PEAK, MIN_TRUE_PEAK
from common.repository import REPOSITORY as REPOSITORY
from common.repository import default_data_path
from common.versions import RequestedVersion
from core.encryption import KEY_FILE, SecretBox
from core.errors import SovitsError
from core.redis_address import PREFIX, cluster_prefix, kind_of_url, with_options
from core.service_file import BadServiceFile, read_service_file
from core.setting_values import (
    BUCKETS,
    Aliases,
    ClockTime,
    CommaList,
    EncryptionKeys,
    HostAddress,
    HostNames,
    JsonOrPath,
    Networks,
    OptionalLoudness,
    Origins,
    RootPath,
    SigningSecret,
    StorageAddress,
    WebAddress,
    split_commas,
)

NO_NOTICE = "off"
RHYTHM = "rhythm"
MAX_NOTICE_CHARACTERS = 200
"""Of the text that is spoken before speech."""


class BadSettings(SovitsError):
    """A setting with a value that cannot be used."""

    code = "bad_settings"


class Settings(BaseSettings):
    """The environment's names are these in capitals; `env.example` lists them with a sentence each."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    host: HostAddress = "127.0.0.1"
    """Address that the API listens on."""
    port: int = Field(9880, ge=0, le=65535, validation_alias=AliasChoices("API_PORT", "PORT"))
    """Port of the API; 0 takes a free one. API_PORT, as desktop shells set it, wins over PORT."""
    api_workers: int = Field(1, ge=1, le=MAX_API_WORKERS)
    """Processes of the API behind the one port; `main.py serve --api-workers` wins. One answers thousands of requests a
    second; speech and trainings have processes of their own."""
    config_file: str = ""
    """YAML file in the form of the training service (docs/deployment.md); empty: `config.yaml`, else
    `config/config.yaml`."""
    deployment_mode: Literal["", "local", "server"] = ""
    """`local`: SQLite, folders and the embedded queue, whatever outside services the settings name; `server`: a
    database, a Redis and a bucket are required; empty: whatever the settings name."""
    exit_with_parent: bool = Field(default_factory=lambda: bool(getattr(sys, "frozen", False)))
    """Whether the server ends when its standard input closes or its parent process is gone; by default as a bundle."""
    project_name: str = ""
    """Title of the documentation at /docs."""
    api_v1_prefix: str = "/api/v1"
    """Fixed; another value is told at the start."""
    data_path: Path = Field(default_factory=default_data_path)
    """Everything that is written lies under this folder; by default `data` in the checkout, or, of an installed
    package, `~/.local/share/sovitsd`."""

    redis_url: str = ""
    """`redis://` or `rediss://`, with sentinels `redis+sentinel://HOST:26379,HOST:26379/NAME/0`, of a cluster
    `redis+cluster://HOST:6379,HOST:6379`; empty starts an embedded server under the data folder."""
    redis_ca_file: str = ""
    """PEM file with the authority that signed the certificate of a `rediss://` server; empty: those of the system."""
    redis_cert_file: str = ""
    """PEM file with this host's own certificate, when the Redis server asks for one."""
    redis_key_file: str = ""
    """PEM file with the key of REDIS_CERT_FILE."""
    redis_host: HostAddress = ""
    """Used with REDIS_PORT and REDIS_DB when there is no REDIS_URL."""
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_db: int = Field(0, ge=0)
    redis_prefix: str = Field("sovits:", min_length=1)
    """Every key starts with it."""
    redis_memory_mb: int = Field(0, ge=0)
    """MiB of memory of the embedded server; above 90 % of it new requests get 503. 0: a quarter of the host's."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite under the data folder."""
    sqlite_path: Path | None = None
    """The file of the records where there is no DATABASE_URL; by default in the data folder."""
    celery_broker_url: str = ""
    """Used where there is no REDIS_URL: the queue is Redis itself."""
    celery_result_backend: str = ""
    """Accepted, as other servers need it; results are in the same Redis."""
    storage_url: StorageAddress = ""
    """Where artefacts lie: a folder (`file:///…`) or a bucket (`s3://…`); empty means the data folder."""
    local_storage_path: Path | None = None
    """The folder of artefacts where no bucket is named; by default in the data folder."""
    s3_endpoint: str = ""
    """`host:port` (http) or a URL of an S3 service that has the artefacts, unless STORAGE_URL names something."""
    s3_access_key: str = "minioadmin"
    """Access key of S3_ENDPOINT."""
    s3_secret_key: SecretStr = SecretStr("minioadmin")
    """Secret key of S3_ENDPOINT."""
    s3_bucket: str = "gpt-sovits"
    """Bucket at S3_ENDPOINT; it is made if it is missing."""
    storage_cache_mb: int = Field(20_480, ge=1)
    """MiB of copies from a bucket that this host keeps; what a stage works on may come on top."""

    valid_api_keys: CommaList = ()
    """API keys separated by commas; with none here and none made by `main.py keys`, no key is asked for."""
    admin_api_keys: CommaList = ()
    """API keys separated by commas that may do everything, also with what belongs to other keys."""
    allow_open_access: bool = False
    """Whether the API may be reached from other machines although no key exists; a warning at every start says so."""
    max_connections: int = Field(2000, ge=4)
    """Connections that the API has open at once, event streams included; more get 503. Open files may limit it."""
    allowed_hosts: HostNames = ()
    """Host names that the API answers to beside localhost, IP addresses and HOST, separated by commas; `*.name` for all
    names below one, `*` for any. Once it is set, it counts with API keys as well."""
    cors_origins: Origins = ()
    """Origins beside this host's whose pages may use the API, such as `https://app.example`; `null` for pages that were
    opened as a file, `*` for any."""
    trusted_proxies: Networks = ()
    """Addresses or networks of reverse proxies whose `X-Forwarded-…` headers are believed."""
    wyoming_port: int = Field(0, ge=0, le=65535)
    """Port of the Wyoming protocol, by which Home Assistant speaks (usually 10200); 0: none."""
    wyoming_host: str = "127.0.0.1"
    """Address that Wyoming is served at. The protocol has no keys: let only hosts that may speak reach it."""
    root_path: RootPath = ""
    """Path below which a reverse proxy offers the API, such as `/voice`, whether or not it removes it from requests."""
    max_upload_mb: int = Field(500, ge=1)
    """Largest upload, MiB."""
    max_text_characters: int = Field(100_000, ge=1)
    """Longest text of one speech request."""
    fetch_allowed_hosts: CommaList = ()
    """Hosts that `voice_url` may name although they are private addresses, separated by commas."""

    webhook_secret: SigningSecret = SecretStr("")
    """Signs what is sent to the `webhook_url` of a request: `whsec_` and 24 to 64 bytes in base64."""
    secrets_key: EncryptionKeys = SecretStr("")
    """Encrypts the secrets of webhooks in the database; empty: a key in `secrets.key` under the data folder.

    With PostgreSQL, which hosts may share, that file is used but not created.
    """
    mark_watermark: bool = True
    """Whether speech carries a watermark that says that it is synthetic."""
    mark_metadata: bool = True
    """Whether speech carries metadata that say so: the field AIGC, and Content Credentials (C2PA) in finished files."""
    mark_audible: str = NO_NOTICE
    """What is heard before speech: `off`, `rhythm` (the signal of GB 45438-2025), or a text that is spoken."""
    mark_producer: str = ""
    """Who makes the speech, as its metadata say; empty: APP_NAME."""
    mark_propagator: str = ""
    """Who passes the speech on to the public, as its metadata say; empty: not said."""
    mark_key: SecretStr = SecretStr("")
    """Secret of the watermark, the same on every host of an installation; empty: `marks.key` under the data folder."""
    mark_certificate: Path | None = None
    """PEM file with a private key (P-256) and its chain of certificates that sign Content Credentials; empty:
    `content-credentials.pem` under the data folder, which is made."""
    require_consent: bool = False
    """Whether a voice needs the consent of its speaker before it is published; voices that exist keep working."""
    consent_statement: str = Field("", max_length=10_000)
    """The operator's statement that the speakers of all voices agreed; counts where a voice has no other consent."""
    consent_check_seconds: float = Field(20.0, gt=0, le=60)
    """How often speech and jobs that run look whether the speakers of their voices still agree."""
    provenance_days: float = Field(180.0, ge=0)
    """Days for which records say which request spoke which audio; 0: none are written."""
    provenance_text: Literal["hash", "text"] = "hash"
    """What these records keep of the text: its SHA-256, or the text as well."""
    webhook_allowed_hosts: CommaList = ()
    """Hosts that webhooks may name although they have private addresses, separated by commas."""

    backup_url: StorageAddress = ""
    """Where backups go: a folder (`file:///…`) or a bucket (`s3://…`); empty: none are made."""
    backup_schedule: ClockTime = "02:00"
    """Local time of the daily backup; one that was missed is made up for at the start. Empty: no daily backup."""
    backup_every_seconds: float = Field(5.0, ge=0)
    """Between two batches of changes of the records, which follow a backup; 0: none are sent."""
    backup_archive: bool = False
    """Whether each backup is written as one tar.gz as well."""
    backup_mbit_per_second: float = Field(0.0, ge=0)
    """Bandwidth that a backup or a restore may use, in Mbit/s; 0: no limit."""
    backup_keep_days: float = Field(30.0, ge=0)
    """Days after which a backup is deleted when another one is made; 0 keeps all."""
    backup_keep_count: int = Field(7, ge=1)
    """Backups that are kept however old they are."""
    backup_public_keys: CommaList = ()
    """Public keys of the sites whose backups are restored here, separated by commas; empty: of any site, until this one
    has made a backup of its own."""

    fencing: bool = False
    """Whether this site writes only while it holds the newest epoch in BACKUP_URL, so that a site which was replaced
    rejects writes when it comes back."""
    fencing_lease_seconds: float = Field(15.0, ge=3)
    """Seconds for which a site may write after it saw that its epoch is the newest; a switch waits for as long."""
    fencing_renew_seconds: float = Field(3.0, gt=0)
    """Seconds between two looks at the epochs."""
    fencing_on_loss: Literal["reject", "serve"] = "reject"
    """When the lease is over and cannot be renewed: reject writes, or serve them, which allows two writers."""
    standby_main_url: WebAddress = ""
    """Address of the main site that `main.py standby` watches."""
    standby_probe_seconds: float = Field(10.0, gt=0)
    """Seconds between two probes of the main site's readiness; the fourth failure in a row is an alert."""
    standby_probe_timeout_seconds: float = Field(5.0, gt=0)
    """Seconds after which a probe has failed."""
    standby_speech_probe_seconds: float = Field(60.0, ge=0)
    """Seconds between two probes in which the main site speaks a word; 0: it never has to."""
    standby_probe_voice: str = ""
    """Voice that speaks in probes; empty: the default one."""
    standby_api_key: SecretStr = SecretStr("")
    """API key for probes, where one is asked for; it needs `speak` only."""
    standby_automatic: bool = False
    """Whether an alert switches by itself; else a person does, with `main.py standby switch --confirm`."""
    standby_vantage: CommaList = ()
    """Other addresses, `host:port` or URLs separated by commas: when none of them can be reached, it is the probe's own
    network that is down, and nothing is switched."""
    standby_prefetch_seconds: float = Field(60.0, gt=0)
    """Seconds between two fetches of what the main site has backed up."""
    standby_drill_days: float = Field(7.0, ge=0)
    """Days between two drills of `standby watch`; 0: none."""
    standby_fence_command: str = ""
    """Command that ends the main site before another one takes over, such as one of its power supply."""
    standby_start_command: str = ""
    """Command that starts the service here; empty: `main.py serve` in the background."""
    standby_stop_command: str = ""
    """Command that stops it; empty: SIGTERM."""
    standby_dns_command: str = ""
    """Command that changes the name, with SOVITSD_NAME, SOVITSD_ADDRESS and SOVITSD_TTL (examples: deploy/dns)."""
    standby_dns_name: str = ""
    """Name under which the service is reached."""
    standby_dns_ttl: int = Field(60, ge=1)
    """TTL of that name in seconds."""
    standby_address: str = ""
    """Address of this site, for that name."""
    standby_traffic_command: str = ""
    """Command that gives a site a share of the traffic, with SOVITSD_SHARE (per cent of the main site)."""
    standby_shares: CommaList = ("10", "50", "100")
    """Shares in which a return gives the traffic back to the main site."""
    standby_notify_url: WebAddress = ""
    """Webhook for alerts, switches and drills, signed with WEBHOOK_SECRET."""
    standby_mail_command: str = ""
    """Command that mails an alert, with SOVITSD_EVENT and SOVITSD_MESSAGE."""
    standby_main_command: str = ""
    """Command that runs `main.py` on the main site, such as `ssh main sovitsd`; a return needs it."""

    default_version: RequestedVersion = "auto"
    """Version that a request trains which names none; `auto`: the best whose weights are installed, else `nano`."""
    models_path: Path | None = None
    """Folder of official weights, such as `GPT_SoVITS/pretrained_models` of upstream; empty: `models` below
    DATA_PATH."""
    default_gpu: str = Field("0", pattern=r"[0-9]{1,2}(-[0-9]{1,2}){0,15}")
    """GPU of an eleven-step task that names none; several with hyphens: 0-1."""
    default_batch_size: int | None = Field(None, ge=1, le=32)
    """Batch size of an eleven-step task that names none; empty: that of the stages."""
    default_epochs_s2: int | None = Field(None, ge=1, le=100)
    """SoVITS epochs of an eleven-step task that names none; empty: that of the stage."""
    default_epochs_s1: int | None = Field(None, ge=1, le=100)
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
    0: the GPUs of the start."""
    inference_precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    """In which voices speak; auto: what suits the device. int8 is for CPUs, fp16 for GPUs; elsewhere they are auto."""
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
    prompts_config: JsonOrPath = REPOSITORY / "prompts" / "prompts.json"
    """The prompt catalogue: a JSON file, or the JSON itself, `[{"name", "path", "text"}, …]`."""
    default_voice: str = ""
    """Voice of requests that name none, or one of OpenAI's voices; empty: a bundled one that speaks the text's
    language, else the newest."""
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

    local_max_workers: int | None = Field(None, ge=0, le=64)
    """Trainings at once on the CPU and on each GPU, where the two settings for these are not set."""
    max_training_concurrent_gpu: int = Field(1, ge=0, le=64)
    """Trainings at once on each GPU; more wait in the queue. POST /api/v1/resources/config changes it at run time."""
    max_inference_concurrent_gpu: int = Field(3, ge=0, le=64)
    """Utterances of the model service's tasks that are spoken at once on each GPU; live speech is limited by slots."""
    max_training_concurrent_cpu: int = Field(2, ge=0, le=64)
    """Trainings at once on the CPU of a host."""
    max_inference_concurrent_cpu: int = Field(4, ge=0, le=64)
    """The same on the CPU of a host."""
    cpu_training_max_batch_size: int = Field(8, ge=1)
    """Segments per step of a training on a CPU at most, whatever was asked for."""
    cpu_training_max_workers_ratio: float = Field(0.5, gt=0, le=1)
    """Share of the cores that the loading processes of a training on a CPU may use; today each loads in one thread."""
    cpu_training_pytorch_threads_ratio: float = Field(0.5, gt=0, le=1)
    """Share of its cores that a training on a CPU computes with."""

    worker_retry_attempts: int = Field(3, ge=1, le=100)
    """Runs of a failing job before it is a dead letter."""
    worker_retry_delay_seconds: float = Field(5.0, ge=0)
    """Delay before the first retry; it grows threefold each time, up to 900 s."""
    result_expiry_seconds: int = Field(86_400, ge=60)
    """How long results of speech requests are kept."""
    synthesis_timeout_seconds: float = Field(600.0, gt=0)
    """How long a caller of a speech request is kept waiting for the next audio; a long text may take longer in all."""
    lease_seconds: float = Field(15.0, ge=1)
    """A worker that does not renew its claim for so long has lost its job."""
    drain_speech_seconds: float = Field(30.0, ge=0)
    """How long speech in progress may take after SIGTERM."""
    drain_training_seconds: float = Field(120.0, ge=0)
    """How long a training may take to save its checkpoint after SIGTERM."""
    evaluation_sentences: int = Field(3, ge=0, le=20)
    """Sentences that each checkpoint of a training speaks, to find the best one; 0 takes the last one unheard."""

    task_retention_days: float = Field(30.0, ge=0)
    """Days after which a task that has ended is deleted with its files; voices stay; 0 keeps it."""
    experiment_retention_days: float = Field(0.0, ge=0)
    """The same for experiments of expert mode, counted from their last change."""
    disk_budget_gb: float = Field(0.0, ge=0)
    """Artefacts above this many GB: the tasks and experiments that ended longest ago are deleted; 0: no limit."""
    log_retention_days: float = Field(7.0, ge=0)
    """Days that logs of other jobs are kept; those of a task or an experiment go with it; 0 keeps them."""

    app_name: str = Field("sovitsd", min_length=1, max_length=100)
    """Name of the service in GET /api/v1/info."""
    environment: Literal["development", "production"] = "production"
    """Shown in GET /api/v1/info."""
    supported_models: CommaList = ()
    """Names of models in GET /api/v1/info, separated by commas; empty: the versions."""
    default_train_priority: int = Field(5, ge=1, le=10)
    """Of a training of the model service that names none; 10 runs first."""
    default_inference_priority: int = Field(3, ge=1, le=10)
    """Of an inference of the model service that names none."""
    max_waiting_seconds: float = Field(3600.0, ge=0)
    """How long a training of the model service may wait for its turn; then it fails. 0: without limit."""
    result_upload_format: Literal["zip", "files"] = "zip"
    """What `upload_url` receives: one ZIP by PUT, or each file in a multipart form of its own by POST."""

    otel_exporter_otlp_endpoint: WebAddress = ""
    """Where OpenTelemetry's traces go, by HTTP, such as `http://collector:4318`; empty: nowhere. Needs `[tracing]`."""
    otel_service_name: str = "sovitsd"
    """What traces call the service; the kind of the process follows it."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("cosyvoice_sample_rate", "openai_pcm_sample_rate")
    @classmethod
    def _audible_rate(cls, value: int) -> int:
        if 0 < value < 8000:
            raise ValueError("use 0 for the voice's own rate, or 8000 to 48000 Hz")
        return value

    @model_validator(mode="before")
    @classmethod
    def _set_both_limits(cls, values: dict[str, Any]) -> dict[str, Any]:
        if (workers := values.get("local_max_workers")) not in (None, ""):
            for name in ("max_training_concurrent_gpu", "max_training_concurrent_cpu"):
                values.setdefault(name, workers)
        return values

    @field_validator("gpu_memory_per_model_mb")
    @classmethod
    def _no_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("use -1 for an even spread, or a number of MiB above 0")
        return value

    @field_validator("mark_audible")
    @classmethod
    def _notice(cls, value: str) -> str:
        value = value.strip()
        if value.lower() in ("", NO_NOTICE, "no", "false", "0"):
            return NO_NOTICE
        if value.lower() in (RHYTHM, "on", "yes", "true", "1"):
            return RHYTHM
        if len(value) > MAX_NOTICE_CHARACTERS:
            raise ValueError(f"a notice has at most {MAX_NOTICE_CHARACTERS} characters; this one has {len(value)}")
        return value

    @field_validator(
        "data_path", "prompts_config", "sqlite_path", "local_storage_path", "mark_certificate", "models_path"
    )
    @classmethod
    def _absolute(cls, value: Path | str | None) -> Path | str | None:
        return value.expanduser().absolute() if isinstance(value, Path) else value

    @field_validator("deployment_mode", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator(
        *("sqlite_path", "local_storage_path", "local_max_workers", "mark_certificate", "models_path"),
        *("default_batch_size", "default_epochs_s2", "default_epochs_s1"),
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read YAML files behind the environment and `.env`: that of the mode in `config/`, the training service's."""
        near = {**dotenv_settings(), **env_settings(), **init_settings()}
        mode = near.get("deployment_mode") or "local"
        file = Path("config") / f"{str(mode).strip().lower()}.yaml"
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings, dotenv_settings)
        if file.is_file():
            sources = (*sources, YamlConfigSettingsSource(settings_cls, file))
        if values := read_service_file(str(near.get("config_file") or "")):
            sources = (*sources, InitSettingsSource(settings_cls, values))
        return sources

    @property
    def spoken_notice(self) -> str:
        """The text that is spoken before speech; empty where none is."""
        return "" if self.mark_audible in (NO_NOTICE, RHYTHM) else self.mark_audible

    @property
    def secret_box(self) -> SecretBox:
        """What encrypts and decrypts the secrets in the database."""
        # Hosts that share a database would lock each other out with keys of their own.
        only_this_host = self.resolved_database_url.startswith("sqlite")
        keys = split_commas(self.secrets_key.get_secret_value())
        return SecretBox(self.data_path / KEY_FILE, keys, may_create=only_this_host)

    @property
    def resolved_redis_url(self) -> str:
        """The URL to connect to, or empty for the embedded server."""
        if self.deployment_mode == "local":
            return ""
        if self.redis_url:
            files = {
                "ssl_ca_certs": self.redis_ca_file,
                "ssl_certfile": self.redis_cert_file,
                "ssl_keyfile": self.redis_key_file,
            }
            options = {name: path for name, path in files.items() if path and self.redis_url.startswith("rediss")}
            if kind_of_url(self.redis_url) == "cluster":
                options[PREFIX] = self.key_prefix
            return with_options(self.redis_url, options) if options else self.redis_url
        if self.redis_host:
            return f"redis://{bracketed(self.redis_host)}:{self.redis_port}/{self.redis_db}"
        return self.celery_broker_url

    @property
    def key_prefix(self) -> str:
        """What every key of Redis begins with; in a cluster with a hash tag, which keeps all keys on one node."""
        return cluster_prefix(self.redis_prefix) if kind_of_url(self.redis_url) == "cluster" else self.redis_prefix

    @property
    def resolved_database_url(self) -> str:
        """The URL of the records' database."""
        outside = self.database_url if self.deployment_mode != "local" else ""
        return outside or f"sqlite+aiosqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """The SQLite file of the records; used when no database is named."""
        return self.sqlite_path or self.data_path / "sovitsd.sqlite3"

    @property
    def models_folder(self) -> Path:
        """The folder of downloaded weights."""
        return self.models_path or self.data_path / "models"

    @property
    def resolved_storage_url(self) -> str:
        """The folder or the bucket of artefacts; empty for the data folder."""
        if self.deployment_mode == "local" and self.storage_url.startswith(BUCKETS):
            return ""
        if self.storage_url or self.deployment_mode == "local" or not self.s3_endpoint:
            return self.storage_url
        endpoint = self.s3_endpoint if "://" in self.s3_endpoint else f"http://{self.s3_endpoint}"
        options = {
            "endpoint": endpoint.rstrip("/"),
            "region": "us-east-1",
            "access_key_id": self.s3_access_key,
            "secret_access_key": self.s3_secret_key.get_secret_value(),
        }
        return f"s3://{self.s3_bucket}?{urlencode(options)}"

    @property
    def makes_bucket(self) -> bool:
        """Whether a missing bucket is made: one of S3_ENDPOINT is, one of STORAGE_URL is not."""
        return not self.storage_url and self.storage_is_bucket

    @property
    def storage_root(self) -> Path:
        """The folder of artefacts; with a bucket, of this host's copies."""
        url = self.resolved_storage_url
        if url and not self.storage_is_bucket:
            return Path(url.removeprefix("file://"))
        default = self.data_path / "storage"
        return default if self.storage_is_bucket else self.local_storage_path or default

    @property
    def storage_is_bucket(self) -> bool:
        """Whether the artefacts lie in a bucket."""
        return self.resolved_storage_url.startswith(BUCKETS)


def read_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (by field name) win. Raises BadSettings naming what is wrong."""
    try:
        by_alias = {("API_PORT" if name == "port" else name): value for name, value in overrides.items()}
        current = Settings(**by_alias)
    except ValidationError as error:
        raise BadSettings(_explain(error)) from None
    except BadServiceFile as error:
        raise BadSettings(error.sentences) from None
    if current.deployment_mode == "server":
        services = {
            "DATABASE_URL": current.database_url,
            "REDIS_URL": current.resolved_redis_url,
            "S3_ENDPOINT": current.storage_is_bucket,
        }
        if missing := [name for name, value in services.items() if not value]:
            raise BadSettings(
                f"Settings that cannot be used: DEPLOYMENT_MODE=server needs {', '.join(missing)}. "
                "Set what is missing, or DEPLOYMENT_MODE=local for SQLite, folders and the embedded queue."
            )
    return current


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read on first use."""
    return read_settings()


def _explain(error: ValidationError) -> str:
    sentences = []
    for problem in error.errors():
        name = str(problem["loc"][0]).upper() if problem["loc"] else "?"
        value = problem["input"]
        may_be_secret = any(word in name for word in ("KEY", "URL", "SECRET")) or "@" in str(value)
        shown = "(hidden)" if may_be_secret else repr(value) if len(str(value)) <= 80 else f"{str(value)[:80]!r}…"
        sentences.append(f"{name} is {shown}: {problem['msg']}.")
    return "Settings that cannot be used: " + " ".join(sentences)
