"""How much memory one device needs, from formulas: weights, gradients, optimizer, activations, logits, runtime.

What a block keeps for its backward pass follows Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), counted again for RMSNorm in
float32, grouped queries, a gated MLP and adapters as this trainer runs them; what is sharded follows Rajbhandari et al. 2019 (arXiv
1910.02054). Tests count the same bytes on a real model; docs/train.md says how far the formulas were off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from governance_hooks.training import Training
from train.estimate.hardware import GIB
from train.estimate.shape import Shape

__all__ = ["MOST_SEQUENCES", "STRATEGIES", "Layout", "Memory", "activations", "largest_forward", "memory"]

NF4_BYTES: Final = 0.5 + (1 + 4 / 256) / 64
"""Bytes a weight of QLoRA: 4 bits, and for each 64 weights a scale of 8 bits, of which each 256 share a float32 (arXiv 2305.14314, section 3)."""
DEEPSPEED_BUCKET: Final = 50_000_000
"""Numbers DeepSpeed reduces at a time (`train.strategies.zero` says so); it takes that memory whatever is trained, at stage 2 twice to overlap with computing."""
DEEPSPEED_LIVE: Final = 1_000_000_000
"""Weights that stage 3 keeps gathered (its `stage3_max_live_parameters`)."""
DDP_BUCKET: Final = 16 * 2**20
"""Numbers our DDP sums in one message."""
RUNTIME: Final = 3 * GIB // 2
"""CUDA context, libraries' workspaces and communication buffers: an allowance, not measured here."""
FRAGMENTATION: Final = 0.05
"""Of all the rest, for gaps between the allocator's blocks: an allowance, not measured here."""
MOST_SEQUENCES: Final = 4096
"""In one forward pass; where more would fit nobody asks how many."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to spread a run over devices."""

    strategy: str
    offload: bool = False

    @property
    def name(self) -> str:
        """Return its name in tables."""
        return self.strategy + "+offload" * self.offload

    @property
    def shards(self) -> tuple[bool, bool]:
        """Return whether weights, and whether gradients and optimizer, are divided among the devices."""
        return self.strategy in ("fsdp2", "zero3"), self.strategy in ("fsdp2", "zero2", "zero3")


STRATEGIES: Final = (Layout("single"), Layout("ddp"), Layout("fsdp2"), Layout("zero2"), Layout("zero2", True), Layout("zero3"), Layout("zero3", True))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What the forward pass keeps for the backward pass."""
    logits: int
    """What one chunk of the loss needs."""
    step: int
    """What the optimizer's step needs for a moment, when activations and logits are gone."""
    host: int
    """Main memory for what is kept off the device."""
    loading: int
    """What lies on the device at most while the base is loaded, before there are gradients and an optimizer."""
    loading_host: int
    """Main memory of each process meanwhile; nothing to speak of where rows are read to their places."""

    @property
    def runtime(self) -> int:
        """Return the allowance for what no formula counts."""
        return RUNTIME + int(FRAGMENTATION * self._counted)

    @property
    def _counted(self) -> int:
        return max(self.weights + self.gradients + self.optimizer + max(self.activations + self.logits, self.step), self.loading)

    @property
    def peak(self) -> int:
        """Return the most that is needed at a time."""
        return self._counted + self.runtime


def _per_token(shape: Shape, training: Training) -> int:
    """Return the bytes one block keeps for one token, without what grows with the square of the sequence."""
    size = 2 if training.precision == "bf16-true" else 4
    queries, keys, kept = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, 0
    liger = training.kernels == "liger"
    # Both RMSNorms compute in float32 and keep their input so; Liger's keep it as it comes.
    kept += 2 * shape.hidden * (size if liger else 4)
    if shape.norms_queries:
        kept += (queries + keys) * 4
    # Queries, keys, values and the output. Only flash and flex attention read keys and values of few heads as they are; the others repeat them.
    kept += (2 * queries + 2 * (keys if training.attention in ("flash", "flex") else queries)) * size + shape.heads * 4
    # Gate before and after its activation, and the other half; Liger computes the activation again.
    kept += (2 if liger else 3) * shape.intermediate * size
    adapted = shape.adapted(training) if training.lora is not None else {}
    if training.lora is None:
        # Inputs of all matrices, and what each norm's own weight is multiplied with.
        kept += (4 * shape.hidden + shape.intermediate + (queries + keys) * shape.norms_queries) * size
    elif training.lora.dropout:
        # Every adapter has its own dropped input, and the mask it was dropped with (a byte on a GPU; a whole number on a CPU).
        kept += sum(columns for _, columns in adapted.values()) * (size + 1) // shape.layers
    else:
        kept += (2 * shape.hidden + shape.intermediate) * size
    if training.lora is not None and (training.method != "lora" or training.lora.dropout or training.strategy == "zero3"):
        # What A makes of the input; a plain adapter is computed again with its layer (train.lora_product).
        kept += training.lora.rank * size * len(adapted) // shape.layers
    if training.method == "dora":
        # The magnitude's gradient needs what it scales: the frozen and the added part of each output.
        kept += 2 * sum(rows for rows, _ in adapted.values()) * size // shape.layers
    return kept


