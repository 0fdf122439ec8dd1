"""A teacher or a judge behind an OpenAI-compatible server: several calls at once, repeated, each kept on disk.

What helps: 429 (as late as the server says), 5xx, time-outs, broken connections, answers that are no completion. What a
person must correct (400, 401, 403, 404) stops everything with one line. However the asking stops, the calls that are on
their way come to their end first: they are paid. An attempt that a server took and did not answer counts as well.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data.endpoint.budget import Budget, Tokens, estimated_tokens
from data.endpoint.failures import RETRIED, Failed, backoff, cause, message, never_sent, retry_after, turned_away
from data.endpoint.kept_answers import ANSWERED, AnswerBook, Call, TeacherAnswer, call_body
from data.endpoint.settings import EndpointSettings
from data.prompting.prompts import fold_space
from user_error import UserError

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

Progress = Callable[[int, str], object]

CONNECT_SECONDS = 10.0  # at most half of a call's time: what runs out later was sent
LONGEST_RETRY_AFTER_SECONDS = 600.0  # one that asks for more time will not be waited for
SHORTEST_SECRET = 8  # what is shorter is no key but a placeholder ("none"), and may stand in any text
NO_KEY = "none"  # the client wants one; servers without keys do not look at it
_SHOWN = 200  # characters of a server's own words


class Interrupted(Exception):
    """The asking was told to stop; what was asked is kept."""


class Endpoint:
    """Asks a server; `ask` runs once."""

    def __init__(self, settings: EndpointSettings, book: AnswerBook, api_key: str | None) -> None:
        """
        Raises:
            UserError: the key cannot stand in a header.
        """
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            # The HTTP library would repeat it in its error.
            held = settings.api_key_secret or settings.api_key_env
            raise UserError(f"what {held} holds is no key: it has spaces, line breaks or other than ASCII letters")
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
            UserError: the server refuses, does not answer, or the budget is spent; one line.
            Interrupted: `stop` was called.
        """
        from openai import AsyncOpenAI, Timeout

        connecting = Timeout(None, connect=min(CONNECT_SECONDS, self.settings.timeout_seconds / 2))
        self._loop = asyncio.get_running_loop()
        kept = {key: answer for key in calls if (answer := self.book.get(key))}
        spent = sum((answer.tokens for answer in kept.values()), Tokens())
        self.budget = Budget(self.settings, spent, self.book.lost(calls.keys()))
        self._total, self._done = len(calls), len(kept)
        waiting = iter([(key, call) for key, call in calls.items() if key not in kept])
        async with AsyncOpenAI(
            api_key=self.api_key or NO_KEY, base_url=self.settings.base_url, max_retries=0, timeout=connecting
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
            try:
                await self._answer(client, key, call)
            except Exception as error:  # raised at the end, not now: the calls of the other workers are paid
                self._stop(error)
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
                        f"{self._total} calls{self._told_lost()}, {left} remain, and the next may take "
                        f"{tokens.total:,} tokens; raise {self.group}.budget_tokens or {self.group}.budget_cost and "
                        "run the same command: what is paid is kept"
                    )
                )
                return False
            self._changed.clear()
            await self._changed.wait()
        return False

    def _told_lost(self) -> str:
        lost = self.budget.lost.total
        return f" ({lost:,}, estimated, went into attempts that came to nothing)" if lost else ""

    async def _answer(self, client: openai.AsyncOpenAI, key: str, call: Call) -> None:
        """Keep the answer to a call, after as many attempts as it takes, each within the budget."""
        failures = 0
        worst = self.budget.worst(call.prompt.message)
        while await self._reserve(worst):
            took = Tokens()
            # Should this process die now, the next finds what was on its way.
            self.book.send(key, self._entry(key, "cut off with the process that asked", _unanswered(call), True))
            try:
                answer = await self._attempt(client, self._body(call), call)
                if answer is None:  # the body was adapted
                    continue
                took = answer.tokens
                self.book.keep(key, answer)
                self.book.note(self._entry(key, ANSWERED, took, answer.estimated))
                self._done += 1
                return
            except asyncio.CancelledError:
                self.book.note(self._entry(key, "given up", _unanswered(call), True))
                raise
            except Failed as failed:
                failures += 1
                took = failed.took
                self.budget.lost += took
                self.book.note(self._entry(key, failed.how, took, True))
                pause = self._pause(failures, failed)
            finally:
                self.book.end(key)
                self.budget.settle(worst, took)
                self._changed.set()
            await self._rest(pause)

    def _pause(self, failures: int, failed: Failed) -> float:
        """Seconds until the next attempt.

        Raises:
            UserError: there were enough of them.
        """
        if failures > self.settings.max_retries:
            raise UserError(
                f"{self.who} at {self.settings.base_url} gave no answer in {failures} attempts (the last: "
                f"{failed.how}); {self._done} of {self._total} calls are answered and kept: run the same "
                f"command to go on, or raise {self.group}.max_retries or {self.group}.timeout_seconds"
            )
        pause = max(failed.pause, backoff(failures))
        if self._why is None:
            log.warning("%s: %s; trying again in %.0f s", self.settings.WHO, failed.how, pause)
        return pause

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict[str, Any], call: Call) -> TeacherAnswer | None:
        """One request. None where the server does not know a field of the body, which is then left out."""
        import openai

        try:
            # Around all of it: the client's own limit begins anew with every byte.
            async with asyncio.timeout(self.settings.timeout_seconds):
                completion = await client.chat.completions.create(**body)
        except TimeoutError:
            raise Failed(f"no answer in {self.settings.timeout_seconds:g} s", took=_unanswered(call)) from None
        except openai.APIConnectionError as error:
            took = None if never_sent(error) else _unanswered(call)
            raise Failed(f"no connection ({self._words(cause(error))})", took=took) from None
        except openai.APIStatusError as error:
            if self._adapt(body, error):
                return None
            self._judge(error)
            took = None if turned_away(error) else _unanswered(call)
            raise Failed(f"HTTP {error.status_code}", retry_after(error), took) from None
        except (openai.APIError, ValueError) as error:
            raise Failed(f"an answer that is no JSON ({type(error).__name__})", took=_unanswered(call)) from None
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
            raise UserError(f"{self.who} at {url} {what} (HTTP {code}): put the right one there") from None
        words = self._words(message(error))
        if code == 429 and error.code == "insufficient_quota":
            raise UserError(f"the account at {url} has nothing left (HTTP 429): {words}") from None
        if code == 404:
            raise UserError(
                f"{self.who} at {url} knows no such address or no model {self.settings.model!r} (HTTP 404): correct "
                f"{self.group}.base_url (it often ends in /v1) or {self.group}.model; it says: {words}"
            ) from None
        if code not in RETRIED and code < 500:
            raise UserError(f"{self.who} at {url} refuses the call (HTTP {code}); it says: {words}") from None
        if (pause := retry_after(error)) > LONGEST_RETRY_AFTER_SECONDS:
            raise UserError(
                f"{self.who} at {url} asks to be left alone for {pause:.0f} s (HTTP {code}): run the same command then"
            ) from None

    def _read(self, completion: Any, call: Call) -> TeacherAnswer:
        usage = getattr(completion, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        told = [count for count in counts if isinstance(count, int) and count >= 0]
        known = len(told) == len(counts)
        try:
            choice = completion.choices[0]
            text = choice.message.content or ""
            if not isinstance(text, str):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            took = Tokens(*told) if known else _unanswered(call)
            raise Failed("an answer that is no chat completion", took=took) from None
        if not known:
            told = [estimated_tokens(part) for part in (call.prompt.message, text)]
        finish = choice.finish_reason if isinstance(choice.finish_reason, str) else ""
        return TeacherAnswer(_whole(hide_key(text, self.api_key)), told[0], told[1], not known, _whole(finish))

    def _entry(self, key: str, outcome: str, took: Tokens, estimated: bool) -> dict[str, Any]:
        """A line of the ledger."""
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "call": key,
            "model": self.settings.model,
            "outcome": outcome,
            "tokens_in": took.prompts,
            "tokens_out": took.answers,
            "estimated": estimated,
            "cost": self.settings.cost(took.prompts, took.answers),
        }

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


def _unanswered(call: Call) -> Tokens:
    """What a call has taken that was sent and not answered: as far as anybody here can know, its prompt."""
    return Tokens(estimated_tokens(call.prompt.message), 0)
