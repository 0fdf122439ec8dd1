"""A fresh adapter starts as PEFT's does."""

import numpy as np
import peft
import pytest

from jora_model.formats.lora import fresh_adapter
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import ALL_LINEAR, LoraSettings
from testing.peft_reference import stacked
from testing.tiny_models import hf_folder, hf_model

QUANTILES = np.linspace(0, 1, 11)


@pytest.fixture(scope="module")
def factors(tmp_path_factory):
    """Ours and PEFT's, target -> (A, B); of rank 64, so that quantiles are stable."""
    config = ModelConfig.read(hf_folder(tmp_path_factory.mktemp("base")))
    ours = fresh_adapter(config, LoraSettings(rank=64, target_modules=ALL_LINEAR), 0)
    theirs = peft.get_peft_model(hf_model(), peft.LoraConfig(r=64, target_modules=list(ALL_LINEAR)))
    return ours, stacked(dict(theirs.named_parameters()))


@pytest.mark.parametrize("target", ALL_LINEAR)
def test_a_is_drawn_as_by_peft(factors, target):
    """kaiming_uniform_(a=sqrt(5)): uniform between -1/sqrt(in) and 1/sqrt(in); B is zero."""
    (a, b), (their_a, their_b) = (side[target] for side in factors)
    assert (a.shape, b.shape) == (their_a.shape, their_b.shape)
    bound = a.shape[-1] ** -0.5
    for drawn in (a, their_a):
        np.testing.assert_allclose(np.quantile(drawn, QUANTILES), (2 * QUANTILES - 1) * bound, atol=0.04 * bound)
        assert np.abs(drawn).max() <= bound
    assert not b.any() and not their_b.any()
