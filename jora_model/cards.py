"""Model cards: README.md of the exported folders, with the front matter that Hugging Face reads."""

from dataclasses import dataclass

import yaml

from jora_model.base import EMBEDDED, hub_id
from jora_model.settings import LoraSettings

_EMBEDDED_NOTE = (
    "It was trained on the 4-bit GGUF of that model, widened to bfloat16, whose weights differ a little from the "
    "original's; the merged model holds exactly the weights that were trained on."
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says beyond what the adapter's own config does.

    Attributes:
        base_model: the base as a person named it: embedded, a Hugging Face id, a folder or a file.
        examples: number of examples trained on.
        evaluation: Markdown with the scores, or None when nothing was evaluated.
    """

    base_model: str
    examples: int
    evaluation: str | None


def base_of(facts: CardFacts) -> str:
    """The name by which others load the base: its Hugging Face id where it has one, else as it was named."""
    return hub_id(facts.base_model) or facts.base_model


def adapter_card(facts: CardFacts, lora: LoraSettings) -> str:
    """README.md of an adapter folder."""
    usage = f"""\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base_of(facts)!r})
tokenizer = AutoTokenizer.from_pretrained({base_of(facts)!r})
model = PeftModel.from_pretrained(base, "path/to/this/folder")"""
    return _card(facts, lora, "LoRA adapter", "peft", ["lora"], usage)


def merged_card(facts: CardFacts, lora: LoraSettings) -> str:
    """README.md of a merged model folder."""
    usage = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")"""
    return _card(facts, lora, "Model with its adapter merged in", "transformers", [], usage)


def _card(facts: CardFacts, lora: LoraSettings, title: str, library: str, tags: list[str], usage: str) -> str:
    front: dict[str, object] = {
        "library_name": library,
        "pipeline_tag": "text-generation",
        "tags": ["raft", "retrieval-augmented-generation", *tags],
    }
    # Hugging Face accepts ids of its own only; a folder on somebody's disk is no base model to others.
    if hub_id(facts.base_model):
        front["base_model"] = hub_id(facts.base_model)
        front["base_model_relation"] = "adapter" if library == "peft" else "finetune"
    if facts.base_model == EMBEDDED:
        front["license"] = "apache-2.0"
    note = f"\n{_EMBEDDED_NOTE}\n" if facts.base_model == EMBEDDED else ""
    evaluation = "Not evaluated." if facts.evaluation is None else facts.evaluation.strip()
    return f"""\
---
{yaml.safe_dump(front, sort_keys=False)}---

# {title} for {base_of(facts)}

Answers questions from the documents in its prompt, with the evidence quoted: retrieval augmented fine-tuning (RAFT,
[arXiv 2403.10131](https://arxiv.org/abs/2403.10131)) of `{base_of(facts)}`.
{note}
## Use

```python
{usage}
```

Put the documents first and the question last, as in training.

## Training

| | |
|---|---|
| examples | {facts.examples:,} |
| rank | {lora.rank} |
| alpha | {lora.alpha:g} |
| scale (alpha / {"sqrt(rank)" if lora.use_rslora else "rank"}) | {lora.scale:g} |
| dropout | {lora.dropout:g} |
| target modules | {", ".join(lora.target_modules)} |

## Evaluation

{evaluation}
"""
