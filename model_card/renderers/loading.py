"""How to load a release: the code that stands in the README, which the tests run as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ADAPTER", "WHOLE", "how_to_load"]

_ASK: Final = """messages = [{"role": "user", "content": "What is the sun?"}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=60)[0][prompt["input_ids"].shape[1]:]))
```"""

WHOLE: Final = f"""In this folder; nothing else is needed:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
{_ASK}"""

ADAPTER: Final = f"""In this folder, with the base weights whose digest stands under Provenance (`coop base FOLDER` prints the digest of a folder):

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "BASE"  # the folder of the base weights
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "adapter")
{_ASK}"""


def how_to_load(card: Mapping[str, Any]) -> str:
    """Return the code for the weights this folder holds: whole ones, an adapter, and files for llama.cpp and its kin."""
    derived = card["weights"]["derived"]
    paths = [path for path in derived if path.startswith("derived/")]
    parts = []
    if "derived/merge.json" in paths or card["training"]["method"]["value"] == "full":
        parts.append(WHOLE)
    if card["training"]["method"]["value"] != "full":
        parts.append(ADAPTER if not parts else "Or the adapter alone. " + ADAPTER)
    if any(path != "derived/merge.json" for path in paths):
        parts.append(
            "For llama.cpp, Ollama and others: the files in `gguf/`. `coop verify --rederive` makes them again from base and adapter and compares every byte."
        )
    return "\n\n".join(parts)
