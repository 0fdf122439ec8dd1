"""The machine that a benchmark runs on: description, peak FLOP/s, memory of a process."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path


def describe_machine(*packages: str) -> str:
    """Return one line: processor, cores, memory, Python and the versions of the packages."""
    processors = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = processors[0].split(":", 1)[1].strip() if processors else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{name}, {len(processors)} cores, {memory:.0f} GiB; Python {platform.python_version()}, {versions}"


def peak_bytes(pid: int) -> int:
    """Return a running process's peak resident memory so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def product_peak() -> float:
    """Return FLOP/s of a bf16 product that accumulates in float32, on all of JAX's devices at once."""
    import jax
    import jax.numpy as jnp

    M, inner, out = 4096, 576, 1536
    product = jax.jit(lambda x, w: jnp.einsum("mi,oi->mo", x, w, preferred_element_type=jnp.float32))
    pairs = [
        jax.device_put((jnp.ones((M, inner), jnp.bfloat16), jnp.ones((out, inner), jnp.bfloat16)), device)
        for device in jax.devices()
    ]
    best = float("inf")
    for _ in range(8):
        begun = time.monotonic()
        jax.block_until_ready([product(*pair) for pair in pairs])
        best = min(best, time.monotonic() - begun)
    return 2.0 * M * inner * out * len(pairs) / best
