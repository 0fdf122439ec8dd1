"""Tiny random models of the real Hugging Face classes, with odd constants: no default can pass for a reading."""

from pathlib import Path
from typing import Any

VOCAB = 97


def hf_model(seed: int = 0, **changes: object) -> Any:
    """A random LlamaForCausalLM: theta 12,345, epsilon 3e-4, 4 query and 2 key/value heads, head size not D / N."""
    import torch
    import transformers

    facts: dict[str, object] = {
        "vocab_size": VOCAB + 7,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 3e-4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 12345.0},
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
    }
    facts.update(changes)
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**facts))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Away from zero and one, so that norms and scales matter.
            weight.copy_(torch.randn_like(weight) * 0.3 + 1 if "norm" in name else torch.randn_like(weight) * 0.15)
    return model.eval()


def hf_folder(folder: Path, seed: int = 0, **changes: object) -> Path:
    """The same, saved as safetensors (float32)."""
    hf_model(seed, **changes).save_pretrained(folder)
    return folder
