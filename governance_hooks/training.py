"""How weights are trained: the section of the plan in which everything changes the result."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from governance_hooks.fields import Strict

__all__ = ["Dpo", "Lora", "Training"]


class Lora(Strict):
    """Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Annotated[int, Field(gt=0, le=512)] = 16
    alpha: Annotated[int, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | list[str] = "all-linear"


class Dpo(Strict):
    """Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290)."""

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the trained model is held to the one it started from."""
    minimum_rating_gap: Annotated[float, Field(gt=0)] = 1.0
    """Two answers to one prompt are a pair if their mean ratings are at least this far apart."""


class Training(Strict):
    """How the weights are trained; everything here changes the result."""

    objective: Literal["sft", "dpo"] = "sft"
    """sft: learn the answers. dpo: prefer an edit over what it replaced, and the better rated of two answers."""
    dpo: Dpo | None = None
    """With objective dpo."""
    method: Literal["full", "lora", "dora", "qlora"] = "lora"
    """full: all weights. lora: a low-rank addition. dora: with its magnitude apart (arXiv 2402.09353). qlora: over a 4-bit base (arXiv 2305.14314), on a GPU."""
    lora: Lora | None = Lora()
    """With every method but full."""
    strategy: Literal["single", "ddp", "fsdp2", "zero2", "zero3"] = "single"
    """How a run is spread over processes: one; copies (ddp); weights in shards (fsdp2); DeepSpeed ZeRO stage 2 or 3 (arXiv 1910.02054)."""
    offload: bool = False
    """Keep the optimizer (zero2), or weights too (zero3), in main memory (arXiv 2101.06840)."""
    precision: Literal["bf16-true", "32-true"] = "32-true"
    """Storage and compute type of the model."""
    attention: Literal["sdpa", "eager", "flex", "flash"] = "sdpa"
    """Attention implementation; before training it must prove that packed samples do not see each other."""
    kernels: Literal["torch", "liger"] = "torch"
    """liger: Triton kernels for norms, rotary embeddings and activations (arXiv 2410.10989), on a GPU."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Let torch.compile fuse the decoder blocks; the first step is slow."""
    sequence_tokens: Annotated[int, Field(ge=32)] = 512
    """Length of one packed sequence; a sample that does not fit is dropped and counted."""
    max_dropped_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The run is refused if more than this share of a language's training rows does not fit."""
    prefix_sharing: Annotated[bool, Field(exclude_if=lambda shared: not shared)] = False
    """Compute tokens with which the samples of a sequence begin alike once for all of them, as chat templates make many: the result stays the same but for rounding."""
    sequences_per_step: Annotated[int, Field(gt=0)] = 4
    """Packed sequences in one optimizer step, over all processes."""
    sequences_per_forward: Annotated[int, Field(gt=0)] = 4
    """Packed sequences in one forward pass; lower it to save memory, the result stays the same but for rounding."""
    loss_chunk_tokens: Annotated[int, Field(gt=0)] = 2048
    """Supervised tokens whose logits exist at a time; lower it to save memory. Not with zero3, which has them all at a time."""
    epochs: Annotated[int, Field(gt=0)] = 1
    max_steps: Annotated[int, Field(gt=0)] | None = None
    """Stop after this many optimizer steps even if the epochs are not over."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    """Peak learning rate of AdamW, after warm-up."""
    warmup_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of the steps in which the rate rises linearly; then it falls along a cosine to zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are clipped to this global L2 norm."""
    validate_every_steps: Annotated[int, Field(gt=0)] = 20
    """Optimizer steps between two measurements of the held-out loss by language."""
    validation_rows_per_language: Annotated[int, Field(gt=0)] = 16
    checkpoint_every_steps: Annotated[int, Field(gt=0)] = 20
    keep_checkpoints: Annotated[int, Field(gt=0)] = 2
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @property
    def output(self) -> Literal["adapter", "model"]:
        """The folder of a run that holds what was trained."""
        return "model" if self.method == "full" else "adapter"

    @property
    def minimum_rating_gap(self) -> float | None:
        """What makes two rated answers a pair, or None where no pairs are trained on."""
        return None if self.dpo is None else self.dpo.minimum_rating_gap

    @model_validator(mode="before")
    @classmethod
    def _sections_follow_their_choice(cls, data: Any) -> Any:
        """Fill `dpo` when it is asked for and drop the default `lora` when no adapter is trained."""
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        if filled.get("objective") == "dpo" and filled.get("dpo") is None:
            filled["dpo"] = {}
        if filled.get("method") == "full":
            filled.setdefault("lora", None)
        return filled

    @model_validator(mode="after")
    def _nothing_unread(self) -> Training:
        if (self.lora is None) != (self.method == "full"):
            raise ValueError(f"a run of method {self.method} has {'no' if self.method == 'full' else 'a'} section lora")
        if (self.dpo is None) != (self.objective == "sft"):
            raise ValueError(f"a run of objective {self.objective} has {'no' if self.objective == 'sft' else 'a'} section dpo")
        if self.dpo is not None and self.lora is not None and self.lora.dropout:
            raise ValueError("dpo compares the model with the one it started from, and dropout would be in the difference: leave lora.dropout at 0")
        if self.prefix_sharing and self.attention == "flash":
            raise ValueError("prefix_sharing needs attention sdpa, eager or flex: flash knows samples that lie in one piece only")
        if self.prefix_sharing and self.lora is not None and self.lora.dropout:
            raise ValueError(
                "with prefix_sharing all samples of a sequence would share the dropout of their prefix: leave lora.dropout at 0, or prefix_sharing false"
            )
        if self.offload and self.strategy not in ("zero2", "zero3"):
            raise ValueError("training.offload is DeepSpeed's: strategy zero2 or zero3")
        if self.method == "qlora" and (self.precision != "bf16-true" or self.strategy not in ("single", "ddp")):
            raise ValueError("qlora computes in bf16-true, with strategy single or ddp: the 4-bit weights cannot be sharded")
        return self
