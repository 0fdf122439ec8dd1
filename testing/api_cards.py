"""A made-up collection of API cards, one "key: value" a line, with questions about a field of a named endpoint.

Cards are alike: most of their words are those of all cards, and only the first lines name the endpoint. A card has 250
to 450 tokens, more than a chunk; a short one has its first lines only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_DOMAINS = ("Harbour", "Weather", "Freight", "Library", "Clinic", "Orchard", "Archive", "Payroll", "Transit", "Museum")
_KINDS = ("forecast", "booking", "ledger", "roster", "invoice", "permit", "survey", "manifest", "voucher", "calendar")
_WORDS = (
    "berth",
    "pallet",
    "lantern",
    "sluice",
    "ticket",
    "crate",
    "lodger",
    "gauge",
    "pollen",
    "ferry",
    "barrel",
    "loom",
)
_ADJECTIVES = (
    "weekly",
    "regional",
    "pending",
    "archived",
    "seasonal",
    "verified",
    "manual",
    "partial",
    "hourly",
    "joint",
)
_REGIONS = ("north quay", "old town", "upper valley", "east pier", "mill lane", "salt flats", "long moor", "south gate")
_OWNERS = (
    "Alva Renn",
    "Bo Tarrant",
    "Cilla Moor",
    "Dag Ostrow",
    "Edda Finch",
    "Finn Karlow",
    "Greta Holm",
    "Hal Brandt",
)
_DONE = ("added", "removed")
_ASKED = {
    "rate limit": "What is the rate limit of the {name} endpoint?",
    "authentication": "How does a caller of the {name} endpoint authenticate?",
    "owner": "Who owns the {name} endpoint?",
    "timeout": "After how many seconds does a call of the {name} endpoint time out?",
    "error budget": "How large is the error budget of the {name} endpoint?",
    "retention": "How long does the {name} endpoint keep its data?",
}
_LONG = ("parameters", "response fields", "changes")  # left out of short cards


@dataclass(frozen=True)
class CardQuestion:
    """A question about a field; the answer stands at `start` of the text of a document."""

    question: str
    answer: str
    path: str
    start: int


def api_cards(
    number: int = 300, *, short: bool = False, cards_per_file: int = 1, seed: int = 5
) -> tuple[dict[str, str], list[CardQuestion]]:
    """The texts of files by path, and three questions about each card.

    Args:
        short: without the long fields, so that a card fits in a chunk.
        cards_per_file: cards of one file, a blank line between them.
    """
    draw = random.Random(seed)
    names = [f"{a} {w} {k}" for a in _ADJECTIVES for w in _WORDS for k in _KINDS]
    texts: dict[str, str] = {}
    questions: list[CardQuestion] = []
    for place, name in enumerate(draw.sample(names, number)):
        path = f"card-{place // cards_per_file:03}.txt"
        text = texts.get(path, "")
        text += "\n" if text else ""
        fields = _fields(name, draw)
        asked = draw.sample(sorted(_ASKED), 3)
        for key, value in fields.items():
            if short and key in _LONG:
                continue
            if key in asked:
                questions.append(
                    CardQuestion(_ASKED[key].format(name=name), value, path, len(text) + len(key) + len(": "))
                )
            text += f"{key}: {value}\n"
        texts[path] = text
    return texts, questions


def _fields(name: str, draw: random.Random) -> dict[str, str]:
    """The fields of a card; those that are asked for stand between long ones."""
    slug = name.replace(" ", "-")
    parameters = (
        f"{draw.choice(_WORDS)}_{number}=number from {draw.randrange(9)} to {draw.randrange(10, 99)}"
        for number in range(14)
    )
    answered = (f"{draw.choice(_WORDS)}_{draw.choice(('id', 'date', 'sum', 'state'))}" for _ in range(24))
    changes = (
        f"{draw.randrange(2019, 2026)}: {draw.choice(_ADJECTIVES)} {draw.choice(_WORDS)} {draw.choice(_DONE)}"
        for _ in range(10)
    )
    return {
        "domain": draw.choice(_DOMAINS),
        "endpoint": name,
        "path": f"/v{draw.randrange(1, 5)}/{slug}",
        "functionality": f"returns the {name} of the {draw.choice(_REGIONS)}",
        "authentication": draw.choice(
            ("API key in the header", "OAuth with a refresh token", "signed cookie", "mutual TLS")
        ),
        "parameters": ", ".join(parameters),
        "rate limit": f"{draw.randrange(10, 990)} requests a {draw.choice(('second', 'minute', 'hour'))}",
        "timeout": f"{draw.randrange(2, 90)} seconds",
        "response fields": ", ".join(answered),
        "owner": draw.choice(_OWNERS),
        "error budget": f"{draw.randrange(10, 99) / 100:.2f} percent a month",
        "changes": "; ".join(changes),
        "retention": f"{draw.randrange(3, 700)} days",
    }
