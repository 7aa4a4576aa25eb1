"""A tiny Llama in Hugging Face format with a byte-level ChatML tokenizer: real code paths, no download."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from governance_hooks.canonical import dumps

TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_base(folder: Path, *, system: str | None = None) -> Path:
    """Write a two-layer Llama of 64 dimensions with a byte-level tokenizer, whose template begins with the message `system` if there is one."""
    folder.mkdir(parents=True)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(["user assistant question answer"] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(ids | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}))
    before = "" if system is None else "<|im_start|>system\n" + system + "<|im_end|>\n"
    (folder / "chat_template.jinja").write_text(before + TEMPLATE)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "base.json").write_bytes(dumps({"format": "coop.base/v1", "name": "village/tiny", "licence": "Apache-2.0"}))
    return folder
