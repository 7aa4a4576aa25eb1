"""Loads the base weights from local safetensors and makes of them what the plan trains: all weights, or a low-rank addition."""

from __future__ import annotations

import importlib.util
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.attention import implementation, path_mask, sample_bounds
from train.blocks import apply_kernels, prepare_blocks, require_kernels
from train.console import quiet_libraries
from train.full_attention import MODELS, attends_to_all
from train.lora_product import fuse
from train.loss import supervised_nll
from train.rms_norm import fuse_norms
from train.sample_attention import SAMPLES, register

__all__ = ["DTYPES", "AdaptedModel", "adapt", "add_adapter", "load_model", "require_fit"]

DTYPES = {"bf16-true": torch.bfloat16, "32-true": torch.float32}


class AdaptedModel(nn.Module):
    """A causal language model as the plan trains it, called in two halves: hidden states, then logits where wanted."""

    def __init__(self, model: PreTrainedModel | PeftModel, training: Training) -> None:
        super().__init__()
        self.lm = model
        # ZeRO-3 gathers the head whenever it is called, with all processes: it must be called as often in each, however many tokens they learn.
        self._loss_chunk_tokens = sys.maxsize if training.strategy == "zero3" else training.loss_chunk_tokens
        self._prefix_sharing = training.prefix_sharing
        self._decoder = [getattr(self.causal, self.causal.base_model_prefix)]  # in a list: registered once, below `lm`
        self._head = [self.causal.get_output_embeddings()]

    @property
    def peft(self) -> PeftModel | None:
        """The wrapper that holds the adapter and can switch it off; None if all weights are trained."""
        return self.lm if isinstance(self.lm, PeftModel) else None

    @property
    def causal(self) -> PreTrainedModel:
        """The language model itself, below the adapter if there is one."""
        return self.lm.get_base_model() if isinstance(self.lm, PeftModel) else self.lm

    def hidden(self, ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Return the last hidden states, shape [B, T, H]; what may see what is read from the positions (no mask of padding is passed: packing would leak)."""
        apart: dict[str, Any] = {}
        ids, positions = ids_BT, positions_BT
        if self._prefix_sharing and self.causal.config._attn_implementation != SAMPLES:
            # The mask transformers makes of positions knows samples that begin at 0 only.
            apart = {"attention_mask": path_mask(positions_BT, self.causal.config._attn_implementation, self.causal.dtype)}
        elif self.causal.config._attn_implementation.startswith("flash_attention"):
            ids, positions = ids_BT.reshape(1, -1), positions_BT.reshape(1, -1)
            apart = sample_bounds(positions[0])
        states: Tensor = self._decoder[0](input_ids=ids, position_ids=positions, use_cache=False, **apart).last_hidden_state
        return states.view(*ids_BT.shape, -1)

    def forward(self, ids_BT: Tensor, positions_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Return the negative log-likelihood in nats of each supervised token, float32, in the order of `targets_BT`."""
        return supervised_nll(self.hidden(ids_BT, positions_BT), targets_BT, self.head, chunk_tokens=self._loss_chunk_tokens)

    def states(self, ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Return `hidden` to a caller outside of the model, who may hold shards of the weights only (`train.strategies.fsdp2` gathers them for this)."""
        return self.hidden(ids_BT, positions_BT)

    def both_logits(self, ids_BT: Tensor, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits as the loss makes them, head after hidden states, and as the model's own forward pass does; whoever holds shards may call it too."""
        return self.head(self.hidden(ids_BT, positions_BT)), self.lm(input_ids=ids_BT, position_ids=positions_BT, use_cache=False).logits

    @property
    def blocks(self) -> list[nn.Module]:
        """The decoder layers, from the first to the last: the units in which weights are sharded, recomputed or compiled."""
        return list(self._decoder[0].layers)

    @property
    def head(self) -> nn.Module:
        """The output projection from hidden states to logits."""
        head: nn.Module = self._head[0]
        return head

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by name, sorted by name; tied ones once."""
        return {name: parameter for name, parameter in sorted(self.lm.named_parameters()) if parameter.requires_grad}


def _quantization(training: Training) -> dict[str, Any]:
    """Return what `from_pretrained` needs to load a 4-bit base (arXiv 2305.14314); raise BadInput where bitsandbytes cannot."""
    if training.method != "qlora":
        return {}
    otherwise = "set training.method: lora and plan again"
    if not torch.cuda.is_available():
        raise BadInput("training.method qlora needs a GPU", value="no GPU", allowed="an NVIDIA GPU", next=otherwise)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BadInput("training.method qlora needs a package that is not installed", allowed="bitsandbytes", next="pip install bitsandbytes")
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=DTYPES[training.precision])
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def adapter_config(training: Training) -> LoraConfig:
    """Return what PEFT is told about a plan's adapter."""
    lora = training.lora
    assert lora is not None
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        use_dora=training.method == "dora",
        task_type="CAUSAL_LM",
    )


def add_adapter(model: PreTrainedModel, training: Training) -> PeftModel:
    """Return the model with a fresh adapter, the only part that is trained (LoRA arXiv 2106.09685, DoRA arXiv 2402.09353)."""
    config = adapter_config(training)
    try:
        # Adapters stay in the compute type: float32 ones beside bf16 weights would cost a cast at each matmul.
        peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise BadInput("training.lora.target_modules does not match this model", value=config.target_modules, allowed=str(error)) from error
    if any(parameter.requires_grad for parameter in model.get_output_embeddings().parameters()):
        raise BadInput("training.lora.target_modules names the output projection", value=config.target_modules, allowed="layers of the decoder")
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(DTYPES[training.precision])  # over 4-bit weights PEFT makes them float32
    return peft_model


def adapt(model: PreTrainedModel, training: Training) -> AdaptedModel:
    """Make of a model what the plan trains, and of its blocks what this machine computes fastest; the adapter's start is fixed by torch's seed."""
    apply_kernels(model, training)
    whole = attends_to_all(model.config.to_dict())
    if training.prefix_sharing and not whole:
        raise BadInput(
            "training.prefix_sharing is for models in which every layer attends to the whole sample", value=model.config.model_type,
            allowed=f"{', '.join(MODELS)} without a sliding window", next="set training.prefix_sharing: false and plan again",
        )  # fmt: skip
    if implementation(training) == "sdpa" and not torch.cuda.is_available() and not training.compile and whole:
        register()
        model.set_attn_implementation(SAMPLES)
    adapted = AdaptedModel(model if training.method == "full" else add_adapter(model, training), training)
    if adapted.peft is not None and training.strategy != "zero3":  # ZeRO-3 hands a layer its weights only when that layer is called
        fuse(adapted.peft)
        if not training.compile:
            fuse_norms(adapted.peft)
    prepare_blocks(adapted.blocks, training)
    # transformers hands out models in eval mode and Lightning keeps what it finds; dropout would silently stay off.
    adapted.train()
    return adapted


def load_model(base: Path, training: Training) -> AdaptedModel:
    """Load base weights, and a fresh adapter where one is trained, in the plan's precision; its start is fixed by the plan's seed.

    Raises BadInput if this machine cannot run what the plan asks for, or the adapter's target modules do not exist in this model.
    """
    attention, quantization = implementation(training), _quantization(training)
    require_kernels(training)
    torch.manual_seed(training.seed)
    with quiet_libraries():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=DTYPES[training.precision],
            attn_implementation=attention,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **quantization,
        )
        if getattr(model, "is_quantized", False) and not quantization:
            raise BadInput("the base is quantized already", value=str(base), allowed="weights in float32, float16 or bfloat16")
        if not quantization:
            # On a CPU they may still be the file, mapped into memory: whoever writes to it during the run would change what is trained.
            for tensor in chain(model.parameters(), model.buffers()):
                tensor.data = tensor.data.clone()
        return adapt(model, training)


def require_fit(model: AdaptedModel, *, tokens: int, sequence_tokens: int) -> None:
    """Raise BadInput if the tokenizer knows more tokens, or a sequence is longer, than the model was built for."""
    config = model.causal.config
    if tokens > config.vocab_size:
        raise BadInput("the tokenizer of the base has more tokens than its model", value=tokens, allowed=f"at most {config.vocab_size}")
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and sequence_tokens > longest:
        raise BadInput("training.sequence_tokens is more than the base can attend over", value=sequence_tokens, allowed=f"at most {longest}")
