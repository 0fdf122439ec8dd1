"""Links to results: `latest/` for the last run, `sweeps/NAME` for the last sweep of a name.

`latest/` also has report.html, documents.html and run.json, which holds the run's artifacts and settings.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.files.whole_files import write_whole
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.links import point
from tasks.store.store import Store
from user_error import UserError

LATEST, SWEEPS = "latest", "sweeps"
RUN, REPORT, DOCUMENTS = "run.json", "report.html", "documents.html"
# Name under latest/ -> (stage name in run.json, subfolder of its artifact).
_LINKS = {
    "documents": ("documents", ""),
    "raw_questions": ("raw_questions", ""),
    "questions": ("questions", ""),
    "retrieval": ("retrieval", ""),
    "dataset": ("dataset", ""),
    "package": ("package", ""),
    "diff": ("diff", ""),
    "training": ("adapter", ""),
    "evaluation": ("evaluation", ""),
    "comparison": ("comparison", ""),
    "verdicts": ("verdicts", ""),
    "robustness": ("robustness", ""),
    "adapter": ("export", "adapter"),
    "merged": ("export", "merged"),
}


@dataclass(frozen=True)
class Results:
    """Results of a run: outcomes of its stages, and name -> path (below WORK_DIR/latest).

    Attributes:
        note: a line for a person, such as the promotion decision; may be empty.
        artifacts: the references behind the paths if there was nothing to do, else empty.
    """

    work_dir: Path
    outcomes: tuple[Outcome, ...]
    paths: dict[str, Path]
    note: str = ""
    artifacts: dict[str, Artifact] = field(default_factory=dict)


def publish_latest(store: Store, artifacts: dict[str, Artifact], settings: dict[str, Any]) -> Results:
    """Point WORK_DIR/latest at the results of this run.

    Each link is replaced by one rename, and run.json is written last.
    """
    folder = store.work_dir / LATEST
    folder.mkdir(exist_ok=True)
    given = latest_paths(store, artifacts)
    for name in _LINKS:
        if name in given:
            kind, part = _LINKS[name]
            point(folder / name, store.path(artifacts[kind]) / part)
        else:  # another run's result
            (folder / name).unlink(missing_ok=True)
    for page in (REPORT, DOCUMENTS):
        (folder / page).unlink(missing_ok=True)  # written again once this run has ended
    record = {
        "artifacts": {name: artifact.model_dump(mode="json") for name, artifact in artifacts.items()},
        "settings": settings,
    }
    write_whole(folder / RUN, json.dumps(record, indent=1, sort_keys=True) + "\n", durable=True)
    return Results(store.work_dir, tuple(store.outcomes), given)


def latest_paths(store: Store, artifacts: dict[str, Artifact]) -> dict[str, Path]:
    """Name -> path below latest/ of these artifacts' results."""
    paths = {
        name: store.work_dir / LATEST / name
        for name, (kind, part) in _LINKS.items()
        if kind in artifacts and (store.path(artifacts[kind]) / part).exists()
    }
    pages = {"files": DOCUMENTS, "report": REPORT}
    found = {name: store.work_dir / LATEST / page for name, page in pages.items()}
    return paths | {name: page for name, page in found.items() if page.exists()}


def is_published(store: Store, artifacts: dict[str, Artifact]) -> bool:
    """Whether all links below latest/ point to these artifacts; a run killed while setting them leaves a mix."""
    folder = store.work_dir / LATEST
    given = latest_paths(store, artifacts)
    for name, (kind, part) in _LINKS.items():
        link = folder / name
        if name not in given:
            if link.is_symlink():
                return False
        elif link.resolve() != (store.path(artifacts[kind]) / part).resolve():
            return False
    return True


def publish_sweep(store: Store, over: str, sweep: Artifact) -> Path:
    """Point WORK_DIR/sweeps/NAME at a sweep's table and plot; `latest/` does not change."""
    link = store.work_dir / SWEEPS / over
    link.parent.mkdir(exist_ok=True)
    point(link, store.path(sweep))
    return link


def read_latest(work_dir: Path) -> tuple[dict[str, Artifact], dict[str, Any]]:
    """Artifacts and settings of the last run.

    Raises:
        UserError: no run has finished in this work directory, or its record is damaged.
    """
    path = work_dir / LATEST / RUN
    try:
        record = json.loads(path.read_bytes())
        artifacts = {name: Artifact.model_validate(item) for name, item in record["artifacts"].items()}
        return artifacts, dict(record["settings"])
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no finished run in {work_dir}; start one with: jora run --work-dir {work_dir}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}); run the flow again") from None
