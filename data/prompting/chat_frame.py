"""What a chat template puts around a prompt and an answer, found by rendering it with placeholders.

Templates run as in transformers, with three exceptions: the date is the one of the settings on every day, thinking is
off where a template can turn it off, and whatever a template raises becomes one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime
from typing import Any

from user_error import UserError

# Placeholders for the messages; letters and digits, which no template changes.
_USER, _ASSISTANT = "JORAUSERMESSAGE7f3a", "JORAASSISTANTMESSAGE7f3a"
# A tuned model writes its reason in the format of the training data. Qwen3 and SmolLM3 read the one, Granite the other.
_NO_THINKING = {"enable_thinking": False, "thinking": False}
# Llama 3's template takes a date in this form; others ask for today's date with `strftime_now`.
_LLAMA_DATE = "%d %b %Y"


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """The text around a prompt (`before`, `after`) and an answer (`lead`, and `rest` up to the end of the chat).

    Attributes:
        strips_prompt, strips_answer: white space that the template removes from the ends of a text: characters for its
            start and its end.
    """

    before: str
    after: str
    lead: str
    rest: str
    strips_prompt: tuple[str, str]
    strips_answer: tuple[str, str]


class ChatTemplate:
    """A tokenizer's chat template.

    Args:
        tokenizer: of transformers.
        name: of the model, for error messages.
        place: the file that the template stands in, for error messages.
        date: YYYY-MM-DD, what the template takes for today.
    """

    def __init__(self, tokenizer: Any, name: str, place: str, date: str) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._place = place
        self._today = datetime.combine(Date.fromisoformat(date), datetime.min.time())

    def frame(self) -> ChatFrame:
        """What the template puts around one question and its answer.

        Raises:
            UserError: there is no template, it raises something, or an answer does not follow its prompt.
        """
        prompt, full = self._chat(_USER, None), self._chat(_USER, _ASSISTANT)
        before, has_user, after = prompt.partition(_USER)
        if not has_user or _USER in after:
            raise self.unusable("it does not write the user's message once")
        if not full.startswith(prompt) or _ASSISTANT not in full[len(prompt) :]:
            raise self.unusable("the prompt is not a prefix of the chat")
        lead, _, rest = full[len(prompt) :].partition(_ASSISTANT)
        return ChatFrame(before, after, lead, rest, self._strips_prompt(), self._strips_answer())

    @property
    def options(self) -> tuple[str, ...]:
        """The values besides messages that the template reads and that are not the usual ones, as Python arguments."""
        from jinja2 import meta

        template = self._tokenizer.get_chat_template()
        read = meta.find_undeclared_variables(self._compiled(template).environment.parse(template))
        given = {**_NO_THINKING, "date_string": self._today.strftime(_LLAMA_DATE)}
        return tuple(f"{name}={value!r}" for name, value in given.items() if name in read)

    @property
    def literals(self) -> list[str]:
        """The literal text of all templates; none of those that cannot be parsed."""
        import jinja2
        from jinja2 import nodes

        texts: list[str] = []
        for template in _all_templates(self._tokenizer):
            try:
                parsed = self._compiled(template).environment.parse(template)
            except jinja2.TemplateError:
                continue  # said when the template is used
            texts += [node.data for node in parsed.find_all(nodes.TemplateData)]
            texts += [node.value for node in parsed.find_all(nodes.Const) if isinstance(node.value, str)]
        return texts

    def _strips_prompt(self) -> tuple[str, str]:
        kept = [self._chat(f"{space}{_USER}{space}", None).partition(_USER) for space in " \n"]
        plain = self._chat(_USER, None).partition(_USER)
        return _stripped(kept, plain)

    def _strips_answer(self) -> tuple[str, str]:
        kept = [self._chat(_USER, f"{space}{_ASSISTANT}{space}").partition(_ASSISTANT) for space in " \n"]
        plain = self._chat(_USER, _ASSISTANT).partition(_ASSISTANT)
        return _stripped(kept, plain)

    def _chat(self, user: str, assistant: str | None) -> str:
        """The text of a prompt or, with an answer, of a whole chat."""
        messages = [{"role": "user", "content": user}]
        if assistant is not None:
            messages.append({"role": "assistant", "content": assistant})
        values = {
            **self._tokenizer.special_tokens_map,
            **_NO_THINKING,
            "date_string": self._today.strftime(_LLAMA_DATE),
            "strftime_now": self._today.strftime,
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": assistant is None,
        }
        try:
            return str(self._compiled(self._tokenizer.get_chat_template()).render(values))
        except Exception as error:  # a template is a program: it may raise anything
            raise self.unusable(f"it raises {type(error).__name__}: {' '.join(str(error).split())[:200]}") from None

    def _compiled(self, template: str) -> Any:
        # Not `apply_chat_template`, which takes no function, and so no other clock.
        from transformers.utils.chat_template_utils import _compile_jinja_template

        return _compile_jinja_template(template)

    def unusable(self, problem: str) -> UserError:
        """The error about this template."""
        return UserError(
            f"{self._place}: the chat template of {self._name} cannot be used: {problem}; mend it, or use prompt_style "
            '"alpaca"'
        )


def _all_templates(tokenizer: Any) -> list[str]:
    found = tokenizer.chat_template
    return list(found.values()) if isinstance(found, dict) else [found] if found else []


def _stripped(kept: Sequence[tuple[str, str, str]], plain: tuple[str, str, str]) -> tuple[str, str]:
    """Which of " " and a newline are removed from the start and from the end of a message."""
    start = "".join(space for space, (before, _, _) in zip(" \n", kept, strict=True) if before == plain[0])
    end = "".join(space for space, (_, _, after) in zip(" \n", kept, strict=True) if after == plain[2])
    return start, end


def strip_as(text: str, chars: tuple[str, str]) -> str:
    """The text as a template strips it; one that removes spaces and newlines removes all white space."""
    start, end = (None if len(each) == 2 else each for each in chars)
    return text.lstrip(start).rstrip(end)
