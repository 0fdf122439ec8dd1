"""Transformers and PEFT on a GPU: bf16, SDPA, fused AdamW, sorted by length; see bench/on_gpu.py."""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

RANK, ALPHA, EXAMPLES = 16, 32.0, 64
# Which sequences, gradient checkpointing, batch size, torch.compile.
PEER_RUNS = (
    ("shared", False, 8, False),
    ("shared", False, 16, False),
    ("shared", False, 32, False),
    ("shared", True, 4, False),
    ("shared", True, 16, False),
    ("shared", True, 64, False),
    ("shared", False, 8, True),
    ("unshared", False, 8, False),
    ("unshared", False, 32, False),
    ("unshared", True, 4, False),
)


def measure_peer(
    name: str, base: Path, folder: Path, checkpointing: bool, size: int, compiled: bool
) -> dict[str, float]:
    """Measure, print and return examples per second and peak memory."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from jora_model.packing.sequences import read_sequences

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.empty_cache()  # frees the previous run's memory
        torch.cuda.reset_peak_memory_stats()
    sequences = read_sequences(folder)
    chosen = np.random.default_rng(0).permutation(len(sequences))[:EXAMPLES]
    examples = sorted((sequences[index] for index in chosen), key=lambda sequence: -len(sequence.tokens))
    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation="sdpa")
    base_model = base_model.to(device)
    if checkpointing:
        base_model.gradient_checkpointing_enable({"use_reentrant": False})
        base_model.enable_input_require_grads()
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base_model, config, autocast_adapter_dtype=False)
    model.train()
    run = torch.compile(model, dynamic=True) if compiled else model
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4, fused=device == "cuda")

    def batch(some: list[Any]) -> dict[str, Any]:
        shape = (len(some), max(len(sequence.tokens) for sequence in some))
        ids, mask, labels = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -100)
        for row, sequence in enumerate(some):
            length = len(sequence.tokens)
            ids[row, :length], mask[row, :length] = sequence.tokens, 1
            labels[row, :length] = np.where(sequence.loss_mask, sequence.tokens, -100)
        arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return {key: torch.from_numpy(array).to(device) for key, array in arrays.items()}

    batches = [batch(examples[start : start + size]) for start in range(0, len(examples), size)]

    def update() -> float:
        begun = time.monotonic()
        for inputs in batches:
            loss = run(**inputs).loss / len(batches)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())
        return time.monotonic() - begun

    update()
    seconds = statistics.median(update() for _ in range(3))
    mib = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    tokens = sum(len(sequence.tokens) for sequence in examples)
    print(
        f"{name}: {EXAMPLES / seconds:.1f} examples/s, {tokens / seconds:,.0f} tokens/s, {1000 * seconds:.0f} ms per "
        f"update, peak memory {mib:,.0f} MiB",
        flush=True,
    )
    return {"speed": EXAMPLES / seconds, "mib": mib}
