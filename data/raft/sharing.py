"""Tokens saved by prefix sharing: the common prefix of the examples of one context is stored and computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.raft.alpaca import AlpacaRecord
from data.raft.sequences import TokenSequence


def sharing_counts(records: Sequence[AlpacaRecord], sequences: Sequence[TokenSequence]) -> dict[str, int]:
    """Number of tokens of all examples, of their shared prefixes, and stored with each shared prefix once.

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
    """Length of the common prefix."""
    shortest = min(map(len, group))
    same = np.all(np.stack([tokens[:shortest] for tokens in group]) == group[0][:shortest], axis=0)
    return shortest if same.all() else int(same.argmin())
