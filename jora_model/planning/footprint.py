"""Memory, compile time and operations of the training step on a mesh, compiled without any array.

    footprint = measure(config, lora, MeshSettings(tp=2), TrainSettings(row_length=512))

The programs are the trainer's own (`Trainer.lower`). Full rows represent the data: prefix tries save rows, and not the
memory of one.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jora_model.model.abstract import abstract_model
from jora_model.ops.blocked_attention import QUERY_BLOCKS, TILES
from jora_model.ops.position_blocks import POSITION_BLOCKS, positions_of_block
from jora_model.packing.sequences import Sequence as Example
from jora_model.packing.tiles import block_count, most_tiles
from jora_model.packing.tries import Rows, pack
from jora_model.planning.flops import model_flops, program_flops
from jora_model.planning.plan_job import Footprint
from jora_model.runtime.sharding import check_divisible, check_rows, make_mesh
from jora_model.spec.config import ModelConfig
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings
from jora_model.training.step import Trainer, arrays_of
from user_error import UserError


class OutOfMemoryError(UserError):
    """The step does not fit the chip, by its compiler."""


def measure(
    config: ModelConfig,
    lora: LoraSettings,
    mesh: MeshSettings,
    training: TrainSettings,
    chips: Sequence[jax.Device] = (),
) -> Footprint:
    """Compile the step for this mesh, which needs as many devices, virtual or real; returns its costs.

    Args:
        chips: devices of a topology; the first of them are compiled for, instead of JAX's own.

    Raises:
        OutOfMemoryError: a chip's compiler reports that the step does not fit.
        UserError: the mesh does not divide the model or the rows, or there are too few devices.
    """
    check_divisible(config, mesh)
    check_rows(training.rows_per_microbatch, mesh)
    placed = make_mesh(mesh, chips) if mesh.devices > 1 else None
    model = abstract_model(config, lora, placed, training.compute_dtype, chips[0] if chips else None)
    trainer = Trainer(model, training, updates=2)
    rows = full_rows(training)
    begun = time.monotonic()
    try:
        programs = {name: lowered.compile() for name, lowered in trainer.lower(rows).items()}
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")
        raise OutOfMemoryError(
            f"rows of {training.row_length:,} tokens do not fit ({said}); lower training.row_length, or use more "
            "devices (mesh.fsdp, mesh.tp)"
        ) from None
    compile_seconds = time.monotonic() - begun
    needed = model_flops(config, lora, training.row_length)
    program = programs["accumulate"]
    # A TPU's program has convolutions instead of dots, and its loops have no trip counts.
    executed = None if chips else program_flops(program.as_text(), _full_turns(config, mesh, training.row_length))
    weights, adapter = _bytes(trainer.frozen), _bytes(trainer.state.adapter)
    # The gradient of the adapter and two scalars, on each device that runs rows.
    sums = adapter + 2 * np.dtype(np.float32).itemsize
    batch = sum(array.nbytes for array in arrays_of(rows, config).values()) // (mesh.data * mesh.fsdp)
    # A TPU pads arrays to full tiles.
    padding = max(program.memory_analysis().argument_size_in_bytes - (weights + adapter + sums + batch), 0)
    return Footprint(
        mesh=mesh,
        row_length=training.row_length,
        rows_per_microbatch=training.rows_per_microbatch,
        weights=weights,
        adapter=adapter,
        optimizer=_bytes(trainer.state.optimizer),
        sums=sums,
        rows=batch,
        # Not of `zero`, whose results are the sums.
        temporaries=padding + max(_scratch(programs[name]) for name in ("accumulate", "apply")),
        compile_seconds=compile_seconds,
        model_flops=needed.per_token,
        program_flops=executed.fixed * mesh.devices / rows.tokens.size if executed else None,
        answer_flops=needed.per_answer_token,
    )


def _full_turns(config: ModelConfig, mesh: MeshSettings, length: int) -> dict[str, float]:
    """Trip counts of the loops that end with a row's data, for a full row: all tiles of its causal half."""
    heads = max(config.num_kv_heads // mesh.tp, 1)
    return {
        POSITION_BLOCKS: length // positions_of_block(length),
        QUERY_BLOCKS: heads * block_count(length),
        TILES: most_tiles(length) / block_count(length),
    }


def full_rows(training: TrainSettings) -> Rows:
    """A microbatch of rows with one example each, trainable from its second token to its end."""
    length = training.row_length
    example = Example("full", np.ones(length, np.int32), np.arange(length) > 0)
    return pack([example] * training.rows_per_microbatch, length)


def _bytes(tree: Any) -> int:
    """Bytes per device of a tree of arrays or their shapes."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _scratch(program: Any) -> int:
    """Bytes per device of a program's temporaries, new outputs and code. Its own peak field omits the temporaries."""
    sizes = program.memory_analysis()
    fresh = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return int(sizes.temp_size_in_bytes + fresh + sizes.generated_code_size_in_bytes)
