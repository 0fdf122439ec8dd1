"""Small tokenizers and chat templates that behave as those of the families that we train, in our own words.

What differs between families is here: how a turn begins and ends, whether that is a token and which, system messages,
dates, thinking, white space. The vocabularies are small.
"""

import json
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from data.prompting.tokenizer import Tokenizer, load_tokenizer
from testing.small_tokenizers import llama2_of_samples

Kind = Literal["byte-level", "metaspace", "gemma"]

_ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must alternate') }}{% endif %}{% endfor %}"
)
_NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}"
_CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
_CHATML_NEXT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"


@dataclass(frozen=True)
class ChatFamily:
    """A family's tokenizer and template.

    Attributes:
        added: added tokens, the ids in this order before those of the vocabulary.
        plain: those of them that the tokenizer does not call special.
        strips: those of them that swallow white space on their right.
        end: the token that ends an answer; training teaches its id, and it ends generation.
        ends: all tokens that generation_config.json names.
        prompt: the whole prompt for the message "Hello.", on 26 July 2024 and without thinking.
        options: the options with which transformers renders the same.
    """

    kind: Kind
    added: tuple[str, ...]
    bos: str | None
    eos: str
    end: str
    template: str
    prompt: str
    ends: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    strips: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


_CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_THINKING = ("<think>", "</think>", "<tool_call>", "</tool_call>")
_HEADER = "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}"

FAMILIES = {
    "llama2": ChatFamily(
        "metaspace",
        (),
        "<s>",
        "</s>",
        "</s>",
        _ALTERNATE
        + "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}{# <<SYS>> <</SYS>> #}"
        "{% if false %}{{ '<<SYS>>\\n' + '\\n<</SYS>>' }}{% endif %}",
        "<s>[INST] Hello. [/INST]",
    ),
    "llama3": ChatFamily(
        "byte-level",
        (
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|eot_id|>",
        ),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|eot_id|>",
        "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}"
        "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
        "{% endif %}"
        "{{ '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n<|eot_id|>' }}"
        "{% for m in messages %}" + _HEADER + "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ends=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    ),
    "mistral v0.1": ChatFamily(
        "metaspace",
        (),
        "<s>",
        "</s>",
        "</s>",
        "{{ bos_token }}"
        + _ALTERNATE
        + "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}",
        "<s>[INST] Hello. [/INST]",
    ),
    "mistral v0.3": ChatFamily(
        "metaspace",
        ("[INST]", "[/INST]"),
        "<s>",
        "</s>",
        "</s>",
        "{{ bos_token }}"
        + _ALTERNATE
        + "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        "<s>[INST] Hello.[/INST]",
    ),
    "mistral nemo": ChatFamily(
        "byte-level",
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        "<s>",
        "</s>",
        "</s>",
        "{{ bos_token }}"
        + _ALTERNATE
        + "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}"
        "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}",
        "<s>[INST]Hello.[/INST]",
    ),
    "smollm2": ChatFamily(
        "byte-level",
        _CHATML_TOKENS,
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}"
        + _CHATML
        + _CHATML_NEXT,
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n",
    ),
    "smollm3": ChatFamily(
        "byte-level",
        (*_CHATML_TOKENS, *_THINKING),
        None,
        "<|im_end|>",
        "<|im_end|>",
        "{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}"
        "{%- set mode = '/think' if enable_thinking else '/no_think' -%}"
        "{{- '<|im_start|>system\\nToday Date: ' ~ strftime_now('%d %B %Y') -}}"
        "{{- '\\nReasoning Mode: ' + mode + '<|im_end|>\\n' -}}"
        "{%- set block = '' if enable_thinking else '<think>\\n\\n</think>\\n' -%}"
        "{%- for m in messages -%}{%- if m.role == 'user' -%}{{ '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}"
        "{%- else -%}{% generation %}"
        "{{ '<|im_start|>assistant\\n' + block + m.content.lstrip('\\n') + '<|im_end|>\\n' }}"
        "{% endgeneration %}{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' + block }}{%- endif -%}",
        "<|im_start|>system\nToday Date: 26 July 2024\nReasoning Mode: /no_think<|im_end|>\n"
        "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n",
        plain=_THINKING,
        options={"enable_thinking": False},
    ),
    "qwen2.5": ChatFamily(
        "byte-level",
        (*_CHATML_TOKENS, "<tool_call>", "</tool_call>"),
        None,
        "<|im_end|>",
        "<|im_end|>",
        "{%- if messages[0].role != 'system' -%}{{- '<|im_start|>system\\nYou are Q.<|im_end|>\\n' }}{%- endif %}"
        + _CHATML
        + _CHATML_NEXT,
        "<|im_start|>system\nYou are Q.<|im_end|>\n<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n",
        ends=("<|im_end|>", "<|endoftext|>"),
        plain=("<tool_call>", "</tool_call>"),
    ),
    "qwen3": ChatFamily(
        "byte-level",
        (*_CHATML_TOKENS, *_THINKING),
        None,
        "<|im_end|>",
        "<|im_end|>",
        "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\\n' }}"
        "{%- if m.role == 'assistant' and loop.last -%}{{- '<think>\\n' + (m.reasoning_content or '').strip('\\n')"
        " + '\\n</think>\\n\\n' + m.content.lstrip('\\n') }}{%- else -%}{{- m.content }}{%- endif -%}"
        "{{- '<|im_end|>\\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' }}"
        "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' }}"
        "{%- endif -%}{%- endif -%}",
        "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ends=("<|im_end|>", "<|endoftext|>"),
        plain=_THINKING,
        options={"enable_thinking": False},
    ),
    "gemma": ChatFamily(
        "gemma",
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "\n\n", "<table>"),
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        "{{ bos_token }}" + _NO_SYSTEM + _ALTERNATE + "{% for m in messages %}"
        "{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
        "<bos><start_of_turn>user\nHello.<end_of_turn>\n<start_of_turn>model\n",
        ends=("<eos>", "<end_of_turn>"),
        plain=("\n\n", "<table>"),
    ),
    "phi3": ChatFamily(
        "metaspace",
        ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        "<s>",
        "<|endoftext|>",
        "<|end|>",
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
        "<|user|>\nHello.<|end|>\n<|assistant|>\n",
        ends=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        strips=("<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
    ),
    "phi4": ChatFamily(
        "byte-level",
        (*_CHATML_TOKENS, "<|im_sep|>"),
        "<|endoftext|>",
        "<|im_end|>",
        "<|im_end|>",
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
        "<|im_start|>user<|im_sep|>Hello.<|im_end|><|im_start|>assistant<|im_sep|>",
    ),
    "phi4-mini": ChatFamily(
        "byte-level",
        ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        "<|endoftext|>",
        "<|endoftext|>",
        "<|end|>",
        "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
        "<|user|>Hello.<|end|><|assistant|>",
        ends=("<|endoftext|>", "<|end|>"),
    ),
    "granite": ChatFamily(
        "byte-level",
        ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"),
        "<|end_of_text|>",
        "<|end_of_text|>",
        "<|end_of_text|>",
        "{%- if messages[0].role != 'system' -%}{{- '<|start_of_role|>system<|end_of_role|>Today\\'s Date: '"
        " + strftime_now('%B %d, %Y') + '.\\nYou are G.' }}"
        "{{- (' Think first.' if thinking else '') + '<|end_of_text|>\\n' }}{%- endif %}"
        "{% for m in messages %}"
        "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
        "<|start_of_role|>system<|end_of_role|>Today's Date: July 26, 2024.\nYou are G.<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>Hello.<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    ),
    "olmo2": ChatFamily(
        "byte-level",
        ("<|endoftext|>", "<|pad|>", "|||EMAIL_ADDRESS|||"),
        "<|endoftext|>",
        "<|endoftext|>",
        "<|endoftext|>",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ '<|system|>\\n' + m.content + '\\n' }}"
        "{% elif m.role == 'user' %}{{ '<|user|>\\n' + m.content + '\\n' }}"
        "{% else %}{{ '<|assistant|>\\n' + m.content + eos_token + ('' if loop.last else '\\n') }}{% endif %}"
        "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}{% endfor %}",
        "<|endoftext|><|user|>\nHello.\n<|assistant|>\n",
        plain=("|||EMAIL_ADDRESS|||",),
    ),
    "olmo3": ChatFamily(
        "byte-level",
        (*_CHATML_TOKENS, "<functions>", "</functions>"),
        None,
        "<|endoftext|>",
        "<|im_end|>",
        "{% if messages[0].role != 'system' %}"
        "{{ '<|im_start|>system\\nYou are O. <functions></functions><|im_end|>\\n' }}{% endif %}"
        + _CHATML
        + _CHATML_NEXT,
        "<|im_start|>system\nYou are O. <functions></functions><|im_end|>\n<|im_start|>user\nHello.<|im_end|>\n"
        "<|im_start|>assistant\n",
        ends=("<|im_end|>", "<|endoftext|>"),
        plain=("<functions>", "</functions>"),
    ),
}

