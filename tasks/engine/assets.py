"""Lineage in Prefect: the result of a stage is an asset that depends on the assets of its inputs.

Keys are `jora://WORK_DIRECTORY-ID/NAME`, the same for every run; a materialization has digest and counts. The id is
drawn once for a work directory and kept in it, since most have the same name (.jora), and one may be moved.
"""

import re
import secrets
from typing import Any

from prefect.assets import Asset, AssetProperties, add_asset_metadata
from prefect.context import AssetContext
from prefect.settings import PREFECT_API_URL

from data.files.whole_files import write_whole
from tasks.store.artifacts import Artifact
from tasks.store.locks import flocked
from tasks.store.store import Store

_ID_FILE = "asset-id"
_ID = re.compile(r"[0-9a-f]{8}")

# Stage -> its asset, and the assets of its inputs.
ASSETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "snapshot-documents": ("documents", ()),
    "chunk-documents": ("chunks", ("documents",)),
    "index-chunks": ("index", ("chunks",)),
    "ground-questions": ("questions", ("documents", "chunks", "index")),
    "build-dataset": ("dataset", ("questions", "chunks", "index")),
    "train-adapter": ("adapter", ("dataset",)),
    "continue-adapter": ("adapter", ("dataset",)),
    "score-answers": ("evaluation", ("adapter", "questions", "index")),
    "export-model": ("export", ("adapter", "evaluation")),
}


def asset_of(store: Store, stage: str) -> tuple[Asset, list[str | Asset]] | None:
    """A stage's asset and the assets of its inputs; None if it has none, or without a server."""
    if stage not in ASSETS or not PREFECT_API_URL.value():
        return None
    name, inputs = ASSETS[stage]
    return Asset(key=_key(store, name), properties=AssetProperties(name=name)), [_key(store, one) for one in inputs]


def describe_asset(store: Store, stage: str, artifact: Artifact) -> None:
    """Add digest and counts to the materialization; call it within the stage's task."""
    if AssetContext.get() is not None and (asset := asset_of(store, stage)) is not None:
        facts: dict[str, Any] = {"digest": artifact.digest, "bytes": artifact.bytes, **dict(artifact.counts)}
        add_asset_metadata(asset[0], facts)


def _key(store: Store, name: str) -> str:
    directory = re.sub(r"[^A-Za-z0-9_~.-]", "-", store.work_dir.name).strip(".") or "work"
    return f"jora://{directory}-{_id_of(store)}/{name}"


def _id_of(store: Store) -> str:
    """The id of a work directory; drawn if it has none."""
    path = store.work_dir / _ID_FILE
    with flocked(store.locks / "asset-id.lock"):
        try:
            if _ID.fullmatch(known := path.read_text(encoding="utf-8").strip()):
                return known
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        drawn = secrets.token_hex(4)
        write_whole(path, drawn + "\n")
        return drawn
