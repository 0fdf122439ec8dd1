"""The flow `build-dataset` over a corpus that changes: what changed is told, kept, and shown in Prefect."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from data.documents.chunks import ChunkSettings
from data.raft.settings import RaftSettings
from flows.raft import build_dataset
from testing.small_runs import small_sources


@pytest.mark.usefixtures("prefect_server")
def test_a_rebuild_tells_what_changed(tmp_path: Path) -> None:
    sources = small_sources(tmp_path, 3)
    config = tmp_path / "base" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 4096}))
    arguments = {
        **sources,
        "chunking": ChunkSettings(max_tokens=96),
        "raft": RaftSettings(context_chunks=2, max_tokens=512),
    }
    first = build_dataset(**arguments)
    assert {"dataset", "package"} <= set(first.paths) and "diff" not in first.paths
    again = build_dataset(**arguments)
    assert "diff" not in again.paths, "nothing changed"
    (tmp_path / "documents" / "new.md").write_text("# New\n\nNobody asks about this.\n")
    rebuilt = build_dataset(**arguments)
    told = json.loads((rebuilt.paths["diff"] / "diff.json").read_text())
    assert told["documents_added"] == ["new.md"] and told["documents_kept"] == 3
    with get_client(sync_client=True) as client:
        (page,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["data"])), sort="CREATED_DESC", limit=1
        )
    assert "| documents added | 1 | `new.md` |" in page.data
