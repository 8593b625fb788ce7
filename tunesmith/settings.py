"""The settings: read once at start-up from the environment, then passed down as plain values."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Json, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is an environment variable `TUNESMITH_<NAME>`; command-line switches win."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address that the server listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the server listens on.")
    tls_cert: Path | None = Field(
        None, description="Certificate chain (PEM), to serve TLS without a proxy."
    )
    tls_key: Path | None = Field(None, description="The certificate's private key (PEM).")
    trusted_proxies: str = Field(
        "",
        description="Comma-separated addresses or networks of proxies whose word on a client's "
        "address (`X-Forwarded-For`) and scheme is taken.",
    )
    cors_origins: str = Field(
        "",
        description="Comma-separated origins of web pages elsewhere that may ask from a browser.",
    )
    bad_keys_per_minute: int | None = Field(
        120,
        ge=1,
        description="How many keys that are not good an address may try in a minute; keys that "
        "were good lately are let in even so.",
    )
    data_dir: Path = Field(Path("data"), description="Folder for the database and all files.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL; by default SQLite in the data folder."
    )
    admin_key: SecretStr | None = Field(
        None, description="The first key, with every scope; by default made and printed once."
    )
    max_upload_bytes: int = Field(
        512 * 1024 * 1024, gt=0, description="Largest file that may be uploaded in one piece."
    )
    max_multipart_upload_bytes: int = Field(
        8 * 1024**3,
        gt=0,
        description="Largest file that may be uploaded in parts, whatever one piece may have.",
    )
    min_free_bytes: int = Field(
        1024**3,
        ge=0,
        description="Room that is left on the disk: a server takes no uploads below it, nor "
        "checkpoints below half of it; a worker begins nothing.",
    )
    max_concurrent_uploads: int = Field(
        32, ge=1, description="How many files an organization may be sending at once."
    )
    max_adapters: int = Field(
        100, ge=1, description="How many adapters an organization may register."
    )
    max_adapter_bytes: int = Field(
        300 * 1024 * 1024, gt=0, description="Largest file of an adapter that may be brought here."
    )
    max_adapter_rank: int = Field(
        32, ge=1, le=256, description="Largest rank of an adapter that may be brought here."
    )
    public_adapters: bool = Field(
        True, description="Whether an adapter may be shown to, and asked by, every organization."
    )
    import_dir: Path | None = Field(
        None,
        description="Folder with training files that platform jobs can name by path; every "
        "organization may read it.",
    )
    requests_per_minute: int | None = Field(
        None,
        ge=1,
        description="How many answers an organization may ask for in a minute, of each server.",
    )
    tokens_per_minute: int | None = Field(
        None,
        ge=1,
        description="How many tokens, of prompts and answers, an organization may use in a minute, "
        "of each server.",
    )
    key_requests_per_minute: int | None = Field(
        None, ge=1, description="As `requests_per_minute`, of each key."
    )
    key_tokens_per_minute: int | None = Field(
        None, ge=1, description="As `tokens_per_minute`, of each key."
    )
    drain_seconds: float = Field(
        10.0,
        ge=0,
        description="How long a server that was told to stop goes on with what it is at; then "
        "answers end with a reason.",
    )
    worker_drain_seconds: float = Field(
        120.0,
        ge=0,
        description="How long a worker that was told to stop waits for its jobs to store a "
        "checkpoint and for its answers to end; then it goes, and jobs go on from the last "
        "checkpoint that the server has.",
    )
    max_worker_wait_seconds: float = Field(
        30.0,
        ge=0,
        description="How long a request for an answer waits while no worker is connected.",
    )
    results_as_base64: bool = Field(
        True,
        description="Serve a job's result file base64-encoded over the OpenAI API, as the original "
        "does.",
    )
    webhooks_allow_private: bool = Field(
        False,
        description="Let webhooks lead to addresses that are not public, such as this machine's.",
    )
    wandb_api_key: SecretStr | None = Field(
        None, description="Key with which jobs' integrations log to Weights & Biases."
    )
    wandb_base_url: str = Field(
        "https://api.wandb.ai", description="Weights & Biases, or a server of one's own."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port that Prometheus reads `/metrics` from, without a key; by default none.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that `/metrics` is served on.")
    otlp_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="OpenTelemetry's collector (OTLP over HTTP, such as http://127.0.0.1:4318), "
        "which servers and workers send spans to; needs `pip install 'tunesmith[otel]'`.",
    )
    retention_checkpoint_days: float | None = Field(
        None,
        ge=0,
        description="Days after the end of a job after which its older checkpoints go; by default "
        "they stay.",
    )
    retention_checkpoints_kept: int = Field(
        1, ge=0, description="Checkpoints of a job that stay then, beside those in use."
    )
    retention_event_days: float | None = Field(
        None,
        ge=0,
        description="Days after the end of a job after which its events and metrics go; by default "
        "they stay.",
    )
    retention_unused_hours: float = Field(
        6.0,
        ge=0.25,
        description="Hours after their arrival after which bytes go that nothing refers to any "
        "more, such as those of deleted files.",
    )
    log_level: str = Field("warning", description="debug, info, warning or error.")
    device_prices: Json[dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]] = Field(
        "{}",  # type: ignore[arg-type]  # a default is read like any other value
        description="What an hour of a device costs, in dollars, as JSON by the device's name or "
        'id: {"NVIDIA H200": 3.5, "cpu": 0.05}.',
    )
    url: str = Field(
        "http://127.0.0.1:8000", description="Server that workers and commands talk to."
    )
    api_key: SecretStr | None = Field(
        None, description="Key with which workers and commands talk to the server."
    )
    ca_file: Path | None = Field(
        None,
        description="Certificates (PEM) by which a worker knows a server with one of its own.",
    )
    worker_name: str | None = Field(
        None, description="Stable, unique name of a worker; by default the machine's name."
    )
    work_dir: Path | None = Field(
        None, description="A worker's scratch folder; by default in the user's cache folder."
    )
    max_hosts: int = Field(
        1, ge=1, description="How many base models a worker keeps resident at once."
    )
    spare_host: bool = Field(
        True,
        description="Whether a worker without a host keeps a process ready in which the next one "
        "starts sooner, by the seconds that it takes to load libraries; it has 0.4 GB of memory.",
    )
    max_runs: int = Field(
        8,
        ge=1,
        description="How many jobs a worker trains at once; those of one base model share its "
        "host.",
    )
    device: str = Field("auto", description="auto, cpu, cuda or mps: where hosts compute.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Of base models' weights; auto is bf16 where that is faster."
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a host; by default all cores but one."
    )
    answering_share: float = Field(
        0.5,
        ge=0,
        le=0.95,
        description="A host's share of time for answers, while it trains and somebody waits.",
    )
    max_pass_tokens: int = Field(
        2048,
        ge=0,
        description="How many tokens of several runs go through the model together; with 0 runs "
        "take turns, and what a job learns is the same to the bit whoever trains beside it.",
    )
    checkpoint_seconds: float = Field(
        60.0, gt=0, description="Longest stretch of training that a kill can cost."
    )
    max_offline_seconds: float = Field(
        1800.0, gt=0, description="How long a worker trains on while the server is away."
    )
