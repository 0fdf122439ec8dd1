"""Job and answer of a plan, as JSON; no JAX here, so that the command line can import it."""

from pydantic import BaseModel, ConfigDict, Field

from jora_model.packing.tiles import LARGE
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings


class PlanJob(BaseModel):
    """Plan one mesh and row length or, with `device_memory`, the longest row for numbers of devices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="A shipped config, a config.json or its folder, a .gguf file, or embedded.")
    output: str = Field(description="JSON file for the answer.")
    lora: LoraSettings = LoraSettings()
    mesh: MeshSettings = MeshSettings()
    training: TrainSettings = TrainSettings()
    device_memory: int | None = Field(None, ge=1, description="Bytes of a device; searches the longest row.")
    topology: str | None = Field(None, description="Compile for these chips, such as v5e:2x2, not for virtual devices.")
    devices: tuple[int, ...] = Field((1, 2, 4, 8), min_length=1, description="Numbers of devices to search for.")
    longest: int = Field(32_768, ge=LARGE, description="Longest row that is tried.")


class Footprint(BaseModel):
    """Memory of one device in training, in bytes, and the cost of a step.

    Attributes:
        weights, adapter, optimizer: the device's shards, held all the time.
        sums: the running gradient of an update.
        rows: one microbatch's arrays.
        temporaries: activations and other scratch of the program that needs most, and its code; on a chip that pads
            arrays to full tiles, also the padding.
        compile_seconds: of all programs of an update.
        model_flops, program_flops: per token of a full row, without the head; all devices together. The program's
            exceed the model's by what the backward pass recomputes (`remat`, and the scores) and by masked products.
            None for a chip, whose program text has no counts.
        answer_flops: of the head, per trainable token.
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
        """Bytes that a device must hold at once."""
        return self.weights + self.adapter + self.optimizer + self.sums + self.rows + self.temporaries


class Longest(BaseModel):
    """The longest row for a number of devices.

    Attributes:
        mesh: the one that allows the longest row.
        footprint: of the longest row that fits; None if no row fits.
        needed: bytes of that row, or of the shortest row if none fits; None if a chip's compiler only refuses.
        capped: the longest row of the search fits, so a longer one may fit too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: int
    mesh: MeshSettings
    footprint: Footprint | None
    needed: int | None
    capped: bool


class Chip(BaseModel):
    """A chip of a topology: its name, and the bytes that a program may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memory: int | None


class PlanAnswer(BaseModel):
    """The output of `python -m jora_model.planning.plan`: a footprint or the longest rows, and notes for the user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    footprint: Footprint | None = None
    longest: tuple[Longest, ...] = ()
    chip: Chip | None = None
    notes: tuple[str, ...] = ()
