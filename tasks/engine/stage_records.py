"""Prefect's record of a stage, read without Prefect: the artifact in it.

A record names its serializer, a JSON library, a decoder and the class of its result, all of which Prefect would import
and call; and it may come from shared storage. So it is parsed here as JSON, and one that is not exactly as Prefect
writes it for a stage is no record: Prefect gets to read only what names nothing else.
"""

import json
from pathlib import Path
from typing import Any

from tasks.store.artifacts import Artifact

_CLASS = f"{Artifact.__module__}.{Artifact.__qualname__}"
# What Prefect writes for `result_serializer="json"`.
_SERIALIZER = {
    "type": "json",
    "jsonlib": "json",
    "object_encoder": "prefect.serializers.prefect_json_object_encoder",
    "object_decoder": "prefect.serializers.prefect_json_object_decoder",
    "dumps_kwargs": {},
    "loads_kwargs": {},
}
_METADATA = {"storage_key", "expiration", "serializer", "prefect_version", "storage_block_id"}


def read_record(path: Path) -> Artifact | None:
    """The artifact in a record; None without a record, or if it is not one of a stage."""
    try:
        return artifact_of_record(path.read_bytes())
    except OSError:
        return None


def artifact_of_record(content: bytes) -> Artifact | None:
    """The artifact in the bytes of a record; None if they are not exactly the record of a stage's result."""
    try:
        record = _parse(content.decode())
        metadata, result = record["metadata"], _parse(record["result"])
        artifact = Artifact.model_validate(result["data"])
        plain = json.loads(artifact.model_dump_json())
    except (ValueError, TypeError, KeyError, RecursionError):  # emptied, cut off, foreign, or of another version
        return None
    # Each part is compared as a whole: a key more is a key that Prefect may act on.
    expected = {"metadata": metadata, "result": record["result"]}
    if record != expected or not isinstance(metadata, dict) or metadata.keys() - _METADATA:
        return None
    if metadata.get("serializer") != _SERIALIZER or metadata.get("expiration") is not None:
        return None
    return artifact if result == {"__class__": _CLASS, "data": plain} else None


def _parse(text: str) -> Any:
    """JSON whose objects have no key twice, of which other parsers may take the other value."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found
