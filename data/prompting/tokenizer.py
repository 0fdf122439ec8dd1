"""The base model's tokenizer: prompts and targets as tokens, in the styles "chat" and "alpaca".

    prompt  tokens of the template and of the user's text, up to where the model starts to write
    target  tokens that the model is to write, up to and including the end of its turn

Only a template may write control tokens. "<|im_end|>" in a document is text like any other and becomes several
ordinary tokens: transformers' own `split_special_tokens` treats the whole string alike, template included, so texts
are cut inside such a word instead, and the pieces are encoded next to each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.prompting.prompts import Prompt, PromptStyle
from user_error import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Stand in for the messages while a template is rendered; letters and digits, so that no template changes them.
_USER, _ASSISTANT = "JORAUSERMESSAGE7f3a", "JORAASSISTANTMESSAGE7f3a"
# Llama 3's template writes today's date otherwise, and the same inputs would give other bytes tomorrow.
_DATE = "26 Jul 2024"

Part = tuple[str, bool]  # (text, whether it comes from the template and may hold control tokens)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a style writes around texts: `before` prompt `after`, and `lead` output `tail`."""

    start_ids: tuple[int, ...]  # tokens before all text
    before: str
    after: str
    lead: str
    tail: str
    end_id: int  # the last token of a target


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder in Hugging Face format.

    Raises:
        UserError: the folder holds no tokenizer, or one without an end-of-sequence token.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}: name a folder with tokenizer.json and tokenizer_config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no tokenizer can be read from {folder} ({str(error).splitlines()[0]})") from None
    return Tokenizer(tokenizer, str(folder))


