"""The mesh, the table from logical dim to mesh axis, and the adapter's sharding, derived from its base layer's."""

import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, Parameter
from jora_model.spec.settings import MeshSettings
from user_error import UserError

Rules = Mapping[str, str | None]

RULES: Rules = {
    "layers": None,
    "vocab": "tp",
    "heads": "tp",
    "kv_heads": "tp",
    "mlp": "tp",
    "embed": "fsdp",
    "norm": None,
    "head_dim": None,
    # Parts of different heads stand side by side in these: split, a device would hold pieces of all three.
    "qkv": None,
    "gate_up": None,
    "rank": None,
}
# A batch's rows are split over `data` and `fsdp`.
BATCH = PartitionSpec(("data", "fsdp"))


def provide_cpu_devices(settings: MeshSettings, processes: int = 1) -> None:
    """Configure the CPU devices of this process's share of the mesh, for use without accelerators; before JAX is used.

    Two devices on two cores train faster than one device on both: small operations do not gain from several threads.

    Raises:
        UserError: the number of processes does not divide the mesh's devices.
    """
    if settings.devices % processes:
        raise UserError(
            f"{_describe(settings)} has {settings.devices} devices, which {processes} processes cannot share evenly; "
            "make their number a multiple of the processes"
        )
    if settings.devices > 1:
        jax.config.update("jax_num_cpu_devices", settings.devices // processes)


def make_mesh(settings: MeshSettings, chips: Sequence[jax.Device] = ()) -> Mesh:
    """A mesh with axes `data`, `fsdp`, `tp` over the first devices of this machine, or of each process.

    Args:
        chips: use the first of these instead.

    Raises:
        UserError: the mesh needs more devices than there are.
    """
    if chips:
        return _mesh_of(settings, chips[: settings.devices])
    processes = jax.process_count()
    share = settings.devices // processes
    devices = []
    for process in range(processes):
        local = [device for device in jax.devices() if device.process_index == process]
        if share > len(local):
            whose = "this machine" if processes == 1 else f"process {process}"
            raise UserError(
                f"{_describe(settings)} needs {share} devices and {whose} has {len(local)}; lower one of them"
            )
        devices += local[:share]
    return _mesh_of(settings, devices)


def _mesh_of(settings: MeshSettings, devices: Sequence[jax.Device]) -> Mesh:
    return jax.make_mesh(
        (settings.data, settings.fsdp, settings.tp),
        ("data", "fsdp", "tp"),
        axis_types=(AxisType.Auto,) * 3,
        devices=devices,
    )


def _describe(settings: MeshSettings) -> str:
    return f"the mesh data={settings.data} x fsdp={settings.fsdp} x tp={settings.tp}"


def check_divisible(config: ModelConfig, mesh: MeshSettings) -> None:
    """Check that the mesh divides the model's sizes and splits no head. Needs no device.

    Raises:
        UserError: names the size, the axis and what is allowed. Heads are counted, not their flattened width:
            9 heads of 64 divide by 2 as numbers and not as heads.
    """
    for axis, size, what in (
        ("tp", config.num_heads, "attention heads"),
        ("tp", config.intermediate_size, "feed-forward width"),
        ("tp", config.vocab_size, "vocabulary"),
        ("fsdp", config.hidden_size, "hidden size"),
    ):
        parts = getattr(mesh, axis)
        if size % parts:
            allowed = ", ".join(str(n) for n in range(1, min(size, 64) + 1) if size % n == 0)
            raise UserError(f"mesh {axis}={parts} does not divide the model's {what} ({size}); allowed are {allowed}")
    if config.num_kv_heads % mesh.tp and mesh.tp % config.num_kv_heads:
        # A device's query heads would need parts of two key/value heads' groups.
        raise UserError(
            f"mesh tp={mesh.tp} neither divides the model's key/value heads ({config.num_kv_heads}) nor is a multiple "
            "of them; choose a divisor or a multiple"
        )


def check_rows(rows: int, mesh: MeshSettings) -> None:
    """Check that the devices which split a microbatch's rows divide their number.

    Raises:
        UserError: they do not; the message has the next number that they divide.
    """
    split = mesh.data * mesh.fsdp
    if rows % split:
        raise UserError(
            f"training.rows_per_microbatch={rows} is no multiple of data x fsdp = {split}; "
            f"set it to {split * math.ceil(rows / split)}"
        )


def rules_for(config: ModelConfig, tp: int) -> Rules:
    """RULES for a model: key/value heads that are fewer than `tp` are replicated.

    Query heads stay split, and each device attends with the one key/value head that its query heads need. In return,
    each device holds the full k and v kernels and their activations (`replicated_note` reports it).
    """
    return {**RULES, "kv_heads": None} if config.num_kv_heads % tp else RULES


def replicated_note(config: ModelConfig, tp: int) -> str | None:
    """A line for logs and plans if key/value heads are replicated over `tp`; else None."""
    if rules_for(config, tp)["kv_heads"]:
        return None
    return f"{config.num_kv_heads} key/value heads are fewer than tp={tp}: every device holds all of them"


def spec(dims: tuple[str, ...], rules: Rules) -> PartitionSpec:
    """Partition of an array by its logical dims, which must map to different mesh axes."""
    axes = [rules[dim] for dim in dims]
    used = [axis for axis in axes if axis]
    assert len(used) == len(set(used)), f"{dims} would use one mesh axis twice: {axes}"
    return PartitionSpec(*axes)


def parameter_spec(parameter: Parameter, rules: Rules) -> PartitionSpec:
    """Partition of a base parameter."""
    return spec(("layers", *parameter.dims) if parameter.stacked else parameter.dims, rules)


def adapter_specs(target: str, rules: Rules) -> tuple[PartitionSpec, PartitionSpec, PartitionSpec]:
    """Partitions of A `[L, R, in]`, B transposed `[L, R, out]` and DoRA's m `[L, out]`, by the base kernel `[out, in]`.

    Column-parallel layers have A replicated and B split, row-parallel ones A split and B replicated; so for fsdp.
    """
    out, inner = LINEAR_BY_NAME[target].dims
    return spec(("layers", "rank", inner), rules), spec(("layers", "rank", out), rules), spec(("layers", out), rules)


def tp_size(mesh: Mesh | None) -> int:
    """Number of devices along `tp`; 1 without a mesh."""
    return 1 if mesh is None else int(mesh.shape["tp"])


def named(mesh: Mesh | None, partition: PartitionSpec) -> NamedSharding | None:
    """The partition on a mesh; None without one (a single default device)."""
    return None if mesh is None else NamedSharding(mesh, partition)
