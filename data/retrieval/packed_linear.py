"""Linear layers on a CPU with weights prepacked for oneDNN.

torch multiplies float32 by MKL, which packs the weights in each product and is slow on AMD processors: there MiniLM
takes little more than half the time this way (bench/embedding.py). The results differ from torch's by the order of
sums, 1e-7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ROWS = 128  # the layout is optimal for this many: the tokens of a usual chunk; any number is correct


def pack_linears(model: torch.nn.Module) -> int:
    """Makes the float32 linear layers of a model use packed weights, for inference; returns their number.

    The plain weights stay, since a model may read them: the layers take twice the memory. Without oneDNN in this build
    of torch, nothing changes.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return 0
    packed = 0
    for layer in model.modules():
        # Not subclasses, which compute something else.
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            layer.forward = _Packed(layer)
            packed += 1
    return packed


class _Packed:
    """Replaces a layer's `forward`."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        import torch

        # The operators that torch.compile uses for a frozen linear layer.
        ops: Any = torch.ops.mkldnn
        self._weight = ops._reorder_linear_weight(layer.weight.detach().contiguous(), _ROWS)
        self._bias = None if layer.bias is None else layer.bias.detach()
        self._product = ops._linear_pointwise

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._product(input, self._weight, self._bias, "none", [], "")
        return output
