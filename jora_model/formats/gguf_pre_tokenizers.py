"""llama.cpp's pre-tokenizers of byte-level vocabularies: `tokenizer.ggml.pre` -> how a text is cut before merging.

Source of the names and expressions: llama.cpp, src/llama-vocab.cpp; of those that transformers has as well:
transformers, integrations/gguf/gguf_tokenizer_mapping.py.
"""

from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class PreTokenizer:
    """How a text is cut.

    Attributes:
        split: the expression of a piece; empty is GPT-2's.
        digits: each digit is a piece, before everything else.
        whole: a piece that is a token is not merged from smaller ones.
        bos: the token of the beginning stands before a text if the file does not say.
        composed: the text is in Unicode's form NFC (Qwen's own tokenizer; llama.cpp leaves the text as it is).
    """

    split: str = ""
    digits: bool = False
    whole: bool = False
    bos: bool = False
    composed: bool = False

    def normalizer(self) -> normalizers.Normalizer | None:
        """The normalizer of tokenizer.json, if any."""
        return normalizers.NFC() if self.composed else None

    def steps(self) -> pre_tokenizers.PreTokenizer:
        """The pre-tokenizer of tokenizer.json."""
        if self.split:
            return pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(self.split), behavior="isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if not self.digits:
            return level
        # Digits are split off before the byte-level expression runs, so that the white space before a number is one
        # piece. transformers 5.23 omits that step when it reads a GGUF ("\n\n1" becomes three tokens).
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])


_DIGITS = PreTokenizer(digits=True)
_LLAMA3 = PreTokenizer(LLAMA3, whole=True, bos=True)
_QWEN2 = PreTokenizer(QWEN2, composed=True)
PRE_TOKENIZERS = {
    "gpt-2": PreTokenizer(),
    "phi-2": PreTokenizer(),
    "olmo": PreTokenizer(),
    "smollm": _DIGITS,
    "refact": _DIGITS,
    "starcoder": _DIGITS,
    "codeshell": _DIGITS,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "falcon3": _LLAMA3,
    "dbrx": PreTokenizer(LLAMA3),
    "smaug-bpe": PreTokenizer(LLAMA3),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "tekken": PreTokenizer(TEKKEN, whole=True, bos=True),
    "gpt-4o": PreTokenizer(GPT4O),
}
