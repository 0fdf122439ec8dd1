"""The variables of a model, and a linear layer with its adapter."""

from flax import nnx
from jaxtyping import Array, Float

from jora_model.ops.dora import dora
from jora_model.ops.dropout import Draws
from jora_model.ops.linear import linear
from jora_model.spec.settings import LoraSettings


class Frozen(nnx.Variable):
    """A base weight: never differentiated, never updated."""


class LoraParam(nnx.Variable):
    """Trainable weights of an adapter, float32. B is stored transposed, so that its gradient is a fast product."""


class Linear(nnx.Module):
    """A frozen kernel and, if it is a target, its adapter: `x W^T + b + scale * (x A^T) B^T`; never `W + BA`.

    With DoRA, rows are scaled as `dora.dora` does.
    """

    def __init__(self, kernel: Array, bias: Array | None, adapter: tuple[Array, ...] | None, lora: LoraSettings | None):
        self.kernel = Frozen(kernel)
        self.biased = bias is not None
        if bias is not None:
            self.bias = Frozen(bias)
        self.adapted = adapter is not None
        self.use_dora = adapter is not None and len(adapter) == 3
        self.scale = lora.scale if lora else 0.0
        self.dropout = lora.dropout if lora else 0.0
        if adapter is not None:
            self.lora_a = LoraParam(adapter[0])
            self.lora_b = LoraParam(adapter[1])
            if self.use_dora:
                self.lora_m = LoraParam(adapter[2])

    def __call__(
        self, x: Float[Array, "B T I"], draws: Draws | None = None, lengths: Array | None = None
    ) -> Float[Array, "B T O"]:
        """Args: lengths: of this layer, as `Layers.row_lengths`; with DoRA only."""
        bias = self.bias[...] if self.biased else None
        if not self.adapted:
            return linear(x, self.kernel[...], bias=bias)
        keep = draws.keep(x, self.dropout) if self.dropout and draws else None
        factors = (self.lora_a[...], self.lora_b[...])
        if self.use_dora:
            assert lengths is not None
            return dora(x, self.kernel[...], factors, self.lora_m[...], lengths, self.scale, keep, bias)
        return linear(x, self.kernel[...], factors, self.scale, keep, bias)