class Tokenizer:
    """Encodes texts, prompts and targets; a thin layer over a transformers tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        """
        Args:
            name: what error messages call it.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(f"the tokenizer of {name} names no eos_token: a target could never end")
        self._tokenizer: Any = tokenizer
        self._name = name
        special = {token.content: token for token in tokenizer.added_tokens_decoder.values() if token.special}
        longest_first = sorted(special, key=lambda word: (-len(word), word))
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # Written before a text that goes on from other text: without it, tokenizers of Llama 2's kind would put
        # a space there. Its own token is taken off again. One that swallows the space after it will not do.
        usable = [
            word for word in (tokenizer.eos_token, *longest_first) if word in special and not special[word].rstrip
        ]
        if not usable:
            raise UserError(f"the tokenizer of {name} has no special token that leaves the text after it alone")
        self._anchor: str = usable[0]
        self._frames: dict[PromptStyle, _Frame] = {}

    @property
    def pad_id(self) -> int:
        """The padding token, or the end-of-sequence token where there is none."""
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad is None else pad)

    def end_id(self, style: PromptStyle) -> int:
        """The token that ends every target of this style; generation stops there."""
        return self._frame(style).end_id

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text: no control token, neither added nor read from the text."""
        return self._encode([[(text, False)]])[0]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, as `encode` gives them."""
        return [len(tokens) for tokens in self._encode([[(text, False)] for text in texts])]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without control tokens."""
        ids = [int(token) for token in tokens]
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token by itself, control tokens too; a part of a character reads as U+FFFD."""
        return [str(self._tokenizer.decode([int(token)], clean_up_tokenization_spaces=False)) for token in tokens]

    def encode_prompts(self, prompts: Sequence[Prompt], style: PromptStyle) -> list[list[int]]:
        """The tokens of each prompt, up to where the model starts to write.

        Raises:
            UserError: the style is "chat" and the tokenizer has no chat template that can be used.
        """
        frame = self._frame(style)
        texts = [prompt.alpaca if style == "alpaca" else prompt.message for prompt in prompts]
        encoded = self._encode([[(frame.before, True), (text, False), (frame.after, True)] for text in texts])
        return [[*frame.start_ids, *tokens] for tokens in encoded]

    def encode_targets(self, outputs: Sequence[str], style: PromptStyle) -> list[list[int]]:
        """The tokens of each output as the model is to write them after a prompt, the end-of-turn token last.

        They are encoded apart from the prompt, as generation has it: no token stands across the border.
        """
        frame = self._frame(style)
        parts = [[(frame.lead, True), (output, False), (frame.tail, True)] for output in outputs]
        return self._encode(parts, continued=True)

    def written(self, prompt: Prompt, output: str, style: PromptStyle) -> tuple[str, str]:
        """The text of a prompt and of an output, with what the style writes around them."""
        frame = self._frame(style)
        text = prompt.alpaca if style == "alpaca" else prompt.message
        start = "".join(self._tokenizer.convert_ids_to_tokens(list(frame.start_ids)))
        return f"{start}{frame.before}{text}{frame.after}", f"{frame.lead}{output}{frame.tail}"

    def _encode(self, texts: Sequence[Sequence[Part]], continued: bool = False) -> list[list[int]]:
        """Tokens of texts made of parts. `continued`: each goes on from other text."""
        fragments: list[str] = []
        anchored: list[bool] = []
        owners: list[int] = []
        for owner, parts in enumerate(texts):
            for number, fragment in enumerate(self._fragments(parts)):
                anchored.append(continued or number > 0)
                fragments.append(self._anchor + fragment if anchored[-1] else fragment)
                owners.append(owner)
        tokens: list[list[int]] = [[] for _ in texts]
        if fragments:
            encoded = self._tokenizer(
                fragments,
                add_special_tokens=False,
                split_special_tokens=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,  # no warning about lengths: the token budget is checked where examples are built
            )["input_ids"]
            for owner, ids, skip in zip(owners, encoded, anchored, strict=True):
                tokens[owner].extend(ids[int(skip) :])
        return tokens

    def _fragments(self, parts: Sequence[Part]) -> list[str]:
        """The joined text, cut after the first character of each control word that the template did not write."""
        text = "".join(part for part, _ in parts)
        template: list[tuple[int, int]] = []
        offset = 0
        for part, from_template in parts:
            if from_template:
                template.append((offset, offset + len(part)))
            offset += len(part)
        cuts, position = [0], 0
        while match := self._control.search(text, position):
            if any(start <= match.start() and match.end() <= end for start, end in template):
                position = match.end()
            else:
                position = match.start() + 1
                cuts.append(position)
        return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]

    def _frame(self, style: PromptStyle) -> _Frame:
        if style not in self._frames:
            self._frames[style] = self._chat_frame() if style == "chat" else self._alpaca_frame()
        return self._frames[style]

    def _alpaca_frame(self) -> _Frame:
        """Plain text with what the tokenizer puts before every text, such as Llama's <s>."""
        plain = self._tokenizer.encode("x", add_special_tokens=False)
        whole = self._tokenizer.encode("x")
        starts = [n for n in range(len(whole) - len(plain) + 1) if whole[n : n + len(plain)] == plain]
        assert starts, "a tokenizer whose special tokens change the text's own tokens"
        eos = self._tokenizer.eos_token
        return _Frame(tuple(whole[: starts[0]]), "", "", "", eos, int(self._tokenizer.eos_token_id))

    def _chat_frame(self) -> _Frame:
        if not self._tokenizer.chat_template:
            raise UserError(f'the tokenizer of {self._name} has no chat template: use prompt_style "alpaca"')
        user = {"role": "user", "content": _USER}
        prompt = self._render([user], add_generation_prompt=True)
        full = self._render([user, {"role": "assistant", "content": _ASSISTANT}], add_generation_prompt=False)
        before, found_user, after = prompt.partition(_USER)
        lead, found_assistant, rest = full[len(prompt) :].partition(_ASSISTANT)
        end = self._control.search(rest)
        whole = full.startswith(prompt) and found_user and found_assistant and _USER not in after
        if not whole or end is None:
            problem = "the prompt is no prefix of the whole chat" if not whole else "an answer has no end-of-turn token"
            raise UserError(
                f'the chat template of {self._name} cannot be trained: {problem}; use prompt_style "alpaca"'
            )
        end_id = int(self._tokenizer.convert_tokens_to_ids(end[0]))
        return _Frame((), before, after, lead, rest[: end.end()], end_id)

    def _render(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt, date_string=_DATE
        )
        return str(text)
