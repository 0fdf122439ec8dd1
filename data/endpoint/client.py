"""Concurrent calls to an OpenAI-compatible server, with retries and a budget; each answer is kept on disk.

Retried: 429 (after the time that the server asks for), 5xx, time-outs, broken connections, malformed answers. Errors
that a person must correct (400, 401, 403, 404) stop everything with one line. Before stopping for any reason, calls in
flight are awaited, since they are paid. Failed attempts that the server may charge for count as spent.
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
from data.endpoint.kept_answers import ANSWERED, AnswerBook, Call, EndpointAnswer, call_body
from data.endpoint.settings import EndpointSettings
from data.prompting.prompts import fold_space
from user_error import UserError

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

Progress = Callable[[int, str], object]

CONNECT_SECONDS = 10.0  # at most half of a call's time: a call that times out later was sent
LONGEST_RETRY_AFTER_SECONDS = 600.0  # do not wait for a server that asks for more
SHORTEST_SECRET = 8  # anything shorter is a placeholder ("none") that may occur in any text
NO_KEY = "none"  # the openai client needs a key; servers without keys ignore it
_SHOWN = 200  # most characters of a server's message


class Interrupted(Exception):
    """`Endpoint.stop` was called; answers so far are kept."""


class Endpoint:
    """Sends calls to a server; `ask` runs once."""

    def __init__(self, settings: EndpointSettings, book: AnswerBook, api_key: str | None) -> None:
        """
        Raises:
            UserError: the key is not valid in an HTTP header.
        """
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            # The HTTP library would repeat the key in its error.
            held = settings.api_key_secret or settings.api_key_env
            raise UserError(f"{held} holds no valid key: it has spaces, line breaks or characters that are not ASCII")
        self.settings = settings
        self.who, self.group = f"the {settings.WHO}", settings.GROUP
        self.book = book
        self.api_key = api_key
        self.budget = Budget(settings, Tokens())
        self._total = self._done = 0  # calls, and kept answers
        self._why: Exception | None = None  # why to stop
        self._changed = asyncio.Event()  # an attempt ended, or the endpoint stops
        self._refused: set[str] = set()  # fields of the body that this server does not accept
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, calls: Mapping[str, Call], progress: Progress = lambda answered, spent: None) -> None:
        """Send the calls whose answers are not kept yet; when this returns, every answer is kept.

        Args:
            calls: by their keys (`call_key`).
            progress: called when a call ends, with the number of kept answers and a description of what is spent.

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
        """Start no further call; `ask` returns when those in flight have ended. Callable from any thread."""
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
        """Send calls one after another; one of several concurrent workers."""
        while self._why is None:
            key, call = next(waiting, ("", None))
            if call is None:
                return
            try:
                await self._answer(client, key, call)
            except Exception as error:  # raised at the end: calls of the other workers are paid
                self._stop(error)
            try:
                progress(self._done, self.budget.describe())
            except Exception as error:  # such as a broken pipe
                self._stop(error)

    async def _reserve(self, tokens: Tokens) -> bool:
        """Reserve what a call may take, waiting for other calls to take less if needed; False if the endpoint stops."""
        while self._why is None:
            if self.budget.reserve(tokens):
                return True
            if not self.budget.reserved.total:
                left = self._total - self._done
                self._stop(
                    UserError(
                        f"{self.who}'s budget is spent: {self.budget.describe()} for {self._done} of {self._total} "
                        f"calls{self._describe_lost()}; {left} calls remain, and the next may take {tokens.total:,} "
                        f"tokens: raise {self.group}.budget_tokens or {self.group}.budget_cost and run the same "
                        "command again; paid answers are kept"
                    )
                )
                return False
            self._changed.clear()
            await self._changed.wait()
        return False

    def _describe_lost(self) -> str:
        lost = self.budget.lost.total
        return f" (an estimated {lost:,} of them for failed attempts)" if lost else ""

    async def _answer(self, client: openai.AsyncOpenAI, key: str, call: Call) -> None:
        """Keep the answer to a call, after as many attempts as needed, each within the budget."""
        failures = 0
        worst = self.budget.worst(call.prompt.message)
        while await self._reserve(worst):
            took = Tokens()
            # If this process dies now, the next one accounts for the call in flight.
            self.book.send(key, self._entry(key, "cut off with its process", _unanswered(call), True))
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
                self.book.note(self._entry(key, "cancelled", _unanswered(call), True))
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
            UserError: the retries are used up.
        """
        if failures > self.settings.max_retries:
            raise UserError(
                f"{self.who} at {self.settings.base_url} gave no answer in {failures} attempts (last: {failed.how}); "
                f"{self._done} of {self._total} calls are answered and kept: run the same command to continue, or "
                f"raise {self.group}.max_retries or {self.group}.timeout_seconds"
            )
        pause = max(failed.pause, backoff(failures))
        if self._why is None:
            log.warning("%s: %s; retrying in %.0f s", self.settings.WHO, failed.how, pause)
        return pause

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict[str, Any], call: Call) -> EndpointAnswer | None:
        """Send one request. None if the server does not accept a field of the body, which is then dropped."""
        import openai

        try:
            # For the complete answer: the client's own time-out restarts with every byte.
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
            self._refuse_final(error)
            took = None if turned_away(error) else _unanswered(call)
            raise Failed(f"HTTP {error.status_code}", retry_after(error), took) from None
        except (openai.APIError, ValueError) as error:
            raise Failed(f"an answer that is not JSON ({type(error).__name__})", took=_unanswered(call)) from None
        return self._read(completion, call)

    def _body(self, call: Call) -> dict[str, Any]:
        body = call_body(call, self.settings)
        if "max_tokens" in self._refused:
            body["max_completion_tokens"] = body["max_tokens"]
        return {name: value for name, value in body.items() if name not in self._refused}

    def _adapt(self, body: dict[str, Any], error: openai.APIStatusError) -> bool:
        """Drop the field that the server refuses to accept; False if the refusal is about something else."""
        if error.status_code not in (400, 422):
            return False
        words = str(error.body or error.message)
        for field, signs in (
            ("response_format", ("response_format", "json_schema")),
            ("max_tokens", ("max_completion",)),
        ):
            if field in body and any(sign in words for sign in signs):
                if field not in self._refused:
                    log.info("%s: the server does not accept %s; continuing without it", self.settings.WHO, field)
                self._refused.add(field)
                return True
        return False

    def _refuse_final(self, error: openai.APIStatusError) -> None:
        """Raise UserError if no further attempt can succeed."""
        code, url = error.status_code, self.settings.base_url
        if code in (401, 403):  # the server's message may hold the key, or a part of it
            held = self.settings.api_key_secret or self.settings.api_key_env
            what = f"refuses the key in {held}" if self.api_key else f"needs a key, and {held} holds none"
            raise UserError(f"{self.who} at {url} {what} (HTTP {code}): put a valid key there") from None
        words = self._words(message(error))
        if code == 429 and error.code == "insufficient_quota":
            raise UserError(f"the account at {url} has no credit left (HTTP 429): {words}") from None
        if code == 404:
            raise UserError(
                f"{self.who} at {url} has no such address or no model {self.settings.model!r} (HTTP 404): correct "
                f"{self.group}.base_url (it often ends in /v1) or {self.group}.model; its message: {words}"
            ) from None
        if code not in RETRIED and code < 500:
            raise UserError(f"{self.who} at {url} refuses the call (HTTP {code}); its message: {words}") from None
        if (pause := retry_after(error)) > LONGEST_RETRY_AFTER_SECONDS:
            raise UserError(
                f"{self.who} at {url} asks to wait {pause:.0f} s (HTTP {code}): run the same command after that"
            ) from None

    def _read(self, completion: Any, call: Call) -> EndpointAnswer:
        usage = getattr(completion, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        reported = [count for count in counts if isinstance(count, int) and count >= 0]
        known = len(reported) == len(counts)
        try:
            choice = completion.choices[0]
            text = choice.message.content or ""
            if not isinstance(text, str):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            took = Tokens(*reported) if known else _unanswered(call)
            raise Failed("an answer that is not a chat completion", took=took) from None
        if not known:
            reported = [estimated_tokens(part) for part in (call.prompt.message, text)]
        finish = choice.finish_reason if isinstance(choice.finish_reason, str) else ""
        text = _encodable(hide_key(text, self.api_key))
        return EndpointAnswer(text, reported[0], reported[1], not known, _encodable(finish))

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
        """Sleep, unless the endpoint stops."""
        end = asyncio.get_running_loop().time() + seconds
        while self._why is None and (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.2))

    def _words(self, text: str) -> str:
        """The server's message, shortened and without the key."""
        return fold_space(hide_key(text, self.api_key))[:_SHOWN]


def hide_key(text: str, api_key: str | None) -> str:
    """The text with the key replaced by `[key]`."""
    return text.replace(api_key, "[key]") if api_key and len(api_key) >= SHORTEST_SECRET else text


def _encodable(text: str) -> str:
    """The text with a question mark for each unpaired surrogate, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def _unanswered(call: Call) -> Tokens:
    """Estimated tokens of a call that was sent and not answered: its prompt."""
    return Tokens(estimated_tokens(call.prompt.message), 0)
