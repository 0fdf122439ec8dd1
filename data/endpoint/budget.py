"""The budget of calls to a server: no call starts that could exceed it."""

from __future__ import annotations

from dataclasses import dataclass

from data.endpoint.settings import EndpointSettings


@dataclass(frozen=True, slots=True)
class Tokens:
    """Numbers of tokens of prompts and of answers."""

    prompts: int = 0
    answers: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompts + other.prompts, self.answers + other.answers)

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompts - other.prompts, self.answers - other.answers)

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.prompts + self.answers


_NOTHING = Tokens()


def estimated_tokens(text: str) -> int:
    """A text's number of tokens if the server does not report it: a quarter of its bytes."""
    return len(text.encode("utf-8", "replace")) // 4


class Budget:
    """Counts the tokens that are spent, and those that calls in flight may still take."""

    def __init__(self, settings: EndpointSettings, spent: Tokens, lost: Tokens = _NOTHING) -> None:
        """
        Args:
            spent: by answers that are kept already.
            lost: by earlier attempts that failed.
        """
        self.settings = settings
        self.spent = spent + lost  # in total
        self.lost = lost
        self.reserved = Tokens()

    def worst(self, prompt: str) -> Tokens:
        """The most that a call can take: half a token per byte is more than any tokenizer produces of usual texts."""
        return Tokens(len(prompt.encode("utf-8", "replace")) // 2, self.settings.max_tokens)

    def reserve(self, tokens: Tokens) -> bool:
        """Reserve tokens for a call; False if the budget might not cover them."""
        asked = self.spent + self.reserved + tokens
        limit, money = self.settings.budget_tokens, self.settings.budget_cost
        if limit is not None and asked.total > limit:
            return False
        if money is not None and self.settings.cost(asked.prompts, asked.answers) > money:
            return False
        self.reserved += tokens
        return True

    def settle(self, reserved: Tokens, taken: Tokens) -> None:
        """Replace the reservation of a call that ended by the tokens that it took."""
        self.reserved -= reserved
        self.spent += taken

    def describe(self) -> str:
        """`12,345 tokens` or, with prices, `12,345 tokens (cost 0.0570)`."""
        tokens = f"{self.spent.total:,} tokens"
        cost = self.settings.cost(self.spent.prompts, self.spent.answers)
        return f"{tokens} (cost {cost:.4f})" if self.settings.price_in or self.settings.price_out else tokens
