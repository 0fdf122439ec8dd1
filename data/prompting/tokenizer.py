"""The base model's tokenizer: prompts and targets as tokens, in the styles "chat" and "alpaca".

    prompt  tokens of the template and of the user's text, up to where the model starts to write
    target  tokens that the model should write, up to and including the end of its turn

Only a template may contain control tokens. "<|im_end|>" in a document is ordinary text and becomes several ordinary
tokens. transformers' `split_special_tokens` would apply to the template as well, so texts are cut inside such a word
instead, and the parts are encoded one after another.
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

# Placeholders for the messages while a template is rendered; letters and digits, which no template changes.
_USER, _ASSISTANT = "JORAUSERMESSAGE7f3a", "JORAASSISTANTMESSAGE7f3a"
# Else Llama 3's template writes today's date, and the same inputs would give other bytes tomorrow.
_DATE = "26 Jul 2024"

Part = tuple[str, bool]  # (text, whether it is from the template and may contain control tokens)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The text that a style puts around a prompt (`before`, `after`) and an output (`lead`, `tail`)."""

    start_ids: tuple[int, ...]  # tokens before all text
    before: str
    after: str
    lead: str
    tail: str
    end_id: int  # the last token of a target


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder in Hugging Face format.

    Raises:
        UserError: there is no tokenizer, or one without an end-of-sequence token.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}: give a folder with tokenizer.json and tokenizer_config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot load a tokenizer from {folder} ({str(error).splitlines()[0]})") from None
    return Tokenizer(tokenizer, str(folder))


class Tokenizer:
    """Encodes texts, prompts and targets; a thin layer over a transformers tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        """
        Args:
            name: for error messages.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(f"the tokenizer of {name} has no eos_token: a target could never end")
        self._tokenizer: Any = tokenizer
        self._name = name
        special = {token.content: token for token in tokenizer.added_tokens_decoder.values() if token.special}
        longest_first = sorted(special, key=lambda word: (-len(word), word))
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # Put before a text that continues other text: without it, tokenizers like Llama 2's would add a space. Its own
        # token is removed again. A token that strips the space after it cannot be used.
        usable = [
            word for word in (tokenizer.eos_token, *longest_first) if word in special and not special[word].rstrip
        ]
        if not usable:
            raise UserError(f"the tokenizer of {name} has no special token that leaves the text after it unchanged")
        self._anchor: str = usable[0]
        self._frames: dict[PromptStyle, _Frame] = {}

    @property
    def pad_id(self) -> int:
        """The padding token, or the end-of-sequence token if there is none."""
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad is None else pad)

    def end_id(self, style: PromptStyle) -> int:
        """The last token of every target of this style; generation stops there."""
        return self._frame(style).end_id

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text, without control tokens."""
        return self._encode([[(text, False)]])[0]

    def encode_start(self, text: str) -> list[int]:
        """The tokens of a plain text, with what the tokenizer puts before every text, such as Llama's <s>."""
        return [*self._frame("alpaca").start_ids, *self.encode(text)]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, as `encode` returns them."""
        return [len(tokens) for tokens in self._encode([[(text, False)] for text in texts])]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without control tokens."""
        ids = [int(token) for token in tokens]
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The text of each single token, including control tokens; a part of a character becomes U+FFFD."""
        return [str(self._tokenizer.decode([int(token)], clean_up_tokenization_spaces=False)) for token in tokens]

    def encode_prompts(self, prompts: Sequence[Prompt], style: PromptStyle) -> list[list[int]]:
        """The tokens of each prompt, up to where the model starts to write.

        Raises:
            UserError: the style is "chat" and the tokenizer has no usable chat template.
        """
        frame = self._frame(style)
        texts = [prompt.alpaca if style == "alpaca" else prompt.message for prompt in prompts]
        encoded = self._encode([[(frame.before, True), (text, False), (frame.after, True)] for text in texts])
        return [[*frame.start_ids, *tokens] for tokens in encoded]

    def encode_targets(self, outputs: Sequence[str], style: PromptStyle) -> list[list[int]]:
        """The tokens of each output after a prompt, the end-of-turn token last.

        They are encoded separately from the prompt, as in generation: no token spans the boundary.
        """
        frame = self._frame(style)
        parts = [[(frame.lead, True), (output, False), (frame.tail, True)] for output in outputs]
        return self._encode(parts, continued=True)

    def written(self, prompt: Prompt, output: str, style: PromptStyle) -> tuple[str, str]:
        """The text of a prompt and of an output, including what the style puts around them."""
        frame = self._frame(style)
        text = prompt.alpaca if style == "alpaca" else prompt.message
        start = "".join(self._tokenizer.convert_ids_to_tokens(list(frame.start_ids)))
        return f"{start}{frame.before}{text}{frame.after}", f"{frame.lead}{output}{frame.tail}"

    def _encode(self, texts: Sequence[Sequence[Part]], continued: bool = False) -> list[list[int]]:
        """Tokens of texts made of parts. `continued`: each continues other text."""
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
                verbose=False,  # no warning about lengths: the token budget is checked when examples are built
            )["input_ids"]
            for owner, ids, skip in zip(owners, encoded, anchored, strict=True):
                tokens[owner].extend(ids[int(skip) :])
        return tokens

    def _fragments(self, parts: Sequence[Part]) -> list[str]:
        """The joined text, cut after the first character of each control token that is not from the template."""
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
        """Plain text after what the tokenizer puts before every text, such as Llama's <s>."""
        plain = self._tokenizer.encode("x", add_special_tokens=False)
        full = self._tokenizer.encode("x")
        starts = [n for n in range(len(full) - len(plain) + 1) if full[n : n + len(plain)] == plain]
        assert starts, "special tokens change the tokens of the text"
        eos = self._tokenizer.eos_token
        return _Frame(tuple(full[: starts[0]]), "", "", "", eos, int(self._tokenizer.eos_token_id))

    def _chat_frame(self) -> _Frame:
        if not self._tokenizer.chat_template:
            raise UserError(f'the tokenizer of {self._name} has no chat template: use prompt_style "alpaca"')
        user = {"role": "user", "content": _USER}
        prompt = self._render([user], add_generation_prompt=True)
        full = self._render([user, {"role": "assistant", "content": _ASSISTANT}], add_generation_prompt=False)
        before, has_user, after = prompt.partition(_USER)
        lead, has_assistant, rest = full[len(prompt) :].partition(_ASSISTANT)
        end = self._control.search(rest)
        is_prefix = full.startswith(prompt) and has_user and has_assistant and _USER not in after
        if not is_prefix or end is None:
            problem = "an answer has no end-of-turn token" if is_prefix else "the prompt is not a prefix of the chat"
            raise UserError(f'the chat template of {self._name} cannot be used: {problem}; use prompt_style "alpaca"')
        end_id = int(self._tokenizer.convert_tokens_to_ids(end[0]))
        return _Frame((), before, after, lead, rest[: end.end()], end_id)

    def _render(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt, date_string=_DATE
        )
        return str(text)
