"""Greedy tokens are those of transformers.

200 prompts (quick: 24), float32 on both sides, SmolLM2-135M, at most 32 new tokens: 60 questions over contexts of five
paragraphs (shared, so that they run as rows), 60 over one paragraph, 80 of the samples, closed-book. The paragraphs
are those of the sample documents, or of a SQuAD file (--squad FILE). Ours answers them in 16 slots, transformers in
batches of 8, padded on the left; a prompt whose answers differ is put to transformers again, alone. Where the tokens
differ then, the gap between transformers' own logits of the two tokens is printed: below 1e-4 it is a tie that
rounding decides, and the rest of the answer is not compared. Any other difference fails.

About 10 minutes in full on two free cores, 1 in quick form.
"""

import json
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from data.prompting.tokenizer import load_tokenizer
from data.raft.sequences import TokenPrompt
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.generation.generate import generate
from jora_model.generation.layer_weights import open_weights
from jora_model.model.load import load_model
from jora_model.spec.settings import GenerationSettings
from testing.families import VOCAB, family_folder, family_model
from testing.generation_workload import sample_prompts, squad_prompts
from testing.small_runs import SAMPLES
from testing.transformers_answers import TransformersAnswers, greedy_tokens

MAX_NEW_TOKENS = 32
TIE = 1e-4
PEER_BATCH = 8


def test_greedy_tokens_are_those_of_transformers(pytestconfig: pytest.Config, tmp_path: Path, full: bool) -> None:
    five, one, samples = (60, 60, 80) if full else (8, 8, 8)
    base = tmp_path / "base"
    import_gguf(resolve_base("embedded"), base)
    tokenizer = load_tokenizer(base)
    squad = pytestconfig.getoption("--squad") or _samples_as_squad(tmp_path / "squad.json")
    prompts = [
        *squad_prompts(squad, tokenizer, articles=8)[:five],
        *squad_prompts(squad, tokenizer, articles=8, context=1)[:one],
        *sample_prompts(tokenizer, samples),
    ]
    assert len(prompts) == five + one + samples
    assert _compare(base, prompts, tokenizer.end_id("chat")) == []


def test_greedy_tokens_of_a_tiny_gemma_3(tmp_path: Path, full: bool) -> None:
    """200 prompts (quick: 24) shorter and longer than its windows, half of them on eight shared beginnings."""
    count = 200 if full else 24
    base = family_folder(tmp_path / "base", "Gemma3ForCausalLM")
    random = np.random.default_rng(0)
    shared = [random.integers(3, VOCAB, length) for length in (5, 20, 36, 37, 40, 64, 90, 130)]
    prompts = []
    for number in range(count):
        start = shared[number // 2 % 8] if number % 2 else []
        prompts.append(np.append(start, random.integers(3, VOCAB, 1 + number % 70)).astype(np.int32))
    settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, batch_size=16)
    ours = generate(open_weights(base, compute_dtype=jnp.float32), prompts, settings, ())
    model = family_model("Gemma3ForCausalLM")
    equal = sum(
        np.array_equal(greedy_tokens(model, prompt, MAX_NEW_TOKENS), mine)
        for prompt, mine in zip(prompts, ours, strict=True)
    )
    print(f"figure greedy_equal_tiny {equal}")
    assert equal == count


def _samples_as_squad(path: Path) -> Path:
    """Write the sample documents as a SQuAD file: a document is an article; a question belongs to its paragraph."""
    questions = [json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text().splitlines()]
    articles = []
    for document in sorted((SAMPLES / "documents").iterdir()):
        here = [item for item in questions if item["document"] == document.name]
        texts = [text.strip() for text in document.read_text().split("\n\n") if len(text) > 100]
        paragraphs = [
            {
                "context": text,
                "qas": [
                    {"id": f"{document.stem}-{n}", "question": item["question"]}
                    for n, item in enumerate(here)
                    if _quoted_in(item, text)
                ],
            }
            for text in texts
        ]
        articles.append({"title": document.stem, "paragraphs": paragraphs})
    path.write_text(json.dumps({"data": articles}))
    return path


def _quoted_in(item: dict[str, Any], text: str) -> bool:
    """Whether all quotes of a question (one, or a list) are in the text; False without a quote."""
    quotes = item.get("quote") or []
    return bool(quotes) and all(quote in text for quote in ([quotes] if isinstance(quotes, str) else quotes))


def _compare(base: Path, prompts: list[TokenPrompt], end_id: int) -> list[str]:
    """Return the prompts whose answers differ without a tie."""
    tokens = [prompt.tokens for prompt in prompts]
    started = time.monotonic()
    settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, batch_size=16)
    ours = generate(load_model(base, compute_dtype=jnp.float32), tokens, settings, (end_id,))
    print(f"ours: {len(prompts)} answers in {time.monotonic() - started:.0f} s, with compiling", flush=True)
    peer = TransformersAnswers(base, "float32", end_id, MAX_NEW_TOKENS)
    equal = 0
    ties: list[str] = []
    differ: list[str] = []
    batched = 0
    for start in range(0, len(prompts), PEER_BATCH):
        part = slice(start, start + PEER_BATCH)
        for prompt, mine, theirs in zip(prompts[part], ours[part], peer.answer(tokens[part], PEER_BATCH), strict=True):
            if theirs == mine.tolist():
                batched += 1
                continue
            kind = _alone(peer, prompt, mine)
            if kind == "equal":
                equal += 1
            else:
                (ties if kind == "tie" else differ).append(prompt.id)
        done = min(start + PEER_BATCH, len(prompts))
        print(f"{done} of {len(prompts)} compared: {batched} equal to the batch, {equal} alone", flush=True)
    equal += batched
    tokens_in_all = sum(map(len, ours))
    print(f"{equal} of {len(prompts)} answers equal ({tokens_in_all} tokens), {len(ties)} ties, {len(differ)} differ")
    print(f"figure greedy_equal {equal}")
    print(f"figure greedy_ties {len(ties)}")
    print(f"figure greedy_differ {len(differ)}")
    return differ


def _alone(peer: TransformersAnswers, prompt: TokenPrompt, mine: np.ndarray) -> str:
    """equal, tie or DIFFERS."""
    theirs = np.array(peer.answer([prompt.tokens], 1)[0], np.int32)
    if np.array_equal(mine, theirs):
        return "equal"
    length = min(len(mine), len(theirs))
    # Neither is the other's beginning: both end with the end token or at the same length.
    place = int(np.flatnonzero(mine[:length] != theirs[:length])[0])
    gap = peer.gap(prompt.tokens, theirs[:place].tolist(), int(mine[place]), int(theirs[place]))
    kind = "tie" if gap < TIE else "DIFFERS"
    told = f"{mine[place]} and {theirs[place]}, logits {gap:.2e} apart"
    print(f"{kind}: prompt {prompt.id}, token {place}: {told}", flush=True)
    return kind
