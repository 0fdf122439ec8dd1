"""Loss on held-out examples against PEFT's: `python -m bench.loss_parity --squad FILE [--quick]`.

Both sides train on the same RAFT examples of a SQuAD file in the same order, from the same initial adapter, for equally
many AdamW updates with clipping at 1: SmolLM2-135M in bf16, rank 16 on all linears, adapters in float32. Ours: the
Trainer of `jora train`. Peer: transformers and PEFT under bf16 autocast, one example per batch; the loss of an update
is the mean over its target tokens. Both adapters are then evaluated by our forward pass in float32 on examples of other
contexts. Their difference should be within the spread between seeds (initial adapter and order).

About 12 minutes; --quick (fewer and shorter) about 3.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.machine import describe_machine
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.formats.lora import write_adapter
from jora_model.model.load import adapter_factors, load_model
from jora_model.packing.sequences import Sequence, read_sequences
from jora_model.packing.tries import families, pack_evenly
from jora_model.runtime.sharding import make_mesh, provide_cpu_devices
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings
from jora_model.training.optimizer import learning_rate_at
from jora_model.training.step import Trainer

LORA = LoraSettings(rank=16, alpha=32.0, target_modules=("all-linear",))
MESH = MeshSettings(data=2)
ROW_LENGTH = 2560


def main() -> None:
    """Train and evaluate both sides for each seed, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, required=True, help="a SQuAD-format file")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    provide_cpu_devices(MESH)
    print(describe_machine("jax", "jaxlib", "torch", "transformers", "peft"), flush=True)
    seeds, updates, size, held_out = (2, 3, 8, 16) if arguments.quick else (3, 6, 16, 64)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sequences = _prepare(folder, arguments.squad)
        groups = [sequences[index] for family in families(sequences, len(sequences)) for index in _flat(family)]
        evaluation, training = groups[:held_out], groups[held_out:]
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(training))[: updates * size]
            batches = [[training[index] for index in part] for part in order.reshape(updates, size)]
            settings = TrainSettings(
                seed=seed, learning_rate=4e-4, schedule="constant", warmup_fraction=0.0, row_length=ROW_LENGTH
            )
            start, ours, peer = (folder / f"{side} {seed}" for side in ("start", "ours", "peer"))
            model = load_model(folder / "base", lora=LORA, mesh=make_mesh(MESH), seed=seed)
            write_adapter(start, adapter_factors(model), LORA, "base")
            trainer = Trainer(model, settings, updates)
            _train_ours(trainer, batches)
            write_adapter(ours, adapter_factors(trainer.model), LORA, "base")
            _train_peer(folder / "base", start, batches, settings, peer)
            losses = [_measure(folder / "base", adapter, evaluation) for adapter in (start, ours, peer)]
            print("seed {}: initial {:.4f}, ours {:.4f}, peer {:.4f}".format(seed, *losses), flush=True)
            results.append(losses)
    ours_losses, peer_losses = [loss[1] for loss in results], [loss[2] for loss in results]
    differences = [a - b for a, b in zip(ours_losses, peer_losses, strict=True)]
    print(f"figure evaluation_loss_ours {statistics.mean(ours_losses):.4f}")
    print(f"figure evaluation_loss_peer {statistics.mean(peer_losses):.4f}")
    print(f"figure evaluation_loss_difference {statistics.mean(differences):+.4f}")
    print(f"figure evaluation_loss_largest_difference {max(differences, key=abs):+.4f}")
    print(f"figure evaluation_loss_spread_of_seeds {max(peer_losses) - min(peer_losses):.4f}")


def _prepare(folder: Path, squad: Path) -> list[Sequence]:
    from bench.squad_workload import squad_sequences
    from data.raft.sequences import write_sequences

    import_gguf(resolve_base("embedded"), folder / "base")
    write_sequences(folder, squad_sequences(squad, folder / "base"))
    return read_sequences(folder)


def _flat(family: Any) -> list[int]:
    return [family] if isinstance(family, int) else [index for member in family for index in _flat(member)]


def _train_ours(trainer: Trainer, batches: Seq[Seq[Sequence]]) -> None:
    for number, batch in enumerate(tqdm(batches, desc="ours", unit="update")):
        rows = pack_evenly(batch, ROW_LENGTH, MESH.devices)
        sums = trainer.zero()
        for microbatch, start in enumerate(range(0, len(rows), MESH.devices)):
            sums = trainer.accumulate(sums, rows.slice(start, MESH.devices), number, microbatch)
        trainer.apply(sums)


def _train_peer(base: Path, adapter: Path, batches: Seq[Seq[Sequence]], settings: TrainSettings, out: Path) -> None:
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation="sdpa")
    model = peft.PeftModel.from_pretrained(model, adapter, is_trainable=True, autocast_adapter_dtype=True).train()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.dtype == torch.float32 for parameter in trainable)
    optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rates = np.asarray(learning_rate_at(settings, len(batches))(np.arange(len(batches), dtype=np.float32)))
    for rate, batch in zip(rates.tolist(), tqdm(batches, desc="peer", unit="update"), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        tokens = sum(len(sequence.predict_at) for sequence in batch)
        optimizer.zero_grad()
        for sequence in batch:
            ids = torch.from_numpy(sequence.tokens.astype(np.int64))[None]
            positions = torch.from_numpy(sequence.predict_at.astype(np.int64))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(input_ids=ids).logits[0, positions].float()
            targets = ids[0, positions + 1]
            (torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / tokens).backward()
        torch.nn.utils.clip_grad_norm_(trainable, settings.clip_norm)
        optimizer.step()
    model.save_pretrained(out)


def _measure(base: Path, adapter: Path, sequences: Seq[Sequence]) -> float:
    """Return the mean loss over the target tokens, in float32."""
    model = load_model(base, adapter=adapter, mesh=make_mesh(MESH), compute_dtype="float32")
    trainer = Trainer(model, TrainSettings(row_length=ROW_LENGTH, compute_dtype="float32"), 1)
    rows = pack_evenly(sequences, ROW_LENGTH, MESH.devices)
    total = trainer.evaluate(rows.slice(start, MESH.devices) for start in range(0, len(rows), MESH.devices))
    return total / float(rows.weights.sum())


if __name__ == "__main__":
    main()
