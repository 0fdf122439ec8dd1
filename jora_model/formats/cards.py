"""Model cards: README.md of the exported folders, with the front matter that Hugging Face reads."""

from dataclasses import dataclass, replace

import yaml

from jora_model.formats.base import EMBEDDED, hub_id
from jora_model.spec.settings import LoraSettings

_EMBEDDED_NOTE = (
    "It was trained on the 4-bit GGUF of that model, widened to bfloat16, whose weights differ a little from the "
    "original's; the merged model holds exactly the weights that were trained on."
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says in addition to the adapter's own config.

    Attributes:
        base_model: the base as the user named it: embedded, a Hugging Face id, a folder or a file.
        examples: number of training examples.
        evaluation: Markdown with the scores, or None if nothing was evaluated.
        prompt, answer: exact text of a prompt, template included, and of an answer to it.
        end_ids: tokens at which generation stops, the one that was trained first.
        template_options: what the chat template was given in training beside messages, as Python arguments.
        prompt_date: what the template took for today, if it writes a date.
        dataset, counts: digest of the training dataset, and numbers about it.
        base_license, data_license: as their authors state them; None if not known.
        max_positions: the model's context length in tokens.
        gguf: file name of the GGUF, if one was written.
        rounding: how training rounded the base's weights, a sentence; None if it did not.
    """

    base_model: str
    examples: int
    evaluation: str | None
    prompt: str | None = None
    answer: str | None = None
    end_ids: tuple[int, ...] = ()
    template_options: tuple[str, ...] = ()
    prompt_date: str | None = None
    dataset: str | None = None
    counts: tuple[tuple[str, int], ...] = ()
    base_license: str | None = None
    data_license: str | None = None
    max_positions: int | None = None
    gguf: str | None = None
    rounding: str | None = None


def base_of(facts: CardFacts) -> str:
    """Return the name by which others load the base: its Hugging Face id if it has one, else the user's name for it."""
    return hub_id(facts.base_model) or facts.base_model


def adapter_card(facts: CardFacts, lora: LoraSettings, beyond_lora: str | None = None) -> str:
    """Return README.md of an adapter folder.

    Args:
        beyond_lora: what it holds besides LoRA on linears, which vLLM does not serve beside other adapters.
    """
    usage = f"""\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base_of(facts)!r})
tokenizer = AutoTokenizer.from_pretrained({base_of(facts)!r})
model = PeftModel.from_pretrained(base, "path/to/this/folder")"""
    serve = (
        f"vllm serve {base_of(facts)} --enable-lora --max-lora-rank {_lora_rank(lora.rank)} "
        "--lora-modules tuned=path/to/this/folder"
    )
    if beyond_lora is None:
        return _card(facts, lora, "LoRA adapter", "peft", ["lora"], usage, serve)
    local = f"\nIt holds {beyond_lora}; for other tools than PEFT take the merged model.\n"
    return _card(facts, lora, "PEFT adapter", "peft", ["lora"], usage, None, local)


def merged_card(facts: CardFacts, lora: LoraSettings) -> str:
    """Return README.md of a merged model folder."""
    usage = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")"""
    length = f" --max-model-len {facts.max_positions}" if facts.max_positions else ""
    serve = f"vllm serve path/to/this/folder --served-model-name tuned{length}"
    return _card(facts, lora, "Model with its adapter merged in", "transformers", [], usage, serve)


def gguf_card(facts: CardFacts, lora: LoraSettings) -> str:
    """Return README.md of a folder with a GGUF file."""
    usage = f"""\
from llama_cpp import Llama

model = Llama("{facts.gguf}", n_ctx={min(facts.max_positions or 4096, 8192)})"""
    return _card(facts, lora, "GGUF of the model with its adapter merged in", "gguf", ["gguf"], usage, None)


def gguf_lora_card(facts: CardFacts, lora: LoraSettings, file: str) -> str:
    """Return README.md of a folder with a GGUF adapter."""
    usage = f"""\
from llama_cpp import Llama

model = Llama("base.gguf", lora_path="{file}", n_ctx={min(facts.max_positions or 4096, 8192)})"""
    local = f"""
## With llama.cpp and Ollama

`base.gguf` is a GGUF of `{base_of(facts)}`, of any quantization. With Ollama, put `FROM base.gguf` and
`ADAPTER ./{file}` into a Modelfile.

```
llama-cli -m base.gguf --lora {file} --temp 0
llama-server -m base.gguf --lora {file}
```
"""
    return _card(replace(facts, gguf=None), lora, "GGUF adapter", "gguf", ["gguf", "lora"], usage, None, local)


def _card(
    facts: CardFacts,
    lora: LoraSettings,
    title: str,
    library: str,
    tags: list[str],
    usage: str,
    serve: str | None,
    local: str | None = None,
) -> str:
    front: dict[str, object] = {
        "library_name": library,
        "pipeline_tag": "text-generation",
        "tags": ["raft", "retrieval-augmented-generation", *tags],
    }
    # Hugging Face accepts only its own ids here; a local folder means nothing to others.
    if hub_id(facts.base_model):
        front["base_model"] = hub_id(facts.base_model)
        front["base_model_relation"] = "adapter" if "lora" in tags else "finetune"
    if facts.base_license is not None:
        front["license"] = facts.base_license
    note = f"\n{_EMBEDDED_NOTE}\n" if facts.base_model == EMBEDDED else ""
    if facts.rounding is not None:
        note += f"\n{facts.rounding[0].upper()}{facts.rounding[1:]}.\n"
    dora = "| DoRA | yes |\n" if lora.use_dora else ""
    evaluation = "Not evaluated." if facts.evaluation is None else facts.evaluation.strip()
    return f"""\
---
{yaml.safe_dump(front, sort_keys=False)}---

# {title} for {base_of(facts)}

Answers questions from the documents in its prompt and quotes the evidence: retrieval augmented fine-tuning (RAFT,
[arXiv 2403.10131](https://arxiv.org/abs/2403.10131)) of `{base_of(facts)}`.
{note}
## Use

```python
{usage}
```

Put the documents first and the question last, as in training.
{_prompting(facts)}{_generation(facts)}
{_served(serve)}{_local(facts) if local is None else local}
## Training

| | |
|---|---|
{_data(facts)}| examples | {facts.examples:,} |
| rank | {lora.rank} |
| alpha | {lora.alpha:g} |
| scale (alpha / {"sqrt(rank)" if lora.use_rslora else "rank"}) | {lora.scale:g} |
{dora}| dropout | {lora.dropout:g} |
| target modules | {", ".join(lora.target_modules)} |

## Evaluation

{evaluation}

## Licences

Of the base model: {facts.base_license or "not known; see its own card"}.
Of the documents: {facts.data_license or "not stated"}.
"""


def _prompting(facts: CardFacts) -> str:
    if facts.prompt is None:
        return ""
    return f"""
The full prompt, in the format of the training data:

```text
{facts.prompt}
```

and an answer:

```text
{facts.answer}
```
"""


def _generation(facts: CardFacts) -> str:
    """What a program must know to write the same prompt and to stop at its answer's end."""
    text = ""
    if facts.end_ids:
        text += f"\nAn answer ends with token {facts.end_ids[0]}: stop there (`eos_token_id={list(facts.end_ids)}`).\n"
    if facts.template_options:
        text += f"\nGive the chat template what it was given in training: `{', '.join(facts.template_options)}`.\n"
    if facts.prompt_date is not None:
        text += (
            f"\nThe chat template writes today's date. In training that was {facts.prompt_date} on every day: have it "
            "write that date, as above.\n"
        )
    return text


def _served(command: str | None) -> str:
    return "" if command is None else f"\n## With vLLM\n\n```\n{command}\n```\n"


def _local(facts: CardFacts) -> str:
    if facts.gguf is None:
        return ""
    return f"""
## With llama.cpp and Ollama

```
llama-cli -m {facts.gguf} --temp 0
ollama create my-model -f Modelfile && ollama run my-model
```
"""


def _data(facts: CardFacts) -> str:
    rows = [("dataset (sha256)", facts.dataset)] if facts.dataset else []
    rows += [(name.replace("_", " "), f"{number:,}") for name, number in facts.counts if name != "examples"]
    return "".join(f"| {name} | {value} |\n" for name, value in rows)


def _lora_rank(rank: int) -> int:
    """Return the smallest value of vLLM's --max-lora-rank that holds the rank."""
    return next((size for size in (8, 16, 32, 64, 128, 256, 320) if size >= rank), 512)
