"""From a base and an adapter to weights that load alone: merged safetensors and GGUF files, and the proof that they say the same."""
