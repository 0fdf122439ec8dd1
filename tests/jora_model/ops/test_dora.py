"""DoRA's arithmetic is that of PEFT's layer: output, and gradients of x, A, B and the magnitude; also with dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch

from jora_model.formats import dora as on_the_host
from jora_model.ops.dora import dora, row_factors, row_lengths
from jora_model.ops.linear import linear

OUT, IN, RANK, T = 24, 20, 4, 7


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(IN, OUT, bias=False)

    def forward(self, x):
        return self.linear(x)


@pytest.fixture(scope="module")
def layer():
    """PEFT's layer after what training might have made of it, and its x and cotangent."""
    torch.manual_seed(0)
    config = peft.LoraConfig(r=RANK, lora_alpha=6, target_modules=["linear"], use_dora=True, lora_dropout=0.5)
    layer = peft.get_peft_model(Tiny(), config).base_model.model.linear
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_(0, 0.5)
        layer.lora_magnitude_vector["default"].weight.mul_(torch.rand(OUT) + 0.5)
    x = torch.randn(1, T, IN, requires_grad=True)
    return layer, x, torch.randn(1, T, OUT)


def theirs(layer, x, cotangent, keep):
    """Output and gradients, with these dropout factors."""

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x * keep

    before = layer.lora_dropout["default"]
    layer.lora_dropout["default"] = Fixed()
    layer.train(keep is not None)
    parameters = (
        x,
        layer.lora_A["default"].weight,
        layer.lora_B["default"].weight,
        layer.lora_magnitude_vector["default"].weight,
    )
    out = layer(x)
    gradients = torch.autograd.grad(out, parameters, cotangent)
    layer.lora_dropout["default"] = before
    return [out.detach().numpy(), *(gradient.numpy() for gradient in gradients)]


@pytest.mark.parametrize("dropout", [False, True])
def test_output_and_gradients_are_those_of_peft(layer, dropout):
    module, x, cotangent = layer
    keep = None
    if dropout:
        keep = torch.tensor(np.random.default_rng(0).choice([0.0, 2.0], (1, T, IN)), dtype=torch.float32)
    expected = theirs(module, x, cotangent, keep)
    weights = (
        module.lora_A["default"].weight,
        module.lora_B["default"].weight.T,
        module.lora_magnitude_vector["default"].weight,
    )
    a, b, magnitude = (jnp.asarray(weight.detach().numpy()) for weight in weights)
    kernel = jnp.asarray(module.base_layer.weight.detach().numpy())

    def ours(x, a, b, magnitude):
        lengths = row_lengths(kernel, a, b.T, 1.5)
        return dora(x, kernel, (a, b), magnitude, lengths, 1.5, None if keep is None else jnp.asarray(keep.numpy()))

    out, pull = jax.vjp(ours, jnp.asarray(x.detach().numpy()), a, b, magnitude)
    dx, da, db, dm = pull(jnp.asarray(cotangent.numpy()))
    for name, found, wanted in zip(["out", "x", "A", "B", "m"], (out, dx, da, db.T, dm), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted).max(), err_msg=name)


def test_rows_of_the_plain_sum(layer):
    """Lengths without forming the sum; a fresh magnitude changes nothing; the host computes the same."""
    module, x, _ = layer
    weight, a, b = (
        module.base_layer.weight.detach().numpy(),
        module.lora_A["default"].weight.detach().numpy(),
        module.lora_B["default"].weight.detach().numpy(),
    )
    lengths = np.linalg.norm(weight + 1.5 * b @ a, axis=1)
    np.testing.assert_allclose(row_lengths(jnp.asarray(weight), a, b, 1.5), lengths, rtol=1e-5)
    magnitude = np.where(np.arange(OUT) == 3, np.nan, np.arange(OUT)).astype(np.float32)
    expected = np.where(np.isnan(magnitude), 1, magnitude / lengths)
    np.testing.assert_allclose(row_factors(jnp.asarray(weight), a, b, 1.5, magnitude), expected, rtol=1e-5)
    np.testing.assert_allclose(on_the_host.row_factors(weight, a, b, 1.5, magnitude), expected, rtol=1e-5)
    inputs = jnp.asarray(x.detach().numpy())
    pair = (jnp.asarray(a), jnp.asarray(b.T))
    fresh = dora(
        inputs, jnp.asarray(weight), pair, jnp.asarray(lengths), row_lengths(jnp.asarray(weight), a, b, 1.5), 1.5
    )
    np.testing.assert_allclose(fresh, linear(inputs, jnp.asarray(weight), pair, 1.5), rtol=1e-5, atol=1e-5)
