"""The small model that ships rewrites follow-up questions, and leaves others as they are."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from data.prompting.conversation import Turn, rewritten
from data.prompting.prompts import rewrite_text
from data.prompting.tokenizer import load_tokenizer
from jora_model.generation.generate import generate
from jora_model.model.load import load_model
from jora_model.spec.settings import GenerationSettings

FERRY = [Turn("user", "Who runs the cable ferry?"), Turn("assistant", "Ousel Lark")]
BAKEHOUSE = [Turn("user", "Where is the bakehouse?"), Turn("assistant", "Behind the common kitchen")]
CASES = [
    (FERRY, "How many passengers may it carry?", "How many passengers may the cable ferry carry?"),
    (BAKEHOUSE, "What time does it open?", "What time does the bakehouse open?"),
    (FERRY, "Who broke a collarbone?", "Who broke a collarbone?"),
]


@pytest.mark.slow
def test_follow_up_questions(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    prompts = [
        np.array(tokenizer.encode_start(rewrite_text(turns, question)), np.int32) for turns, question, _ in CASES
    ]
    settings = GenerationSettings(max_new_tokens=16)
    written = generate(load_model(smollm2, compute_dtype=jnp.float32), prompts, settings, [tokenizer.end_id("alpaca")])
    for (turns, question, asked), tokens in zip(CASES, written, strict=True):
        line = tokenizer.decode(tokens).strip().partition("\n")[0]
        assert rewritten(question, turns, line) == asked
