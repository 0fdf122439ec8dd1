"""Tokenizers of SentencePiece's kind ("llama") in GGUF files: white space is "▁", and bytes stand for what is unknown.

The files have a score of each token instead of a list of merges. As in transformers' reading of a GGUF, every cut of a
token into two tokens is a merge, and the merges with the best scores come first. Gemma's scores do not follow its
merges; the order of its tokens does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gguf import TokenType
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

_SPACE = "▁"
_GEMMA = ("gemma", "gemma2", "gemma3")


def sentencepiece_of(
    tokens: Sequence[str], fields: Mapping[str, Any], architecture: str
) -> tuple[Tokenizer, list[str]]:
    """Return the tokenizer without its special tokens, and the tokens as it spells them.

    Args:
        fields: `scores`, `token_type`, and perhaps `merges`, `add_space_prefix` and `unknown_token_id`.
        architecture: decides how spaces are spelled, which no field says: Gemma has no space before a text.
    """
    gemma = architecture in _GEMMA
    # Gemma's tokens of several spaces are stored as spaces (conversion/base.py), and are merged from "▁".
    spelled = [_SPACE * len(token) if gemma and token and not token.strip(" ") else token for token in tokens]
    vocabulary = {token: number for number, token in enumerate(spelled)}
    if "merges" in fields:
        merges = [tuple(merge.split(" ")) for merge in fields["merges"]]
    else:
        order = [-float(number) for number in range(len(spelled))] if gemma else fields["scores"]
        merges = merges_of(spelled, order, fields["token_type"])
    unknown = fields.get("unknown_token_id")
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            merges,
            fuse_unk=True,
            byte_fallback=True,
            unk_token=None if unknown is None else spelled[unknown],
        )
    )
    spaces = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if fields.get("add_space_prefix", not gemma):
        spaces.append(decoders.Strip(" ", 1, 0))
        if architecture == "phi3":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
        if gemma:
            tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence(spaces)
    return tokenizer, spelled


def merges_of(tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int]) -> list[tuple[str, str]]:
    """Return all cuts of tokens into two tokens, best score first, then the longest left part, as transformers does.

    Args:
        tokens, scores, kinds: one of each token; only normal tokens are merged and cut, since the others are found
            whole in the text.
    """
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = []
    for token, score, kind in zip(tokens, scores, kinds, strict=True):
        if kind not in (TokenType.NORMAL, TokenType.USER_DEFINED):
            continue
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        cuts = [(left, right) for left, right in cuts if left in vocabulary and right in vocabulary]
        cuts.sort(key=lambda cut: (vocabulary[cut[0]], vocabulary[cut[1]]))
        merges += [(-score, -len(left), -len(right), left, right) for left, right in cuts]
    merges.sort(key=lambda merge: merge[:3])
    return [(left, right) for *_, left, right in merges]
