"""Loads the base weights from local safetensors and adds the trainable low-rank adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.console import quiet_libraries
from train.loss import supervised_nll

__all__ = ["DTYPES", "AdaptedModel", "load_model", "require_fit", "save_adapter"]

DTYPES = {"bf16-true": torch.bfloat16, "32-true": torch.float32}


class AdaptedModel(nn.Module):
    """A causal language model with a LoRA adapter, called in two halves: hidden states, then logits where wanted."""

    def __init__(self, peft_model: PeftModel) -> None:
        super().__init__()
        self.peft = peft_model
        causal = peft_model.get_base_model()
        self._decoder = [getattr(causal, causal.base_model_prefix)]  # in a list: registered once, below `peft`
        self._head = [causal.get_output_embeddings()]

    def hidden(self, ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Return the last hidden states, shape [B, T, H]; no attention mask is ever passed (packing would leak)."""
        states: Tensor = self._decoder[0](input_ids=ids_BT, position_ids=positions_BT, use_cache=False).last_hidden_state
        return states

    def forward(self, ids_BT: Tensor, positions_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """Return the negative log-likelihood in nats of each supervised token, float32, in the order of `labels_BT`."""
        return supervised_nll(self.hidden(ids_BT, positions_BT), labels_BT, self.head)

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
        """Return the adapter's parameters by name, sorted by name."""
        return {name: parameter for name, parameter in sorted(self.peft.named_parameters()) if parameter.requires_grad}


def load_model(base: Path, training: Training) -> AdaptedModel:
    """Load base weights and a fresh adapter in the plan's precision; the adapter's start is fixed by the plan's seed.

    Raises BadInput if the adapter's target modules do not exist in this model.
    """
    lora = training.lora
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules, task_type="CAUSAL_LM")
    torch.manual_seed(training.seed)
    with quiet_libraries():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=DTYPES[training.precision],
            attn_implementation=training.attention,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        # On a CPU they may still be the file, mapped into memory: whoever writes to it during the run would change what is trained.
        for tensor in chain(model.parameters(), model.buffers()):
            tensor.data = tensor.data.clone()
        try:
            # Adapters stay in the compute type: float32 ones beside bf16 weights would cost a cast at each matmul.
            peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
        except ValueError as error:
            raise BadInput("training.lora.target_modules does not match this model", value=lora.target_modules, allowed=str(error)) from error
    adapted = AdaptedModel(peft_model)
    # transformers hands out models in eval mode and Lightning keeps what it finds; dropout would silently stay off.
    adapted.train()
    return adapted


def require_fit(model: AdaptedModel, *, tokens: int, sequence_tokens: int) -> None:
    """Raise BadInput if the tokenizer knows more tokens, or a sequence is longer, than the model was built for."""
    config = model.peft.get_base_model().config
    if tokens > config.vocab_size:
        raise BadInput("the tokenizer of the base has more tokens than its model", value=tokens, allowed=f"at most {config.vocab_size}")
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and sequence_tokens > longest:
        raise BadInput("training.sequence_tokens is more than the base can attend over", value=sequence_tokens, allowed=f"at most {longest}")


def save_adapter(model: AdaptedModel, folder: Path, base_name: str, weights: Mapping[str, Tensor]) -> None:
    """Write adapter_model.safetensors and adapter_config.json into `folder`, the same bytes for the same weights on any machine.

    `weights` are the trainable ones by name, whole.
    """
    weights = get_peft_model_state_dict(model.peft, state_dict=dict(weights), save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(weights.items())}
    # safetensors writes several metadata keys in random order; one is stable.
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in model.peft.peft_config["default"].to_dict().items()}
    config.update({"base_model_name_or_path": base_name, "inference_mode": True, "revision": None})
    # Through json once: enumerations become their strings.
    (folder / "adapter_config.json").write_bytes(dumps(json.loads(json.dumps(config, default=str))))
