"""Linear layers of a model on a CPU, with weights that oneDNN has laid out for its products beforehand.

torch multiplies float32 by MKL, which lays the weights out anew in each product, and is slow on processors of AMD:
there MiniLM takes little more than half the time this way (bench/embedding.py). The numbers differ from torch's by the
order of sums, 1e-7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ROWS = 128  # that the layout is chosen for: the tokens of a usual chunk; others are right as well


def pack_linears(model: torch.nn.Module) -> int:
    """Let the float32 linear layers of a model use packed weights, for inference; how many do.

    The plain weights stay, since a model may look at them: the layers take twice the memory. Where this build of torch
    has no oneDNN, nothing happens.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return 0
    packed = 0
    for layer in model.modules():
        # Not of classes below it, which compute something else.
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            layer.forward = _Packed(layer)
            packed += 1
    return packed


class _Packed:
    """What takes the place of a layer's `forward`."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        import torch

        # The operators that torch.compile puts in place of a frozen linear layer.
        ops: Any = torch.ops.mkldnn
        self._weight = ops._reorder_linear_weight(layer.weight.detach().contiguous(), _ROWS)
        self._bias = None if layer.bias is None else layer.bias.detach()
        self._product = ops._linear_pointwise

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._product(input, self._weight, self._bias, "none", [], "")
        return found
