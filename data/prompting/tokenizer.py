"""The base model's tokenizer: prompts and targets as tokens, in the styles "chat" and "alpaca".

    prompt  tokens of the template and of the user's text, up to where the model starts to write
    target  tokens that the model should write, up to and including the end of its turn

Only a template may contain words of the format (format_words.py). "<|im_end|>" in a document is ordinary text and
becomes several ordinary tokens. transformers' `split_special_tokens` would apply to the template as well, so texts are
cut inside such a word instead, and the parts are encoded one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.prompting.chat_frame import ChatTemplate, strip_as
from data.prompting.format_words import FormatWords, is_control, tags_of
from data.prompting.prompts import ALPACA_HEADINGS, MARKERS, AnyFormat, Part, Prompt, PromptFormat, as_format
from data.prompting.tokenizer_files import end_tokens, folder_name, read_tokenizer, template_place
from user_error import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_KEEP = ("", "")


@dataclass(frozen=True, slots=True)
class _Frame:
    """The text that a format puts around a prompt (`before`, `after`) and an output (`lead`, `tail`)."""

    start_ids: tuple[int, ...]  # tokens before all text
    before: str
    after: str
    lead: str
    tail: str
    end_id: int  # the last token of a target
    strips_prompt: tuple[str, str] = _KEEP
    strips_output: tuple[str, str] = _KEEP


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder in Hugging Face format.

    Raises:
        UserError: there is no tokenizer, one that cannot be read, or one without an end-of-sequence token.
    """
    folder = Path(folder)
    return Tokenizer(read_tokenizer(folder), folder_name(folder), end_tokens(folder), template_place(folder))