_folders: list[tempfile.TemporaryDirectory[str]] = []  # removed when the tests end


@cache
def family_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a family; its folder is `name_or_path` of the inner one."""
    folder = tempfile.TemporaryDirectory(prefix="jora-family-")
    _folders.append(folder)
    return load_tokenizer(write_family(Path(folder.name), name))


def write_family(folder: Path, name: str) -> Path:
    """Write tokenizer.json, tokenizer_config.json, chat_template.jinja and generation_config.json."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[name]
    backend = _backend(family.kind)
    for token in family.added:
        special = token not in family.plain
        added = AddedToken(token, special=special, normalized=False, rstrip=token in family.strips)
        (backend.add_special_tokens if special else backend.add_tokens)([added])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=family.bos, eos_token=family.eos, chat_template=family.template
    )
    tokenizer.save_pretrained(folder)
    ends = [backend.token_to_id(token) for token in family.ends or (family.eos,)]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends if len(ends) > 1 else ends[0]}))
    return folder


def _backend(kind: Kind) -> Any:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    if kind == "metaspace":
        return Backend.from_str(llama2_of_samples()._tokenizer.backend_tokenizer.to_str())
    texts = [path.read_text() for path in sorted(_SAMPLES.iterdir())]
    if kind == "byte-level":
        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        backend.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
        )
        return backend
    backend = Backend(models.BPE(byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    rows = [f"<0x{n:02X}>" for n in range(256)]
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1500, special_tokens=rows, show_progress=False))
    fields = json.loads(backend.to_str())
    fields["added_tokens"] = []  # bytes are ordinary tokens
    return Backend.from_str(json.dumps(fields))


_SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "documents"
