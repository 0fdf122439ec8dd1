"""One mesh, one table from logical dim to mesh axis; the adapter's sharding follows from its base layer's."""

import math

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jora_model.config import ModelConfig
from jora_model.parameters import LINEAR_BY_NAME, Parameter
from jora_model.settings import MeshSettings

RULES: dict[str, str | None] = {
    "layers": None,
    "vocab": "tp",
    "heads": "tp",
    "kv_heads": "tp",
    "mlp": "tp",
    "embed": "fsdp",
    "norm": None,
    "rank": None,
}
# Rows of a batch go to every device that holds a different part of the data.
BATCH = PartitionSpec(("data", "fsdp"))


def provide_cpu_devices(settings: MeshSettings) -> None:
    """Without an accelerator, a mesh is made of CPU devices, one for each of its places; before JAX is first used.

    Two of them on two cores train faster than one on both: a device's small operations are not worth sharing out.
    """
    if settings.devices > 1:
        jax.config.update("jax_num_cpu_devices", settings.devices)


def make_mesh(settings: MeshSettings) -> Mesh:
    """A mesh with axes `data`, `fsdp`, `tp` over the first devices of this machine.

    Raises:
        ValueError: more devices are asked for than there are.
    """
    devices = jax.devices()
    if settings.devices > len(devices):
        raise ValueError(
            f"the mesh data={settings.data} x fsdp={settings.fsdp} x tp={settings.tp} needs {settings.devices} "
            f"devices and this machine has {len(devices)}; lower one of them"
        )
    return jax.make_mesh(
        (settings.data, settings.fsdp, settings.tp),
        ("data", "fsdp", "tp"),
        axis_types=(AxisType.Auto,) * 3,
        devices=devices[: settings.devices],
    )


def check_divisible(config: ModelConfig, mesh: MeshSettings) -> None:
    """Refuse a mesh that cuts through a head or leaves a remainder. Needs no device.

    Raises:
        ValueError: names the size, the axis and what is allowed. Heads are counted, not their flattened width:
            9 heads of 64 divide by 2 as numbers and not as heads.
    """
    for axis, size, what in (
        ("tp", config.num_heads, "attention heads"),
        ("tp", config.num_kv_heads, "key/value heads"),
        ("tp", config.intermediate_size, "feed-forward width"),
        ("tp", config.vocab_size, "vocabulary"),
        ("fsdp", config.hidden_size, "hidden size"),
    ):
        parts = getattr(mesh, axis)
        if size % parts:
            allowed = ", ".join(str(n) for n in range(1, min(size, 64) + 1) if size % n == 0)
            raise ValueError(f"mesh {axis}={parts} does not divide the model's {what} ({size}); allowed are {allowed}")


def check_rows(rows_per_microbatch: int, mesh: MeshSettings) -> None:
    """Refuse a microbatch that does not divide among the devices that hold different rows. Needs no device.

    Raises:
        ValueError: with a number that does.
    """
    split = mesh.data * mesh.fsdp
    if rows_per_microbatch % split:
        raise ValueError(
            f"training.rows_per_microbatch={rows_per_microbatch} is no multiple of data x fsdp = {split}; "
            f"set it to {split * math.ceil(rows_per_microbatch / split)}"
        )


def spec(dims: tuple[str, ...]) -> PartitionSpec:
    """Partition of an array by its logical dims; two dims on one mesh axis are refused."""
    axes = [RULES[dim] for dim in dims]
    used = [axis for axis in axes if axis]
    assert len(used) == len(set(used)), f"{dims} would use one mesh axis twice: {axes}"
    return PartitionSpec(*axes)


def parameter_spec(parameter: Parameter) -> PartitionSpec:
    """Partition of a base parameter."""
    return spec(("layers", *parameter.dims) if parameter.stacked else parameter.dims)


def adapter_specs(target: str) -> tuple[PartitionSpec, PartitionSpec]:
    """Partitions of A `[L, R, in]` and B transposed `[L, R, out]`, derived from the base kernel `[out, in]`.

    Column-parallel layers get A whole and B split, row-parallel ones A split and B whole; the same holds for fsdp.
    """
    out, inner = LINEAR_BY_NAME[target].dims
    return spec(("layers", "rank", inner)), spec(("layers", "rank", out))


def named(mesh: Mesh | None, partition: PartitionSpec) -> NamedSharding | None:
    """The partition on a mesh; None without one (a single default device)."""
    return None if mesh is None else NamedSharding(mesh, partition)
