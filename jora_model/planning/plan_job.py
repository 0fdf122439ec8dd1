"""What a plan is asked and what it answers. JSON; no JAX here, so that the command line can read it."""

from pydantic import BaseModel, ConfigDict, Field

from jora_model.packing.tiles import LARGE
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings


class PlanJob(BaseModel):
    """Plan one mesh and row length; or, with `device_memory`, the longest row for numbers of devices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="A shipped config, a config.json or its folder, a .gguf file, or embedded.")
    output: str = Field(description="JSON file for the answer.")
    lora: LoraSettings = LoraSettings()
    mesh: MeshSettings = MeshSettings()
    training: TrainSettings = TrainSettings()
    device_memory: int | None = Field(None, ge=1, description="Bytes that a device has; searches the longest row.")
    topology: str | None = Field(None, description="Compile for this, such as v5e:2x2, and not for virtual devices.")
    devices: tuple[int, ...] = Field((1, 2, 4, 8), min_length=1, description="Numbers of devices to search for.")
    longest: int = Field(32_768, ge=LARGE, description="Longer rows are not looked at.")


class Footprint(BaseModel):
    """What one device holds while it trains, in bytes, and what the step costs.

    Attributes:
        weights, adapter, optimizer: there all the time; sums of the device's shards.
        sums: the running gradient of an update.
        rows: one microbatch's arrays.
        temporaries: activations and all other scratch of the hungriest program, and its code; and on a chip that fills
            arrays up to whole tiles, what it fills.
        compile_seconds: of all programs of an update.
        model_flops, program_flops: per token of a full row, without the head; all devices together. What the
            program does beyond the model's is computed again in the backward pass (`remat`, and the scores), or masked.
            None for a chip, whose program does not tell.
        answer_flops: of the head, per learnt token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mesh: MeshSettings
    row_length: int
    rows_per_microbatch: int
    weights: int
    adapter: int
    optimizer: int
    sums: int
    rows: int
    temporaries: int
    compile_seconds: float
    model_flops: float
    program_flops: float | None
    answer_flops: float

    @property
    def total(self) -> int:
        """All that a device must hold at once."""
        return self.weights + self.adapter + self.optimizer + self.sums + self.rows + self.temporaries


class Longest(BaseModel):
    """The longest row for a number of devices.

    Attributes:
        mesh: the one that goes furthest.
        footprint: of the longest row that fits; None when not even the shortest does.
        needed: bytes that this row needs, or the shortest where none fits; None where a chip's compiler only refuses.
        capped: the limit of the search fits, so that a longer row may.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: int
    mesh: MeshSettings
    footprint: Footprint | None
    needed: int | None
    capped: bool


class Chip(BaseModel):
    """What a topology is made of: the name of its devices, and the bytes that a program may use on each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memory: int | None


class PlanAnswer(BaseModel):
    """What `python -m jora_model.planning.plan` writes: a footprint, or the longest rows; and remarks for a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    footprint: Footprint | None = None
    longest: tuple[Longest, ...] = ()
    chip: Chip | None = None
    notes: tuple[str, ...] = ()