class Tokenizer:
    """Encodes texts, prompts and targets; a thin layer over a transformers tokenizer."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, name: str, ends: Sequence[int] = (), place: str = "tokenizer"
    ) -> None:
        """
        Args:
            name: of the model, for error messages.
            ends: tokens that end an answer by the model's generation_config.json.
            place: the file of the chat template, for error messages.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(f"the tokenizer of {name} has no eos_token: a target could never end")
        self._tokenizer: Any = tokenizer
        self._name = name
        self._place = place
        self._ends = tuple(ends)
        added = tokenizer.added_tokens_decoder
        self._literals = self._template(PromptFormat()).literals
        self._words = {token.content: number for number, token in added.items() if is_control(token, self._literals)}
        unknown = tokenizer.unk_token_id
        #: Ids that never come out of a text; a text may hold characters that are unknown.
        self._never = frozenset(self._words.values()) - ({unknown} - {tokenizer.eos_token_id})
        self._special = [token.content for token in added.values() if token.special and not token.rstrip]
        self._frames: dict[PromptFormat, _Frame] = {}
        self._counted: dict[str, int] = {}

    @property
    def pad_id(self) -> int:
        """The padding token, or the end-of-sequence token if there is none."""
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad is None else pad)

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The added tokens that are no text, and that no text becomes; ascending."""
        return tuple(sorted(self._words.values()))

    def end_id(self, style: AnyFormat) -> int:
        """The last token of every target of this format."""
        return self._frame(style).end_id

    def end_ids(self, style: AnyFormat) -> tuple[int, ...]:
        """The tokens at which generation stops: the trained one, then the model's others."""
        return tuple(dict.fromkeys((self.end_id(style), *self._ends, int(self._tokenizer.eos_token_id))))

    def template_options(self, style: AnyFormat) -> tuple[str, ...]:
        """What a chat template is given beside messages, as Python arguments: what it reads of that."""
        form = as_format(style)
        return self._template(form).options if form.style == "chat" else ()

    def writes_date(self, style: AnyFormat) -> bool:
        """Whether prompts hold the date of the format."""
        form = as_format(style)
        other = form._replace(date="1999-12-31")
        return self._frame(form) != self._frame(other)

    def check(self, style: AnyFormat, vocab_size: int) -> None:
        """Checks the template, and that the model has a row for every token that a prompt can hold.

        Raises:
            UserError: the template cannot be used, or a token is beyond the embedding.
        """
        frame = self._frame(style)
        around = self._encode([[(frame.before, True), (frame.after, True)], [(frame.lead + frame.tail, True)]])
        used = {*frame.start_ids, *(number for tokens in around for number in tokens), *self.end_ids(style)}
        words = set(self._tokenizer.get_vocab().values()) - set(self._words.values())
        for what, ids in (("prompts and answers use", used), ("a text may become", words)):
            if (last := max(ids)) >= vocab_size:
                token = self._tokenizer.convert_ids_to_tokens(last)
                raise UserError(
                    f"the tokenizer of {self._name} does not fit the model: {what} token {last} ({token!r}), and "
                    f"vocab_size in config.json is {vocab_size}: use the model's own tokenizer files"
                )

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
        """The text of tokens, without control tokens and ends of turns."""
        ids = [number for token in tokens if (number := int(token)) not in self._turn_ends]
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The text of each single token, including control tokens; a part of a character becomes U+FFFD."""
        return [str(self._tokenizer.decode([int(token)], clean_up_tokenization_spaces=False)) for token in tokens]

    def encode_prompts(self, prompts: Sequence[Prompt], style: AnyFormat) -> list[list[int]]:
        """The tokens of each prompt, up to where the model starts to write.

        Raises:
            UserError: the style is "chat" and the tokenizer has no usable chat template.
        """
        frame = self._frame(style)
        encoded = self._encode([self._parts(prompt, style) for prompt in prompts])
        return [[*frame.start_ids, *tokens] for tokens in encoded]

    def encode_targets(self, outputs: Sequence[str], style: AnyFormat) -> list[list[int]]:
        """The tokens of each output after a prompt, the end-of-turn token last.

        They are encoded separately from the prompt, as in generation: no token spans the boundary. Markers of the
        output format stay what they are; what an output is made of is checked before it is written.
        """
        frame = self._frame(style)
        parts = [
            [(frame.lead, True), (strip_as(output, frame.strips_output), False), (frame.tail, True)]
            for output in outputs
        ]
        return self._encode(parts, output=True)

    def written(self, prompt: Prompt, output: str, style: AnyFormat) -> tuple[str, str]:
        """The text of a prompt and of an output, including what the format puts around them."""
        frame = self._frame(style)
        start = "".join(self._tokenizer.convert_ids_to_tokens(list(frame.start_ids)))
        text = "".join(part for part, _ in self._parts(prompt, style))
        return f"{start}{text}", f"{frame.lead}{strip_as(output, frame.strips_output)}{frame.tail}"

    def _parts(self, prompt: Prompt, style: AnyFormat) -> Sequence[Part]:
        if as_format(style).style == "alpaca":
            return prompt.alpaca_parts
        frame = self._frame(style)
        return [(frame.before, True), (strip_as(prompt.message, frame.strips_prompt), False), (frame.after, True)]

    def _encode(self, texts: Sequence[Sequence[Part]], output: bool = False) -> list[list[int]]:
        """Tokens of texts made of parts.

        Args:
            output: each continues other text, and may hold markers of the output format.
        """
        words = self._output_words if output else self._text_words
        anchor, skipped = self._anchor
        fragments: list[str] = []
        anchored: list[bool] = []
        owners: list[int] = []
        for owner, parts in enumerate(texts):
            for number, fragment in enumerate(_fragments(parts, words)):
                anchored.append(output or number > 0)
                fragments.append(anchor + fragment if anchored[-1] else fragment)
                owners.append(owner)
        tokens: list[list[int]] = [[] for _ in texts]
        for owner, ids, skip in zip(owners, self._raw(fragments), anchored, strict=True):
            tokens[owner].extend(ids[skipped * skip :])
        for parts, found in zip(texts, tokens, strict=True):
            self._check_text(parts, found)
        return tokens

    def _check_text(self, parts: Sequence[Part], tokens: Sequence[int]) -> None:
        """Whether all control tokens are the template's."""
        if self._never.isdisjoint(tokens):
            return
        found = sum(token in self._never for token in tokens)
        written = sum(self._written(text) for text, from_template in parts if from_template)
        if found > written:
            start = next((text for text, from_template in parts if not from_template), "")[:60]
            raise UserError(
                f"the tokenizer of {self._name} makes {found - written} control tokens of the text that begins with "
                f"{start!r}: use another base model"
            )

    def _written(self, text: str) -> int:
        """The number of control tokens in a part of a template."""
        if text not in self._counted:
            self._counted[text] = sum(token in self._never for tokens in self._raw([text]) for token in tokens)
        return self._counted[text]

    def _raw(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts as they stand, with the words of the format."""
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # no warning about lengths: the token budget is checked when examples are built
        )
        return list(encoded["input_ids"])

    @cached_property
    def _anchor(self) -> tuple[str, int]:
        """Put before a text that continues other text: without it, tokenizers like Llama 2's would add a space; and
        the number of its tokens, which are removed again.

        A control token, unless the tokenizer strips or adds a space after it; else a line break or nothing.
        """
        eos = self._tokenizer.eos_token
        longest_first = sorted(self._special, key=lambda word: (word != eos, -len(word), word))
        for anchor in (*longest_first, "\n", ""):
            (alone,) = self._raw([anchor]) if anchor else ([],)
            together, first = self._raw([f"{anchor}x x", "x x"])
            rest = together[len(alone) :]
            if together[: len(alone)] == alone and self._tokenizer.decode([*first, *rest]) == "x xx x":
                return anchor, len(alone)
        raise UserError(f"the tokenizer of {self._name} has no special token that leaves the text after it unchanged")

    @cached_property
    def _output_words(self) -> FormatWords:
        """Words that an output must not hold, and no other text."""
        return self._format_words(())

    @cached_property
    def _text_words(self) -> FormatWords:
        return self._format_words(MARKERS)

    def _format_words(self, more: Sequence[str]) -> FormatWords:
        normalizer = self._tokenizer.backend_tokenizer.normalizer
        normalize = None if normalizer is None else normalizer.normalize_str
        return FormatWords(self._words, {*tags_of(self._literals), *ALPACA_HEADINGS, *more}, normalize)

    @cached_property
    def _turn_ends(self) -> frozenset[int]:
        """Ends of turns, also of a tokenizer that does not call them special."""
        ends = {*self._ends, self.end_id("alpaca")}
        with suppress(UserError):  # no template, or one that cannot be used
            ends.add(self.end_id("chat"))
        return frozenset(ends)

    def _template(self, form: PromptFormat) -> ChatTemplate:
        return ChatTemplate(self._tokenizer, self._name, self._place, form.date)

    def _frame(self, style: AnyFormat) -> _Frame:
        form = as_format(style)
        if form not in self._frames:
            self._frames[form] = self._chat_frame(form) if form.style == "chat" else self._alpaca_frame()
        return self._frames[form]

    def _alpaca_frame(self) -> _Frame:
        """Plain text after what the tokenizer puts before every text, such as Llama's <s>."""
        plain = self._tokenizer.encode("x", add_special_tokens=False)
        full = self._tokenizer.encode("x")
        starts = [n for n in range(len(full) - len(plain) + 1) if full[n : n + len(plain)] == plain]
        assert starts, "special tokens change the tokens of the text"
        eos = self._tokenizer.eos_token
        return _Frame(tuple(full[: starts[0]]), "", "", "", eos, int(self._tokenizer.eos_token_id))

    def _chat_frame(self, form: PromptFormat) -> _Frame:
        if not self._tokenizer.chat_template:
            raise UserError(f'the tokenizer of {self._name} has no chat template: use prompt_style "alpaca"')
        template = self._template(form)
        chat = template.frame()
        end = FormatWords(self._words).first(chat.rest)
        if end is None:
            raise template.unusable("an answer has no end-of-turn token")
        end_id, tail = self._words[chat.rest[slice(*end)]], chat.rest[: end[1]]
        return _Frame((), chat.before, chat.after, chat.lead, tail, end_id, chat.strips_prompt, chat.strips_answer)


def _fragments(parts: Sequence[Part], words: FormatWords) -> list[str]:
    """The joined text, cut in each word of the format that is not from the template."""
    pieces: list[str] = []
    template: list[tuple[int, int]] = []
    cuts: set[int] = set()
    offset = 0
    for part, from_template in parts:
        if from_template:
            template.append((offset, offset + len(part)))
        elif words.turns(part):
            part = words.plain(part)
            cuts.update(offset + cut for cut in words.hidden_cuts(part))
        pieces.append(part)
        offset += len(part)
    text = "".join(pieces)
    edges = [0, *sorted(cuts.union(words.cuts(text, template))), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]
