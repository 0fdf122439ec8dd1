"""What a reader yields, for tests of readers."""

from collections.abc import Iterable

from data.documents.readers.extracted import Extracted, UnreadPart


def one(items: Iterable[Extracted | UnreadPart]) -> Extracted:
    """The only item, which must be a text."""
    (item,) = items
    assert isinstance(item, Extracted)
    return item


def texts(items: Iterable[Extracted | UnreadPart]) -> list[tuple[str, str]]:
    """(part, text) of items that must all be texts."""
    found = []
    for item in items:
        assert isinstance(item, Extracted)
        found.append((item.part, item.text))
    return found
