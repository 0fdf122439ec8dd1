"""Answers to many requests at once: each takes a slot while it grows, and leaves it to the next when it ends.

    engine = Engine(load_model(folder), adapters={"tuned": load_adapter(folder, model.config)})
    number = engine.submit(Request(tokens, settings, end_ids))
    while not engine.idle:
        for request, token, finished in engine.step():
            ...

Requests that wait together and begin alike are run as one row of prompts (prompt_rows.py), whether or not there are
slots for all of them: those that have none yet wait with their first token chosen. What a request answers depends on
itself alone, not on who is answered beside it: draws are keyed by seed, place and the token's number.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array

from jora_model.formats.lora import read_adapter
from jora_model.generation.decode import Decoder, Group, Row
from jora_model.generation.guide import Guide
from jora_model.generation.sampling import Wanted, choose
from jora_model.generation.stacked_adapters import Adapter
from jora_model.model.transformer import Llama
from jora_model.ops.cpu import FEWEST_ROWS
from jora_model.packing.prompt_rows import belong_together, pack_row, row_size
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import GenerationSettings
from user_error import UserError

Finished = Literal["stop", "length"]

# Places of a row at most, unless one prompt has more: of what is run at once, and what a step may take before the
# answers that are already growing get their next token.
ROW_TOKENS = 4096
# Rows are filled up to this with prompts that share little: a short row costs nearly as much as this one.
_FILL_TOKENS = 512
_ROWS_AT_ONCE = 2


@dataclass(frozen=True)
class Request:
    """One prompt and how it is answered.

    Attributes:
        tokens: int32, at least one.
        end_ids: tokens that end the answer.
        adapter: the engine's name of it; None asks the model as it was loaded.
        place: which draw of the seed; the same request has the same answer whatever the batch.
        guide: what the answer is held to, fresh for this request; None: nothing.
    """

    tokens: np.ndarray
    settings: GenerationSettings
    end_ids: tuple[int, ...]
    adapter: str | None = None
    place: int = 0
    guide: Guide | None = None


class Produced(NamedTuple):
    """A token of an answer; the token that ends it is given, too."""

    request: int
    token: int
    finished: Finished | None


@dataclass(eq=False)
class _Answer:
    number: int
    request: Request
    row: Row | None = None
    end: int = 0  # of its prompt, in the row
    last: int = -1  # its newest token
    count: int = 0  # tokens so far
    slot: int = -1

    @property
    def wanted(self) -> Wanted:
        guide = self.request.guide
        return Wanted(self.request.settings, self.request.place, self.count, None if guide is None else guide.allowed)

    def take(self, token: int) -> Produced:
        self.last, self.count = token, self.count + 1
        finished: Finished | None = None
        if token in self.request.end_ids:
            finished = "stop"
        elif self.count == self.request.settings.max_new_tokens:
            finished = "length"
        return Produced(self.number, token, finished)


@dataclass
class _Seating:
    """Who sits where. `groups` is worked out when somebody came or went."""

    slots: list[_Answer | None]
    groups: list[Group] | None = field(default=None)

    def put(self, slot: int, answer: _Answer | None) -> None:
        self.slots[slot] = answer
        self.groups = None


class Engine:
    """Not for several threads: one calls it.

    Args:
        model: with or without an adapter, which stays unmerged.
        adapters: by the name that requests call them; all share the base's weights.
        slots: answers that grow at once.
        max_length: tokens of a prompt and its answer together, at most; by default the model's positions.
    """

    def __init__(
        self,
        model: Llama,
        *,
        adapters: Mapping[str, Adapter] | None = None,
        slots: int = 16,
        max_length: int | None = None,
    ):
        adapters = adapters or {}
        self.vocab_size = model.config.vocab_size
        self.max_length = min(max_length or model.config.max_positions, model.config.max_positions)
        self._decoder = Decoder(model, list(adapters.values()), max(FEWEST_ROWS, slots))
        self._numbers: dict[str | None, int] = {None: 0} | {name: n for n, name in enumerate(adapters, start=1)}
        # A single slot's neighbour exists for the sake of the products only.
        self._seating = _Seating([None] * slots)
        self._waiting: dict[int, _Answer] = {}
        self._run: deque[_Answer] = deque()  # prompts that were run and have no slot yet
        self._next = 0

    def submit(self, request: Request) -> int:
        """Let a request wait for a slot; returns its number.

        Raises:
            UserError: the prompt is empty, or with its answer too long, or the adapter is not known.
        """
        tokens = np.asarray(request.tokens, np.int32)
        if len(tokens) == 0:
            raise UserError("the prompt has no token; give it at least one")
        if len(tokens) + request.settings.max_new_tokens > self.max_length:
            raise UserError(
                f"the prompt has {len(tokens)} tokens, with max_new_tokens={request.settings.max_new_tokens} more than "
                f"the {self.max_length} positions allowed; shorten the prompt or lower max_new_tokens"
            )
        if request.adapter not in self._numbers:
            known = ", ".join(sorted(name for name in self._numbers if name is not None)) or "none"
            raise UserError(f"there is no adapter {request.adapter!r}; there are: {known}")
        number = self._next
        self._next += 1
        self._waiting[number] = _Answer(number, request)
        return number

    def cancel(self, request: int) -> None:
        """Give its slot back; nothing happens to a request that is finished or unknown."""
        self._waiting.pop(request, None)
        self._run = deque(answer for answer in self._run if answer.number != request)
        for slot, answer in enumerate(self._seating.slots):
            if answer is not None and answer.number == request:
                self._seating.put(slot, None)

    @property
    def idle(self) -> bool:
        """Nothing to do."""
        return not self.waiting and not self.seated

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return len(self._waiting) + len(self._run)

    @property
    def seated(self) -> int:
        """Answers that grow."""
        return sum(answer is not None for answer in self._seating.slots)

    def step(self) -> list[Produced]:
        """Seat requests that wait, and give each answer that grows its next token.

        A request that was just seated gets its first token, which running its prompt gave, and the second one.
        """
        produced: list[Produced] = []
        self._seat(produced)
        if self.seated:
            self._grow(produced)
        return produced

    def _seat(self, produced: list[Produced]) -> None:
        room = ROW_TOKENS
        for slot, taken in enumerate(self._seating.slots):
            while taken is None:
                if not self._run:
                    if not self._waiting or room <= 0:
                        return
                    room -= self._run_rows()
                answer = self._run.popleft()
                first = answer.take(answer.last)
                produced.append(first)
                if first.finished is None:
                    answer.slot, taken = slot, answer
                    self._seating.put(slot, answer)

    def _run_rows(self) -> int:
        """Run what has waited longest, two rows at once where there are two; returns how many places they took.

        Attention over a row keeps one core busy, the products all of them: two rows together leave none idle.
        """
        rows = [self._next_row() for _ in range(_ROWS_AT_ONCE) if self._waiting]
        packed = [pack_row([answer.request.tokens for answer in members]) for members in rows]
        which = [self._numbers[members[0].request.adapter] for members in rows]
        if len(rows) == 1:
            found = [self._decoder.prefill(packed[0], which[0])]
        else:
            with ThreadPoolExecutor(len(rows)) as pool:
                found = list(pool.map(self._decoder.prefill, packed, which))
        for members, prompts, (logits, likeliest, row) in zip(rows, packed, found, strict=True):
            chosen = _choose(logits, likeliest, members)
            for answer, end, token in zip(members, prompts.ends.tolist(), chosen, strict=True):
                answer.row, answer.end, answer.last = row, end, token
                self._run.append(answer)
        return sum(len(prompts.tokens) for prompts in packed)

    def _next_row(self) -> list[_Answer]:
        """The prompt that has waited longest, and those that wait with it and belong in its row; they wait no more."""
        first = next(iter(self._waiting.values()))
        members, prompts = [first], [first.request.tokens]
        related = [first]
        others: list[_Answer] = []
        for answer in self._waiting.values():
            if answer is not first and answer.request.adapter == first.request.adapter:
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

    def _grow(self, produced: list[Produced]) -> None:
        seating = self._seating
        if seating.groups is None:
            seating.groups = self._decoder.seated(self._asked())
        tokens, positions, which = (np.zeros(self._decoder.slots, np.int32) for _ in range(3))
        ages = np.ones(self._decoder.slots, np.int32)
        for slot, answer in enumerate(seating.slots):
            if answer is not None:
                tokens[slot], ages[slot] = answer.last, answer.count
                positions[slot] = len(answer.request.tokens) + answer.count - 1
                which[slot] = self._numbers[answer.request.adapter]
        logits, likeliest = self._decoder.step(tokens, positions, which, ages, seating.groups)
        chosen = _choose(logits, likeliest, seating.slots)
        for slot, (answer, token) in enumerate(zip(list(seating.slots), chosen, strict=True)):
            if answer is not None:
                produced.append(answer.take(token))
                if produced[-1].finished is not None:
                    seating.put(slot, None)

    def _asked(self) -> list[tuple[Row, dict[int, int]]]:
        rows: dict[int, tuple[Row, dict[int, int]]] = {}
        for slot, answer in enumerate(self._seating.slots):
            if answer is not None:
                assert answer.row is not None
                rows.setdefault(id(answer.row), (answer.row, {}))[1][slot] = answer.end
        return list(rows.values())


def _choose(logits: Array, likeliest: Array, answers: Sequence[_Answer | None]) -> list[int]:
    """The next token of each answer, which its guide has then taken."""
    tokens = choose(logits, likeliest, [None if answer is None else answer.wanted for answer in answers])
    for answer, token, first in zip(answers, tokens, np.asarray(likeliest).tolist(), strict=False):
        if answer is not None and answer.request.guide is not None:
            answer.request.guide.take(token, first)
    return tokens


def load_adapter(folder: Path, config: ModelConfig) -> Adapter:
    """A PEFT adapter for `Engine`.

    Raises:
        UserError: it is missing, damaged, or for another base model.
    """
    return Adapter(*read_adapter(Path(folder), config))
