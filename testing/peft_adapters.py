"""Adapters that PEFT trains on the tiny model, and the logits that PEFT and this project give with them."""

import json
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import peft
import torch
from safetensors.numpy import load_file, save_file

from jora_model.model.load import load_model
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from testing.tiny_models import VOCAB, hf_model

TOKENS = np.random.default_rng(0).integers(3, VOCAB, (2, 33), dtype=np.int32)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def trained(folder: Path, steps: int = 3, dtype: Any = None, tied: bool = False, **config: Any) -> Path:
    """An adapter that PEFT trained for a few steps, as it saves it."""
    torch.manual_seed(1)
    config = {"r": 3, "lora_alpha": 7.5, "target_modules": ALL, "task_type": "CAUSAL_LM", **config}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's advice on tied weights and saved embeddings
        model = peft.get_peft_model(hf_model(tie_word_embeddings=tied), peft.LoraConfig(**config))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.03)
        tokens = torch.tensor(TOKENS, dtype=torch.long)
        for _ in range(steps):
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.save_pretrained(folder)
    if dtype is not None:
        rewritten(folder, lambda name, tensor: (name, tensor.astype(dtype)))
    return folder


def rewritten(folder: Path, change: Any) -> Path:
    """Change the name and the tensor of every tensor of an adapter; those without a name are left out."""
    path = folder / ADAPTER_WEIGHTS
    changed = [change(name, tensor) for name, tensor in load_file(path).items()]
    save_file({name: tensor for name, tensor in changed if name}, path, metadata={"format": "pt"})
    return folder


def edited(folder: Path, **changes: Any) -> Path:
    """Change values of an adapter's config."""
    path = folder / ADAPTER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def their_logits(folder: Path, tied: bool = False) -> np.ndarray:
    """PEFT's logits of TOKENS with an adapter, not merged."""
    return logits_of(their_model(folder, tied))


def their_model(folder: Path, tied: bool = False) -> Any:
    """The tiny model in PEFT with an adapter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(hf_model(tie_word_embeddings=tied), folder).eval()


def logits_of(model: Any) -> np.ndarray:
    """Logits of TOKENS of a model of transformers or PEFT."""
    with torch.no_grad():
        logits: np.ndarray = model(torch.tensor(TOKENS, dtype=torch.long)).logits.numpy()
    return logits


def our_logits(base: Path, adapter: Path | None = None) -> np.ndarray:
    """This project's logits of TOKENS, in float32."""
    model = load_model(base, adapter=adapter, compute_dtype=jnp.float32)
    positions = np.broadcast_to(np.arange(TOKENS.shape[1], dtype=np.int32), TOKENS.shape)
    reach = jnp.full(TOKENS.shape, TOKENS.shape[1], jnp.int32)
    return np.asarray(model.head(model.hidden_states(jnp.asarray(TOKENS), jnp.asarray(positions), reach)))


def assert_close(ours: np.ndarray, theirs: np.ndarray, share: float = 1e-4) -> None:
    """Equal to a share of the largest."""
    np.testing.assert_allclose(ours, theirs, rtol=share, atol=share * np.abs(theirs).max())
