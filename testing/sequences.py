"""Random sequences with shared prefixes, for tests of packing and training."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jora_model.packing.sequences import Sequence


def random_sequences(seed: int = 0, count: int = 12, vocab: int = 90) -> list[Sequence]:
    """Families of depth 3: a common root, a few contexts, questions, answers of uneven length; one occurs twice."""
    random = np.random.default_rng(seed)

    def some(low: int, high: int) -> list[int]:
        return random.integers(3, vocab, int(random.integers(low, high))).tolist()

    root, contexts = some(3, 5), [some(6, 14) for _ in range(3)]
    questions = {number: [some(2, 5) for _ in range(3)] for number in range(3)}
    found = []
    for number in range(count - 1):
        context = number % 3
        prompt = root + contexts[context] + questions[context][(number // 3) % 3]
        answer = some(1, 7)
        mask = [False] * len(prompt) + [True] * len(answer)
        found.append(Sequence(f"e{number}", np.array(prompt + answer, np.int32), np.array(mask)))
    twin = found[0]
    return [*found, Sequence("twin", twin.tokens, twin.loss_mask)]


def write_sequences(folder: Path, sequences: list[Sequence]) -> Path:
    """The folder that training reads."""
    folder.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([0, *(len(sequence.tokens) for sequence in sequences)], dtype=np.int64)
    arrays = {
        "tokens": np.concatenate([sequence.tokens for sequence in sequences]),
        "loss_mask": np.concatenate([sequence.loss_mask for sequence in sequences]),
        "offsets": offsets,
    }
    save_file(arrays, folder / "sequences.safetensors")
    (folder / "sequences.json").write_text(json.dumps({"ids": [sequence.id for sequence in sequences]}))
    return folder
