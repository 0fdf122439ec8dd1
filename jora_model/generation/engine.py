"""Continuous batching: each request takes a slot while it is decoded, and frees it when its answer ends.

    engine = Engine(load_model(folder), adapters={"tuned": load_adapter(folder, model.config)})
    number = engine.submit(Request(tokens, settings, end_ids))
    while not engine.idle:
        for request, token, finished in engine.step():
            ...

Waiting requests whose prompts share a prefix are prefilled as one row (prompt_rows.py), even if there are not enough
slots for all of them: the others wait with their first token chosen. An answer depends on its request only, not on the
batch: draws are keyed by seed, `Request.draw` and the token's index.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array

from jora_model.formats.fitted_adapter import FittedAdapter
from jora_model.formats.hf_weights import facts_and_weights
from jora_model.generation.decode import Decoder, Group, Row
from jora_model.generation.guide import Guide
from jora_model.generation.layer_weights import ModelWeights, open_weights
from jora_model.generation.sampling import Counts, Wanted, choose, with_penalties
from jora_model.generation.stacked_adapters import Adapter
from jora_model.model.transformer import Transformer
from jora_model.ops.cpu import FEWEST_ROWS
from jora_model.packing.prompt_rows import belong_together, pack_row, row_size
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import GenerationSettings
from user_error import UserError

Finished = Literal["stop", "length"]

# Most positions of a row, unless one prompt has more, and most that one step prefills before the active answers get
# their next token.
ROW_TOKENS = 4096
# Rows are filled up to this with prompts that share little: a shorter row costs nearly as much.
_FILL_TOKENS = 512
_ROWS_AT_ONCE = 2


@dataclass(frozen=True)
class Request:
    """One prompt and how to answer it.

    Attributes:
        tokens: int32, at least one.
        end_ids: tokens that end the answer.
        adapter: its name in the engine; None uses the model as it was loaded.
        draw: index of the random key under the seed; the same request has the same answer in any batch.
        guide: grammar state of the answer, new for this request; None leaves the answer unconstrained.
    """

    tokens: np.ndarray
    settings: GenerationSettings
    end_ids: tuple[int, ...]
    adapter: str | None = None
    draw: int = 0
    guide: Guide | None = None


class Produced(NamedTuple):
    """A token of an answer, the end token included."""

    request: int
    token: int
    finished: Finished | None


@dataclass(eq=False)
class _Answer:
    number: int
    request: Request
    row: Row | None = None
    end: int = 0  # of its prompt in the row
    last: int = -1  # newest token
    count: int = 0  # tokens so far
    slot: int = -1
    long: bool = False  # see `Engine._is_long`
    counts: Counts | None = None  # with penalties

    @property
    def wanted(self) -> Wanted:
        request = self.request
        allowed = None if request.guide is None else request.guide.allowed
        return Wanted(request.settings, request.draw, self.count, allowed, self.counts)

    def take(self, token: int) -> Produced:
        self.last, self.count = token, self.count + 1
        if self.counts is not None:
            self.counts.add(token)
        finished: Finished | None = None
        if token in self.request.end_ids:
            finished = "stop"
        elif self.count == self.request.settings.max_new_tokens:
            finished = "length"
        return Produced(self.number, token, finished)


@dataclass
class _Slots:
    """The answer in each slot. `groups` is None after a change, until it is computed again."""

    answers: list[_Answer | None]
    groups: list[Group] | None = None

    def put(self, slot: int, answer: _Answer | None) -> None:
        self.answers[slot] = answer
        self.groups = None


class Engine:
    """Decodes many requests at once. Not thread-safe.

    Args:
        model: with or without an adapter, which stays unmerged.
        adapters: by the names that requests use; all share the base's weights.
        own: a name for the model as it was loaded, beside None.
        slots: answers decoded at once.
        max_length: most tokens of a prompt and its answer together; by default the model's positions.
    """

    def __init__(
        self,
        model: Transformer | ModelWeights,
        *,
        adapters: Mapping[str, Adapter] | None = None,
        own: str | None = None,
        slots: int = 16,
        max_length: int | None = None,
    ):
        adapters = adapters or {}
        self.vocab_size = model.config.vocab_size
        self._long_from = model.config.long_from
        self.max_length = min(max_length or model.config.max_positions, model.config.max_positions)
        self._decoder = Decoder(model, list(adapters.values()), max(FEWEST_ROWS, slots))
        self._numbers: dict[str | None, int] = {None: 0, own: 0} | {name: n for n, name in enumerate(adapters, start=1)}
        # The decoder may have one slot more, which stays empty.
        self._slots = _Slots([None] * slots)
        self._waiting: dict[int, _Answer] = {}
        self._prefilled: deque[_Answer] = deque()  # waiting for a slot
        self._next = 0

    def submit(self, request: Request) -> int:
        """Queue a request; returns its number.

        Raises:
            UserError: the prompt is empty, too long with its answer, for an unknown adapter, or has a token that is
                not in the model's vocabulary.
        """
        check_prompt(np.asarray(request.tokens), request.settings, self.max_length, self.vocab_size)
        if request.adapter not in self._numbers:
            known = ", ".join(sorted(name for name in self._numbers if name is not None)) or "none"
            raise UserError(f"there is no adapter {request.adapter!r}; there are: {known}")
        number = self._next
        self._next += 1
        counts = Counts(request.tokens, request.settings) if request.settings.penalized else None
        self._waiting[number] = _Answer(number, request, long=self._is_long(request), counts=counts)
        return number

    def _is_long(self, request: Request) -> bool:
        """Whether a prompt and its answer may pass the length at which `longrope` changes all frequencies.

        transformers recomputes the whole cache when an answer passes it; here the answer has the long factors from
        its start.
        """
        longest = len(request.tokens) + request.settings.max_new_tokens
        return self._long_from is not None and longest > self._long_from

    def cancel(self, request: int) -> None:
        """Drop a request and free its slot; no-op if it is finished or unknown."""
        self._waiting.pop(request, None)
        self._prefilled = deque(answer for answer in self._prefilled if answer.number != request)
        for slot, answer in enumerate(self._slots.answers):
            if answer is not None and answer.number == request:
                self._slots.put(slot, None)

    @property
    def idle(self) -> bool:
        """Whether no request is waiting or active."""
        return not self.waiting and not self.active

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return len(self._waiting) + len(self._prefilled)

    @property
    def active(self) -> int:
        """Answers in slots."""
        return sum(answer is not None for answer in self._slots.answers)

    def step(self) -> list[Produced]:
        """Fill free slots with waiting requests, and add the next token to each active answer.

        A request that has just got a slot produces two tokens: the first one comes from its prefill.
        """
        produced: list[Produced] = []
        self._fill_slots(produced)
        if self.active:
            self._decode(produced)
        return produced

    def _fill_slots(self, produced: list[Produced]) -> None:
        room = ROW_TOKENS
        for slot, taken in enumerate(self._slots.answers):
            while taken is None:
                if not self._prefilled:
                    if not self._waiting or room <= 0:
                        return
                    room -= self._prefill_rows()
                answer = self._prefilled.popleft()
                first = answer.take(answer.last)
                produced.append(first)
                if first.finished is None:
                    answer.slot, taken = slot, answer
                    self._slots.put(slot, answer)

    def _prefill_rows(self) -> int:
        """Prefill the oldest requests, two rows at once if possible; returns how many positions they took.

        Attention over a row keeps one core busy, the products all of them: two rows together leave no core idle.
        """
        rows = [self._next_row() for _ in range(_ROWS_AT_ONCE) if self._waiting]
        packed = [pack_row([answer.request.tokens for answer in members]) for members in rows]
        which = [self._numbers[members[0].request.adapter] for members in rows]
        long = [members[0].long for members in rows]
        if len(rows) == 1:
            results = [self._decoder.prefill(packed[0], which[0], long[0])]
        else:
            with ThreadPoolExecutor(len(rows)) as pool:
                results = list(pool.map(self._decoder.prefill, packed, which, long))
        for members, prompts, (logits, likeliest, row) in zip(rows, packed, results, strict=True):
            chosen = _choose(logits, likeliest, members)
            for answer, end, token in zip(members, prompts.ends.tolist(), chosen, strict=True):
                answer.row, answer.end, answer.last = row, end, token
                self._prefilled.append(answer)
        return sum(len(prompts.tokens) for prompts in packed)

    def _next_row(self) -> list[_Answer]:
        """Take the oldest request and those that fit in its row off the queue."""
        first = next(iter(self._waiting.values()))
        members, prompts = [first], [first.request.tokens]
        related = [first]
        others: list[_Answer] = []
        for answer in self._waiting.values():
            alike = answer.request.adapter == first.request.adapter and answer.long == first.long
            if answer is not first and alike:
                together = belong_together(first.request.tokens, answer.request.tokens)
                (related if together else others).append(answer)
        for candidates, limit in ((related[1:], ROW_TOKENS), (others, _FILL_TOKENS)):
            for answer in candidates if row_size(prompts) < limit else ():
                if row_size([*prompts, answer.request.tokens]) <= limit:
                    members.append(answer)
                    prompts.append(answer.request.tokens)
        for answer in members:
            del self._waiting[answer.number]
        return members

    def _decode(self, produced: list[Produced]) -> None:
        slots = self._slots
        if slots.groups is None:
            slots.groups = self._decoder.group(self._rows_in_use())
        tokens, positions, which = (np.zeros(self._decoder.slots, np.int32) for _ in range(3))
        ages, long = np.ones(self._decoder.slots, np.int32), np.zeros(self._decoder.slots, bool)
        for slot, answer in enumerate(slots.answers):
            if answer is not None:
                tokens[slot], ages[slot] = answer.last, answer.count
                positions[slot] = len(answer.request.tokens) + answer.count - 1
                which[slot], long[slot] = self._numbers[answer.request.adapter], answer.long
        logits, likeliest = self._decoder.step(tokens, positions, which, ages, slots.groups, long)
        chosen = _choose(logits, likeliest, slots.answers)
        for slot, (answer, token) in enumerate(zip(list(slots.answers), chosen, strict=True)):
            if answer is not None:
                produced.append(answer.take(token))
                if produced[-1].finished is not None:
                    slots.put(slot, None)

    def _rows_in_use(self) -> list[tuple[Row, dict[int, int]]]:
        rows: dict[int, tuple[Row, dict[int, int]]] = {}
        for slot, answer in enumerate(self._slots.answers):
            if answer is not None:
                assert answer.row is not None
                rows.setdefault(id(answer.row), (answer.row, {}))[1][slot] = answer.end
        return list(rows.values())


def _choose(logits: Array, likeliest: Array, answers: Sequence[_Answer | None]) -> list[int]:
    """The next token of each answer; advances the guides."""
    wanted = [None if answer is None else answer.wanted for answer in answers]
    logits, likeliest = with_penalties(logits, likeliest, wanted)
    tokens = choose(logits, likeliest, wanted)
    for answer, token, first in zip(answers, tokens, np.asarray(likeliest).tolist(), strict=False):
        if answer is not None and answer.request.guide is not None:
            answer.request.guide.take(token, first)
    return tokens


def check_prompt(
    tokens: np.ndarray, settings: GenerationSettings, limit: int, vocab_size: int, prompt: str = "the prompt"
) -> None:
    """Check that a prompt with its answer fits, and that the model knows its tokens, which JAX does not check.

    Args:
        limit: most tokens of both together.
        prompt: its name in the message.

    Raises:
        UserError: the prompt is empty, too long with its answer, or has a token outside the vocabulary.
    """
    if len(tokens) == 0:
        raise UserError(f"{prompt} has no token; give it at least one")
    if len(tokens) + settings.max_new_tokens > limit:
        raise UserError(
            f"{prompt} has {len(tokens)} tokens, with max_new_tokens={settings.max_new_tokens} more than "
            f"the {limit} positions allowed; shorten the prompt or lower max_new_tokens"
        )
    strange = tokens[(tokens < 0) | (tokens >= vocab_size)]
    if strange.size:
        raise UserError(
            f"{prompt} has token {strange[0]}, and the model's vocabulary only 0 to {vocab_size - 1}; use the "
            "tokenizer of this model, whose added tokens must have rows in its embedding"
        )


def open_engine(base: Path, adapters: Mapping[str, Path], *, alone: bool, slots: int, compute_dtype: Any) -> Engine:
    """An engine of a base model and of adapters, by the names that requests use.

    Args:
        alone: whether no request asks the base model. Only then, a single adapter may replace weights of the base.

    Raises:
        UserError: as `load_adapter`; a file of the base is missing or damaged.
    """
    if alone and len(adapters) == 1:
        ((name, folder),) = adapters.items()
        if FittedAdapter(folder, *facts_and_weights(base)).replaced.names:
            return Engine(open_weights(base, adapter=folder, compute_dtype=compute_dtype), own=name, slots=slots)
    model = open_weights(base, compute_dtype=compute_dtype)
    loaded = {name: load_adapter(folder, model.config) for name, folder in adapters.items()}
    return Engine(model, adapters=loaded, slots=slots)


def load_adapter(folder: Path, config: ModelConfig) -> Adapter:
    """Read a PEFT adapter for `Engine`.

    Raises:
        UserError: it is missing, damaged, for another base model, or replaces weights that the adapters share.
    """
    fitted = FittedAdapter(Path(folder), config).sharing()
    return Adapter(fitted.lora, fitted.factors, fitted.magnitudes)