def _per_sequence(shape: Shape, training: Training) -> int:
    """Return the bytes one block keeps for one sequence because every token is compared with every other."""
    size = 2 if training.precision == "bf16-true" else 4
    square = training.sequence_tokens**2
    if training.attention == "eager":
        return shape.heads * square * (4 + (size if size < 4 else 0))  # softmax in float32, and rounded for the product with the values
    return square * size if training.attention == "sdpa" else 0  # the mask that keeps packed samples apart, as numbers to add


def activations(shape: Shape, training: Training, sequences: int) -> int:
    """Return the bytes a forward pass over `sequences` packed sequences keeps for its backward pass, up to the last hidden states."""
    size = 2 if training.precision == "bf16-true" else 4
    tokens = sequences * training.sequence_tokens
    block = tokens * _per_token(shape, training) + sequences * _per_sequence(shape, training)
    # The last norm and its output; where embeddings are frozen the first block keeps no input, which makes up for the last norm's.
    frozen = training.lora is not None
    last = tokens * shape.hidden * (size if frozen and not training.gradient_checkpointing else 4 + size * (1 if frozen else 2))
    if training.method == "dora":
        # For a moment: a matrix with its change added, and what the change is read off with (an identity matrix in peft 0.21).
        last += max(2 * rows * columns + columns * columns for rows, columns in shape.adapted(training).values()) * size
    if training.gradient_checkpointing:
        return shape.layers * tokens * shape.hidden * size + block + last
    return shape.layers * block + last


def memory(shape: Shape, training: Training, layout: Layout, devices: int, sequences: int | None = None) -> Memory:
    """Return what each of `devices` devices needs for forward passes of `sequences` sequences, the plan's number without one.

    Optimizer: AdamW's two moments in float32, and float32 masters beside bfloat16 weights (`train.optimizer`); DeepSpeed keeps masters always.
    """
    size = 2 if training.precision == "bf16-true" else 4
    sequences = training.sequences_per_forward if sequences is None else sequences
    devices = 1 if layout.strategy == "single" else devices
    trained, deepspeed = shape.trainable(training), layout.strategy in ("zero2", "zero3")
    added = 0 if training.lora is None else trained
    if training.method == "qlora":
        weights = int(shape.matrices * NF4_BYTES) + (shape.parameters - shape.matrices + added) * size
    else:
        weights = (shape.parameters + added) * size
    # 4-bit weights are made on the device while their file is read; all others come whole through main memory.
    loading, loading_host = weights, 0 if training.method == "qlora" else shape.parameters * size
    # A gradient as the backward pass leaves it, and its float32 sum over the passes of a step.
    gradients = trained * (4 if size == 4 else 2 + 4)
    optimizer = trained * (8 if size == 4 and not deepspeed else 12)
    step = trained * 4  # intermediates of AdamW over lists of tensors (torch.optim.AdamW, `foreach`)

    weights_sharded, rest_sharded = layout.shards if devices > 1 or deepspeed else (False, False)
    gathered = reduced = 0
    if weights_sharded:
        # FSDP2: the block that computes and the one fetched ahead; embedding and output projection stay whole through a pass.
        gathered = (min(DEEPSPEED_LIVE, shape.parameters) if deepspeed else 2 * shape.block + shape.embeddings + shape.head) * size
        weights = -(-weights // devices)
        if devices > 1:
            # A block, or embedding and head, is allocated whole before this process's part of it stays (`train.empty_model`).
            loading, loading_host = weights + max(shape.block, shape.embeddings + shape.head) * size, 0
    if rest_sharded:
        # FSDP2 holds the whole gradients of two blocks, and their float32 copies on the way to their owners.
        reduced = (1 + (layout.strategy == "zero2")) * DEEPSPEED_BUCKET * size if deepspeed else 2 * trained // shape.layers * (size + 4)
        gradients, optimizer, step = -(-gradients // devices), -(-optimizer // devices), -(-step // devices)
    elif layout.strategy == "ddp" and devices > 1:
        reduced = 4 * min(DDP_BUCKET, trained)
    host = 0
    if layout.offload:
        host, gradients, optimizer, step = gradients + optimizer, 0, 0, 0
        if layout.strategy == "zero3":
            loading -= weights if devices > 1 else 0
            host, weights = host + weights, 0

    every = sequences * training.sequence_tokens
    chunk = every if layout.strategy == "zero3" else min(training.loss_chunk_tokens, every)  # zero3: train.model
    # Logits as they come and, if not the same, in float32; their logarithmic softmax; the gradient.
    logits = chunk * shape.vocabulary * (12 if size == 4 else 2 + 12)
    kept = activations(shape, training, sequences)
    return Memory(weights + gathered, gradients + reduced, optimizer, kept, logits, step, host, loading, loading_host)


def largest_forward(shape: Shape, training: Training, layout: Layout, devices: int, available: int) -> int:
    """Return the largest `sequences_per_forward` whose estimate fits into `available` bytes, MOST_SEQUENCES at most; 0 if not even one sequence does."""
    low, high = 0, MOST_SEQUENCES + 1
    while high - low > 1:
        middle = (low + high) // 2
        if memory(shape, training, layout, devices, middle).peak <= available:
            low = middle
        else:
            high = middle
    return low
