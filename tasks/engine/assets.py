"""Lineage in Prefect: what a stage makes is an asset, which depends on those that it is made of.

Keys are `jora://WORK_DIRECTORY/NAME`, the same from run to run; a materialization has the digest and the counts.
"""

import re
from typing import Any

from prefect.assets import Asset, AssetProperties, add_asset_metadata
from prefect.context import AssetContext
from prefect.settings import PREFECT_API_URL

from tasks.store.artifacts import Artifact
from tasks.store.store import Store

# Stage -> its asset, and those that it is made of.
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
    """The asset that a stage makes and those that it is made of; None where it makes none, or no server is named."""
    if stage not in ASSETS or not PREFECT_API_URL.value():
        return None
    name, made_of = ASSETS[stage]
    return Asset(key=_key(store, name), properties=AssetProperties(name=name)), [_key(store, one) for one in made_of]


def describe_asset(store: Store, stage: str, artifact: Artifact) -> None:
    """Say what was made, in the task that makes it."""
    if AssetContext.get() is not None and (asset := asset_of(store, stage)) is not None:
        facts: dict[str, Any] = {"digest": artifact.digest, "bytes": artifact.bytes, **dict(artifact.counts)}
        add_asset_metadata(asset[0], facts)


def _key(store: Store, name: str) -> str:
    return f"jora://{re.sub(r'[^A-Za-z0-9_~.-]', '-', store.work_dir.name).strip('.')}/{name}"
