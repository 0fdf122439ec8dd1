"""A teacher or a judge behind an OpenAI-compatible server: several calls at once, repeated, each kept on disk.

What helps: 429 (as late as the server says), 5xx, time-outs, broken connections, answers that are no completion. What a
person must correct (400, 401, 403, 404) stops everything with one line. However the asking stops, the calls that are on
their way come to their end first: they are paid.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from data.endpoint_settings import EndpointSettings
from data.prompts import fold_space
from data.teacher_answers import AnswerBook, Call, TeacherAnswer, call_body
from data.teacher_budget import Budget, Tokens

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

Progress = Callable[[int, str], object]

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 600.0  # one that asks for more time will not be waited for
SHORTEST_SECRET = 8  # what is shorter is no key but a placeholder ("none"), and may stand in any text
NO_KEY = "none"  # the client wants one; servers without keys do not look at it
_RETRIED = frozenset({408, 409, 425, 429})
_SHOWN = 200  # characters of a server's own words


class Interrupted(Exception):
    """The asking was told to stop; what was asked is kept."""


class _Failed(Exception):
    """One attempt came to nothing, and another may not: how, and for how long the server asks to be left alone."""

    def __init__(self, how: str, pause: float = 0.0) -> None:
        super().__init__(how)
        self.how = how
        self.pause = pause


class Endpoint:
    """Asks a server; `ask` runs once."""

    def __init__(self, settings: EndpointSettings, book: AnswerBook, api_key: str | None) -> None:
        """
        Raises:
            ValueError: the key cannot stand in a header.
        """
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            # The HTTP library would repeat it in its error.
            held = settings.api_key_secret or settings.api_key_env
            raise ValueError(f"what {held} holds is no key: it has spaces, line breaks or other than ASCII letters")
        self.settings = settings
        self.who, self.group = f"the {settings.WHO}", settings.GROUP
        self.book = book
        self.api_key = api_key
        self.budget = Budget(settings, Tokens())
        self._total = self._done = 0  # calls, and answers that are kept
        self._why: Exception | None = None  # the asking stops
        self._changed = asyncio.Event()  # something ended or stopped
        self._refused: set[str] = set()  # fields of the body that this server does not take
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, calls: Mapping[str, Call], progress: Progress = lambda answered, spent: None) -> None:
        """Ask what is not kept yet; when this returns, every answer is kept.

        Args:
            calls: by their keys (`call_key`).
            progress: called as calls end with the number of answers that are kept, and what they took, in words.

        Raises:
            ValueError: the server refuses, does not answer, or the budget is spent; one line.
            Interrupted: `stop` was called.
        """
        from openai import AsyncOpenAI

        self._loop = asyncio.get_running_loop()
        kept = {key: answer for key in calls if (answer := self.book.get(key))}
        spent = sum((Tokens(answer.tokens_in, answer.tokens_out) for answer in kept.values()), Tokens())
        self.budget = Budget(self.settings, spent)
        self._total, self._done = len(calls), len(kept)
        waiting = iter([(key, call) for key, call in calls.items() if key not in kept])
        async with AsyncOpenAI(
            api_key=self.api_key or NO_KEY, base_url=self.settings.base_url, max_retries=0, timeout=None
        ) as client:
            workers = min(self.settings.concurrency, self._total - self._done)
            await asyncio.gather(*(self._work(client, waiting, progress) for _ in range(workers)))
        if self._why is not None:
            raise self._why

    def stop(self) -> None:
        """Begin no further call; `ask` ends when those on their way have. From any thread, at any time."""
        self._why = self._why or Interrupted()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    def _stop(self, why: Exception) -> None:
        self._why = self._why or why
        self._changed.set()

    async def _work(
        self,
        client: openai.AsyncOpenAI,
        waiting: Iterator[tuple[str, Call]],
        progress: Progress,
    ) -> None:
        """One of the calls that are on their way at once."""
        while self._why is None:
            key, call = next(waiting, ("", None))
            if call is None:
                return
            worst = self.budget.worst(call.prompt.message)
            if not await self._reserve(worst):
                return
            answer = None
            try:
                answer = await self._answer(client, key, call)
                if answer is not None:
                    self.book.keep(key, answer)
                    self._done += 1
            except Exception as error:  # raised at the end, not now: the calls of the other workers are paid
                self._stop(error)
            self.budget.settle(worst, Tokens(answer.tokens_in, answer.tokens_out) if answer else Tokens())
            self._changed.set()
            try:
                progress(self._done, self.budget.describe())
            except Exception as error:  # such as a pipe that nobody reads any more
                self._stop(error)

    async def _reserve(self, tokens: Tokens) -> bool:
        """Set aside what a call may take, if need be when others have taken less; False where the asking stops."""
        while self._why is None:
            if self.budget.reserve(tokens):
                return True
            if not self.budget.reserved.total:
                left = self._total - self._done
                self._stop(
                    ValueError(
                        f"{self.who}'s budget ends here: {self.budget.describe()} are spent on {self._done} of "
                        f"{self._total} calls, {left} remain, and the next may take {tokens.total:,} tokens; raise "
                        f"{self.group}.budget_tokens or {self.group}.budget_cost and run the same command: what is "
                        "paid is kept"
                    )
                )
                return False
            self._changed.clear()
            await self._changed.wait()
        return False

    async def _answer(self, client: openai.AsyncOpenAI, key: str, call: Call) -> TeacherAnswer | None:
        """The answer to a call, after as many attempts as it takes; None when the asking stopped meanwhile."""
        failures = 0
        while True:
            body = self._body(call)
            try:
                answer = await self._attempt(client, body, call)
            except _Failed as failed:
                failures += 1
                self._note(key, failed.how)
                if self._why is not None:
                    return None
                if failures > self.settings.max_retries:
                    raise ValueError(
                        f"{self.who} at {self.settings.base_url} gave no answer in {failures} attempts (the last: "
                        f"{failed.how}); {self._done} of {self._total} calls are answered and kept: run the same "
                        f"command to go on, or raise {self.group}.max_retries or {self.group}.timeout_seconds"
                    ) from None
                pause = max(failed.pause, _backoff(failures))
                log.warning("%s: %s; trying again in %.0f s", self.settings.WHO, failed.how, pause)
                await self._rest(pause)
                if self._why is not None:
                    return None
            else:
                if answer is not None:  # else the body was adapted
                    self._note(key, "answered", answer)
                    return answer

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict[str, Any], call: Call) -> TeacherAnswer | None:
        """One request. None where the server does not know a field of the body, which is then left out."""
        import openai

        try:
            # Around all of it: the client's own limit begins anew with every byte.
            async with asyncio.timeout(self.settings.timeout_seconds):
                completion = await client.chat.completions.create(**body)
        except (TimeoutError, openai.APITimeoutError):
            raise _Failed(f"no answer in {self.settings.timeout_seconds:g} s") from None
        except openai.APIConnectionError as error:
            raise _Failed(f"no connection ({self._words(_cause(error))})") from None
        except openai.APIStatusError as error:
            if self._adapt(body, error):
                return None
            self._judge(error)
            raise _Failed(f"HTTP {error.status_code}", _retry_after(error)) from None
        except (openai.APIError, ValueError) as error:
            raise _Failed(f"an answer that is no JSON ({type(error).__name__})") from None
        return self._read(completion, call)

    def _body(self, call: Call) -> dict[str, Any]:
        body = call_body(call, self.settings)
        if "max_tokens" in self._refused:
            body["max_completion_tokens"] = body["max_tokens"]
        return {name: value for name, value in body.items() if name not in self._refused}

    def _adapt(self, body: dict[str, Any], error: openai.APIStatusError) -> bool:
        """Leave a field out that the server says it does not take; False where the refusal is about something else."""
        if error.status_code not in (400, 422):
            return False
        words = str(error.body or error.message)
        for field, signs in (
            ("response_format", ("response_format", "json_schema")),
            ("max_tokens", ("max_completion",)),
        ):
            if field in body and any(sign in words for sign in signs):
                if field not in self._refused:
                    log.info("%s: the server does not take %s; going on without", self.settings.WHO, field)
                self._refused.add(field)
                return True
        return False

    def _judge(self, error: openai.APIStatusError) -> None:
        """Raise ValueError where no further attempt helps."""
        code, url = error.status_code, self.settings.base_url
        if code in (401, 403):  # the server's own words may hold the key, or a part of it
            held = self.settings.api_key_secret or self.settings.api_key_env
            what = f"refuses the key in {held}" if self.api_key else f"wants a key, and {held} holds none"
            raise ValueError(f"{self.who} at {url} {what} (HTTP {code}): put the right one there") from None
        words = self._words(_message(error))
        if code == 429 and error.code == "insufficient_quota":
            raise ValueError(f"the account at {url} has nothing left (HTTP 429): {words}") from None
        if code == 404:
            raise ValueError(
                f"{self.who} at {url} knows no such address or no model {self.settings.model!r} (HTTP 404): correct "
                f"{self.group}.base_url (it often ends in /v1) or {self.group}.model; it says: {words}"
            ) from None
        if code not in _RETRIED and code < 500:
            raise ValueError(f"{self.who} at {url} refuses the call (HTTP {code}); it says: {words}") from None
        if (pause := _retry_after(error)) > LONGEST_RETRY_AFTER_SECONDS:
            raise ValueError(
                f"{self.who} at {url} asks to be left alone for {pause:.0f} s (HTTP {code}): run the same command then"
            ) from None

    def _read(self, completion: Any, call: Call) -> TeacherAnswer:
        try:
            choice = completion.choices[0]
            text = choice.message.content or ""
            if not isinstance(text, str):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            raise _Failed("an answer that is no chat completion") from None
        usage = getattr(completion, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        told = [count for count in counts if isinstance(count, int) and count >= 0]
        known = len(told) == len(counts)
        if not known:
            told = [len(part.encode("utf-8", "replace")) // 4 for part in (call.prompt.message, text)]
        finish = choice.finish_reason if isinstance(choice.finish_reason, str) else ""
        return TeacherAnswer(_whole(hide_key(text, self.api_key)), told[0], told[1], not known, _whole(finish))

    def _note(self, key: str, outcome: str, answer: TeacherAnswer | None = None) -> None:
        entry: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "call": key,
            "model": self.settings.model,
            "outcome": outcome,
        }
        if answer is not None:
            entry |= {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "estimated": answer.estimated}
            entry["cost"] = self.settings.cost(answer.tokens_in, answer.tokens_out)
        self.book.note(entry)

    async def _rest(self, seconds: float) -> None:
        """Sleep, but not longer than the asking goes on."""
        end = asyncio.get_running_loop().time() + seconds
        while self._why is None and (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.2))

    def _words(self, text: str) -> str:
        """The server's words, short and without the key."""
        return fold_space(hide_key(text, self.api_key))[:_SHOWN]


def hide_key(text: str, api_key: str | None) -> str:
    """The text without the key."""
    return text.replace(api_key, "[key]") if api_key and len(api_key) >= SHORTEST_SECRET else text


def _whole(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which no file in UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def _message(error: openai.APIStatusError) -> str:
    """The server's own words, out of the usual wrappings."""
    body: Any = error.body
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return str(body or error.message)


def _cause(error: BaseException) -> str:
    """The innermost reason in words, or its class where it says nothing."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _backoff(failures: int) -> float:
    """1, 2, 4, ... seconds, up to a minute, each up to a half shorter, so that calls do not come back all at once."""
    share = random.uniform(0.5, 1.0)  # noqa: S311  no secret
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (failures - 1)) * share


def _retry_after(error: openai.APIStatusError) -> float:
    """Seconds, of a header that holds seconds or a date; 0 where there is none that can be read."""
    value = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
