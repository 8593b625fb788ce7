"""One base model, resident: its network, tokenizer and the adapters beside it."""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.logging import disable_progress_bar

from tunesmith.engine import attention, chat, quantized, thin_linear
from tunesmith.engine.adapters import AdapterSet
from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.precision import Precision, dtype_for
from tunesmith.engine.quantized import Quantization
from tunesmith.engine.shortcuts import Shortcuts
from tunesmith.engine.vocabulary import Vocabulary
from tunesmith.engine.whole_model import WholeModel

# Attention whose cache is keys and values by position; other layers keep a running state.
_DEFAULT_CONTEXT_TOKENS = 8192  # of models without positions, which could go on for ever
_POSITIONAL_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


class BaseModel:
    """A frozen decoder with any number of adapters; load it once with `BaseModel.load`.

    Or one run trains its weights: `whole`. It is then of no use to anybody else, ever after.
    """

    def __init__(self, network: Any, tokenizer: Any, folder: Path, *, name: str) -> None:
        self.network = network
        self.folder = folder
        self.tokenizer = tokenizer
        self.name = name
        self.config = network.config.get_text_config(decoder=True)
        self.device: torch.device = network.device
        self.adapters = AdapterSet(network, name)
        self.quantization: Quantization | None = None  # of the decoder's linear layers
        self.whole: WholeModel | None = None  # once a run has trained the weights themselves
        self.shortcuts = Shortcuts()  # a trial before training leaves those that hold
        self.trials: dict[Shortcuts, tuple[Shortcuts, bool]] = {}  # and whether it takes packs
        self.vocabulary = Vocabulary(tokenizer)
        self.end_of_text_ids = _end_of_text_ids(network, tokenizer)
        self.context_length = _context_length(self.config)
        self._parameters = inspect.signature(network.forward).parameters

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str | None = None,
        device: str | None = None,
        precision: Precision = "auto",
        quantization: Quantization | None = None,
    ) -> "BaseModel":
        """Read a Hugging Face folder. `name` is what saved adapters call their base.

        By default the best device there is. The precision "auto" is bf16 where that is faster.
        """
        _check_folder(folder)
        device = device or best_device()
        if quantization is not None:
            quantized.check(device)
        tokenizer = load_tokenizer(folder)
        disable_progress_bar()
        try:
            network, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype_for(precision, device, folder),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
            raise UnsupportedModel(f"The model cannot be loaded: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:
            raise UnsupportedModel(f"{len(missing)} tensors are missing, such as {missing[0]}.")
        if quantization is not None:
            quantized.put_in(network, device)
        network.eval().requires_grad_(False).to(device)
        _put_own_attention_in(network)
        is_cpu = device == "cpu"
        if is_cpu and network.dtype == torch.bfloat16 and thin_linear.is_worthwhile():
            thin_linear.put_in(network)
        model = cls(network, tokenizer, folder, name=name or folder.name)
        model.quantization = quantization
        return model

    @property
    def layer_types(self) -> set[str]:
        """The kinds of attention in the decoder, in transformers' words."""
        declared = getattr(self.config, "layer_types", None)
        if declared:
            return set(declared)
        is_sliding = getattr(self.config, "sliding_window", None) is not None
        return {"sliding_attention" if is_sliding else "full_attention"}

    def takes(self, parameter: str) -> bool:
        """Whether the network's forward has this parameter."""
        return parameter in self._parameters

    @property
    def tolerance(self) -> float:
        """How much logits may differ, relatively, when they are computed in another order."""
        return 1e-4 if self.network.dtype == torch.float32 else 5e-2

    @property
    def has_positional_cache(self) -> bool:
        return self.layer_types <= _POSITIONAL_ATTENTION


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _put_own_attention_in(network: Any) -> None:
    """Where it changes nothing: models with sinks, biases or caps of their own do without SDPA."""
    if network._supports_attention_backend and network._supports_sdpa:
        network.set_attn_implementation(attention.NAME)


def _check_folder(folder: Path) -> None:
    """Refuse by name what transformers would refuse in a riddle, or load wrongly."""
    if not (folder / "config.json").is_file():
        raise UnsupportedModel(f"{folder} has no config.json.")
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnsupportedModel(f"config.json is not valid JSON: {error}.") from error
    if not any(folder.glob("*.safetensors")):
        raise UnsupportedModel("The model has no safetensors weights; pickled ones are refused.")
    if raw.get("quantization_config"):
        raise UnsupportedModel("Quantised weights are not supported; use the original ones.")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        needs_code = "auto_map" in raw
        reason = "it needs its own Python code, which is never run" if needs_code else str(error)
        raise UnsupportedModel(f"The model type is not supported: {reason}.") from error
    is_decoder = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    heads = raw.get("architectures") or ["ForCausalLM"]
    generates = any(h.endswith(("CausalLM", "LMHeadModel", "ConditionalGeneration")) for h in heads)
    if config.is_encoder_decoder or not is_decoder or not generates:
        raise UnsupportedModel(f"{', '.join(heads)} is not a decoder that continues text.")


def load_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # whatever a folder's files make the libraries raise
        raise UnsupportedModel(f"The tokenizer cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise UnsupportedModel("The tokenizer has no fast version (tokenizer.json).")
    return tokenizer


def _end_of_text_ids(network: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens after which an answer is over, wherever the model's makers wrote them down."""
    configured = network.generation_config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured])
    ids |= {tokenizer.eos_token_id, chat.end_of_message_id(tokenizer)}
    return frozenset(i for i in ids if i is not None)


def _context_length(config: Any) -> int:
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        length = getattr(config, key, None)
        if isinstance(length, int):
            return length
    return _DEFAULT_CONTEXT_TOKENS
