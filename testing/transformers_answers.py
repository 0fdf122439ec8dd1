"""The peer of generation benchmarks: `transformers.generate`, greedy, sorted by length, left-padded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.retrieval.machine import usable_cores


def greedy_tokens(
    model: Any, prompt: np.ndarray, max_new_tokens: int, eos: int | None = None, **settings: Any
) -> np.ndarray:
    """transformers' greedy continuation of one prompt.

    Args:
        settings: further ones of `generate`.
    """
    import torch

    tokens = torch.tensor(prompt[None], dtype=torch.long)
    with torch.no_grad():
        out: Any = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=eos,
            pad_token_id=0,
            **settings,
        )
    answer: np.ndarray = out[0, len(prompt) :].numpy()
    return answer


class TransformersAnswers:
    """A model of transformers in a dtype, with SDPA on all cores."""

    def __init__(self, base: Path, dtype: str, end_id: int, max_new_tokens: int):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(usable_cores())
        self.model = AutoModelForCausalLM.from_pretrained(
            base, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        ).eval()
        self.end_id, self.max_new_tokens = end_id, max_new_tokens

    def answer(self, prompts: Sequence[np.ndarray], batch_size: int) -> list[list[int]]:
        """Return the tokens of each answer, end token included, in the order of the prompts."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for index, answer in zip(batch, self._batch([prompts[i] for i in batch]), strict=True):
                answers[index] = answer
        return answers

    def _batch(self, prompts: Sequence[np.ndarray]) -> list[list[int]]:
        import torch

        length = max(len(prompt) for prompt in prompts)
        ids = torch.zeros((len(prompts), length), dtype=torch.long)
        mask = torch.zeros((len(prompts), length), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
            mask[row, length - len(prompt) :] = 1
        with torch.inference_mode():
            generated = self.model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                eos_token_id=self.end_id,
                pad_token_id=self.end_id,
            )
        answers = []
        for row in generated[:, length:].tolist():
            end = row.index(self.end_id) + 1 if self.end_id in row else len(row)
            answers.append(row[:end])
        return answers

    def gap(self, prompt: np.ndarray, answer: Sequence[int], ours: int, theirs: int) -> float:
        """Return the difference of two tokens' logits after a prompt and a prefix of its answer."""
        import torch

        ids = torch.from_numpy(np.concatenate([prompt, np.array(answer, np.int32)]).astype(np.int64))[None]
        with torch.inference_mode():
            logits: Any = self.model(ids).logits[0, -1].float()
        return float(abs(logits[ours] - logits[theirs]))
