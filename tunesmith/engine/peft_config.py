"""PEFT's adapter_config.json and the names of tensors: what can be judged without loading any."""

from typing import Any

from tunesmith.engine.errors import BadAdapter

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

KEY_PREFIX = "base_model.model."
A_SUFFIX = ".lora_A.weight"
B_SUFFIX = ".lora_B.weight"

# Options of peft.LoraConfig that change the arithmetic in ways our layers do not know.
_REFUSED_OPTIONS = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
)

# Ways to begin that leave something in the base model's weights, without which A and B are wrong.
_REFUSED_BEGINNINGS = ("pissa", "olora", "corda", "loftq", "lora_ga")


def check(config: Any) -> int:
    """The rank of an adapter whose arithmetic we know; raises BadAdapter for any other."""
    if not isinstance(config, dict):
        raise BadAdapter(f"{CONFIG_FILE} must hold a JSON object.")
    if config.get("peft_type", "LORA") != "LORA":
        raise BadAdapter(f"Only LoRA adapters are supported, not {config['peft_type']!r}.")
    if config.get("bias", "none") != "none":
        raise BadAdapter("Adapters that train biases (`bias`) are not supported.")
    for option in _REFUSED_OPTIONS:
        if config.get(option):
            raise BadAdapter(f"Adapters with `{option}` are not supported.")
    beginning = config.get("init_lora_weights")
    if isinstance(beginning, str) and beginning.lower().startswith(_REFUSED_BEGINNINGS):
        raise BadAdapter(
            f"Adapters with `init_lora_weights` {beginning!r} change the base model's weights and "
            "are not supported; convert the adapter to plain LoRA."
        )
    rank = config.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise BadAdapter(f"`r` in {CONFIG_FILE} must be a positive integer.")
    return rank


def part_of(key: str) -> tuple[str, str]:
    """A tensor's module in the base model, and `A_SUFFIX` or `B_SUFFIX`."""
    for suffix in (A_SUFFIX, B_SUFFIX):
        if key.startswith(KEY_PREFIX) and key.endswith(suffix):
            return key.removeprefix(KEY_PREFIX).removesuffix(suffix), suffix
    raise BadAdapter(f"{WEIGHTS_FILE} holds {key}, which is not a LoRA tensor.")
