"""Memory per device compared with JORA: `python -m bench.memory_plan [--quick]` (20 seconds).

Llama-2-7B, rank 16 on q and v, one example of 512 tokens, tensor-parallel on 1, 2 and 4 devices, by `jora plan`. JORA's
figures are from its paper (arXiv 2403.11366), measured on GPUs in MB, which may mean 10^6 or 2^20 bytes, so both ratios
are printed and the figure uses MiB. Ours count everything that a device holds in training, with
temporaries as XLA's CPU backend allocates them, but no CUDA context, which JORA's may include.
"""

import argparse

from bench.machine import describe_machine
from bench.planning import plan_footprint
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings

JORA_MB = {1: 23_102, 2: 16_068, 4: 11_460}
GOALS = {1: 0.6, 2: 0.44, 4: 0.32}
LORA = LoraSettings(rank=16, target_modules=("q_proj", "v_proj"))


def main() -> None:
    """Print a line for each number of devices, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no effect: takes 20 seconds")
    parser.parse_args()
    print(describe_machine("jax", "jaxlib", "flax", "optax"))
    head = ("devices", "weights", "adapter", "optimizer", "sums", "temporaries", "total MiB")
    print("{:>7} {:>9} {:>8} {:>9} {:>6} {:>11} {:>9}".format(*head))
    figures = {}
    for devices, theirs in JORA_MB.items():
        plan = plan_footprint("llama-2-7b", LORA, MeshSettings(tp=devices), TrainSettings(row_length=512))
        parts = (plan.weights, plan.adapter, plan.optimizer, plan.sums, plan.temporaries, plan.total)
        print("{:>7} {:>9,.0f} {:>8,.0f} {:>9,.0f} {:>6,.0f} {:>11,.0f} {:>9,.0f}".format(devices, *_mib(parts)))
        ours = plan.total / 2**20
        figures[f"memory_plan_mib_{devices}"] = f"{ours:.0f}"
        figures[f"memory_plan_ratio_{devices}"] = f"{ours / theirs:.3f}"
        print(
            f"{'':>7} JORA {theirs:,} MB; ratio {ours / theirs:.3f} (in 10^6 bytes {plan.total / 1e6 / theirs:.3f}), "
            f"goal {GOALS[devices]}; compiled in {plan.compile_seconds:.1f} s"
        )
    for name, value in figures.items():
        print(f"figure {name} {value}")


def _mib(sizes: tuple[int, ...]) -> list[float]:
    return [size / 2**20 for size in sizes]


if __name__ == "__main__":
    main()
