"""Memory against row length: `python -m bench.row_length [--quick]` (2 minutes; quick: rows up to 2,048).

SmolLM2-135M, rank 16 on q and v, one device, by `jora plan`: temporaries of the training step with attention in blocks,
and with the dense reference (`attention.attend`) in its place. The slope is that of a line through the logarithms: 1 is
memory in proportion to the row, 2 to its square. (Step time against row length is not measured here.)
"""

import argparse

import numpy as np
from jaxtyping import Array

import jora_model.model
from bench.machine import describe_machine
from jora_model.attention import attend, visible
from jora_model.blocked_attention import attend_blocked
from jora_model.footprint import measure
from jora_model.job import TrainSettings
from jora_model.named_config import config_of
from jora_model.plan import use_virtual_devices
from jora_model.settings import LoraSettings, MeshSettings

LENGTHS = (512, 1024, 2048, 4096, 8192)
LORA = LoraSettings(rank=16, target_modules=("q_proj", "v_proj"))


def main() -> None:
    """Print a line for each row length, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rows up to 2,048 tokens only")
    lengths = LENGTHS[:3] if parser.parse_args().quick else LENGTHS
    print(describe_machine("jax", "jaxlib", "flax", "optax"))
    use_virtual_devices(1)
    print(f"{'tokens':>7} {'blocked MiB':>12} {'dense MiB':>12}")
    blocked, dense = [], []
    for length in lengths:
        blocked.append(temporaries(attend_blocked, length))
        dense.append(temporaries(attend_dense, length))
        print(f"{length:>7,} {blocked[-1]:>12,.0f} {dense[-1]:>12,.0f}", flush=True)
    for name, sizes in (("blocked", blocked), ("dense", dense)):
        slope = np.polyfit(np.log(lengths), np.log(sizes), 1)[0]
        print(f"figure row_length_memory_slope_{name} {slope:.2f}")
    print(f"figure row_length_memory_dense_over_blocked_{lengths[-1]} {dense[-1] / blocked[-1]:.2f}")


def attend_dense(q: Array, k: Array, v: Array, reach: Array, *_: object) -> Array:
    """The reference, called as `attend_blocked` is; it needs neither tiles nor, on one device, a mesh."""
    return attend(q, k, v, visible(reach))


def temporaries(attention: object, row_length: int) -> float:
    """MiB of the step with this attention in the model's layers."""
    jora_model.model.attend_blocked = attention  # type: ignore[assignment]
    found = measure(config_of("embedded"), LORA, MeshSettings(), TrainSettings(row_length=row_length))
    return found.temporaries / 2**20


if __name__ == "__main__":
    main()
