"""What the examples of one context save by sharing it: their common prefix is stored, and computed, once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.raft.alpaca import AlpacaRecord
from data.raft.sequences import TokenSequence


def sharing_counts(records: Sequence[AlpacaRecord], sequences: Sequence[TokenSequence]) -> dict[str, int]:
    """Tokens of all examples, of what they share with others of their group, and of what is stored when that is once.

    Args:
        sequences: of the records, in their order.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for record, sequence in zip(records, sequences, strict=True):
        groups.setdefault(record.group_id, []).append(sequence.tokens)
    total = sum(len(tokens) for group in groups.values() for tokens in group)
    prefixes = [(len(group), _common_prefix(group)) for group in groups.values() if len(group) > 1]
    saved = sum((number - 1) * length for number, length in prefixes)
    return {
        "tokens of all examples": total,
        "tokens of their shared prefixes": sum(number * length for number, length in prefixes),
        "tokens stored, each shared prefix once": total - saved,
        "tokens saved by sharing": saved,
    }


def _common_prefix(group: Sequence[np.ndarray]) -> int:
    """How many first tokens all of them have in common."""
    shortest = min(map(len, group))
    same = np.all(np.stack([tokens[:shortest] for tokens in group]) == group[0][:shortest], axis=0)
    return shortest if same.all() else int(same.argmin())
