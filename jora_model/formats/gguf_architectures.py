"""What llama.cpp's architectures express and compute, as data; import and export of GGUF files read it.

Source: llama.cpp, conversion/*.py (the fields, and how tensors are stored) and src/models/*.cpp (what is computed).
"""

from dataclasses import dataclass
from typing import Literal

from jora_model.spec.architecture import ATTENTION, MLP
from jora_model.spec.config import Activation
from jora_model.spec.rope import Kind

_ALL_BIASES = (*ATTENTION, *MLP)
_PLAIN: tuple[Kind, ...] = ("default", "dynamic", "linear", "yarn")
_BY_TENSOR: tuple[Kind, ...] = ("llama3", "longrope")


@dataclass(frozen=True)
class GgufArchitecture:
    """One architecture of llama.cpp.

    Attributes:
        name: in `general.architecture`, and the prefix of its fields.
        permuted: rows of queries and keys are interleaved within each head, since llama.cpp rotates neighbours.
        biases: linears whose bias it reads.
        head: whether it has a head of its own, the embedding as head, or both kinds of models.
        square: its heads are as wide as its states.
        ropes: kinds of rotary embeddings that it computes. Those that change only what is beyond the context are plain.
        period: it has windows; the last layer of each group of this size has none, unless the file says otherwise.
            None: it ignores windows.
        local_theta: theta of layers with a window, if the file does not say; None is that of the other layers.
        wide_at: the number of layers at which the query scale is that of the states' width per head (the 27B models).
    """

    name: str
    permuted: bool = False
    biases: tuple[str, ...] = ()
    head: Literal["any", "own", "tied"] = "any"
    square: bool = False
    activation: Activation = "silu"
    ropes: tuple[Kind, ...] = _PLAIN
    period: int | None = None
    local_theta: float | None = None
    wide_at: int | None = None


GGUF_ARCHITECTURES = {
    record.name: record
    for record in (
        GgufArchitecture("llama", permuted=True, biases=_ALL_BIASES, ropes=(*_PLAIN, *_BY_TENSOR)),
        GgufArchitecture("qwen2", biases=("q_proj", "k_proj", "v_proj"), square=True),
        GgufArchitecture("qwen3"),
        GgufArchitecture("gemma", activation="gelu_tanh", head="tied"),
        GgufArchitecture("gemma2", activation="gelu_tanh", head="tied", period=2, wide_at=46),
        GgufArchitecture("gemma3", activation="gelu_tanh", period=6, local_theta=10_000.0, wide_at=62),
        GgufArchitecture("phi3", square=True, ropes=(*_PLAIN, "longrope")),
        GgufArchitecture("granite", permuted=True, biases=_ALL_BIASES, ropes=(*_PLAIN, *_BY_TENSOR)),
        GgufArchitecture("olmo2", head="own", square=True, period=4),
        # Each fourth layer has no rotary embedding; no field says so.
        GgufArchitecture("smollm3", permuted=True, ropes=(*_PLAIN, "none")),
    )
}
SMOLLM3_NO_ROPE = 4
