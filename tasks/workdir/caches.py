"""The caches of a work directory, which only make the next run faster: which of their files no run needs any more.

    vectors/   embeddings, a file for each embedder with its libraries and the processor
    chunks/    cut documents, a file for each combination of settings, tokenizer and code
    readings/  texts of parsed files, a file for each content, settings and code
    digests/   digests of linked files, a file for each path
    xla/       compiled programs

Whoever reads a cached file sets its time (`mark_used` of data/files/whole_files.py), so that its time is that of its
last use. JAX does not, so for a program the time of the last access counts too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.records.records import list_runs
from tasks.store.artifacts import MANIFEST
from tasks.store.store import Store

# A run reads its sources before its record begins, and a stage its caches before its artifact is published.
_BEFORE = timedelta(days=1)


@dataclass(frozen=True)
class _Cache:
    """A folder of cached files.

    Attributes:
        name: in the table of `jora gc`.
        built_with: names of artifacts that stages build with it; it is not read again while these are cached.
        by_access: whether the time of access counts as a use.
    """

    folder: str
    name: str
    built_with: tuple[str, ...] = ()
    by_access: bool = False


_CACHES = (
    _Cache("vectors", "cached vectors", ("index",)),
    _Cache("chunks", "cached chunks", ("chunks",)),
    _Cache("readings", "cached readings"),
    _Cache("digests", "cached digests"),
    _Cache("xla", "compiled programs", ("adapter", "evaluation"), by_access=True),
)


@dataclass(frozen=True)
class _CachedFile:
    name: str
    path: Path
    bytes: int
    used: float  # seconds since 1970
    needed: bool


def unused_caches(store: Store, since: datetime, most_bytes: int | None = None) -> Iterator[tuple[str, Path, int]]:
    """(name of the cache, path, size in bytes) of each cached file that may go.

    A file is needed if it was used since then, in the last run, or since an artifact of the last run was built with it.

    Args:
        most_bytes: of all caches together: needed files go too until the rest fits, those first that were used longest
            ago.
    """
    files = [file for cache in _CACHES for file in _files(store, cache, since)]
    going = {file.path for file in files if not file.needed}
    if most_bytes is not None:
        left = sum(file.bytes for file in files if file.needed)
        for file in sorted(files, key=lambda file: (file.used, file.path)):
            if file.needed and left > most_bytes:
                going.add(file.path)
                left -= file.bytes
    yield from ((file.name, file.path, file.bytes) for file in files if file.path in going)


def _files(store: Store, cache: _Cache, since: datetime) -> Iterator[_CachedFile]:
    folder = store.work_dir / cache.folder
    if folder.is_symlink():
        return  # shared with other work directories, whose runs are not known here
    needed_since = min([since, *_needed_since(store, cache)]).timestamp()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        status = path.stat()
        used = max(status.st_mtime, status.st_atime) if cache.by_access else status.st_mtime
        yield _CachedFile(cache.name, path, status.st_size, used, used >= needed_since)


def _needed_since(store: Store, cache: _Cache) -> Iterator[datetime]:
    """When the last run began, and when its artifacts of the cache were built."""
    runs = list_runs(store.work_dir)
    if runs:
        yield datetime.fromisoformat(runs[-1].started) - _BEFORE
    ended = [run for run in runs if run.artifacts]
    for name in cache.built_with if ended else ():
        if name in ended[-1].artifacts:
            manifest = store.path(ended[-1].artifacts[name]) / MANIFEST
            if manifest.exists():  # else it is built again, with what there is
                yield datetime.fromtimestamp(manifest.stat().st_mtime, UTC) - _BEFORE
