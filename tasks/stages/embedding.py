"""Embeds texts without a stored vector in shards, mapped over Prefect's task runner.

Each shard's vectors go to WORK_DIR/vectors, which the indexing stage reads. So the stage needs no nested tasks, a
killed run keeps its finished shards, and it does not matter which worker computed a vector.
"""

from pathlib import Path
from typing import Any

from prefect import flow, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from data.retrieval.embeddings import EmbeddingSettings
from data.retrieval.machine import usable_cores
from data.retrieval.vectors import VectorStore, shards
from tasks.engine.progress import Progress
from tasks.stages.loading import loaded_embedder, open_chunks, open_embedder, open_vectors, vectors_folder
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

CONNECT_SECONDS = 10


def embed_missing(
    store: Store, chunks: Artifact, embedder: Artifact, embedding: EmbeddingSettings, *others: object
) -> None:
    """Embed the chunks without a stored vector, if they are more than a shard; in a flow, before the index is built.

    Raises:
        UserError: the workers of the settings are not available.
    """
    store.verify(chunks)
    store.verify(embedder)
    texts = [chunk.search_text for chunk in open_chunks(store, chunks)]
    vectors = open_vectors(store, open_embedder(store, embedder, embedding.batch_tokens))
    missing = shards(vectors.missing(texts))
    if len(missing) > 1:
        shared = (str(vectors_folder(store)), str(store.path(embedder)), vectors.fingerprint, embedding)

        # A closure, so that the texts are not parameters of the flow: the server accepts half a megabyte of these.
        @flow(name="embed-shards", task_runner=_runner(embedding.workers))
        def embed_shards() -> None:
            progress = Progress("embedding", "shards of texts")
            for number, future in enumerate(embed_shard.map(*map(unmapped, shared), missing), 1):
                future.result()
                progress(number, len(missing))

        embed_shards()


def check_workers(embedding: EmbeddingSettings) -> None:
    """Check that the packages of the workers are installed.

    Raises:
        UserError: a package is missing; with the command that installs it.
    """
    if embedding.workers != "threads":
        try:
            import prefect_dask  # noqa: F401
        except ImportError:
            raise UserError(
                f"embedding.workers={embedding.workers} needs prefect-dask, which is not installed; run: "
                "pip install -c constraints.txt -e '.[dask]'"
            ) from None


@task(name="embed-shard", retries=2, retry_delay_seconds=2, persist_result=False, cache_policy=NO_CACHE)
def embed_shard(vectors: str, embedder: str, fingerprint: str, embedding: EmbeddingSettings, texts: list[str]) -> int:
    """Embed texts and store their vectors; returns their number.

    Raises:
        UserError: this worker's vectors differ from those of the calling process, which would never read them.
    """
    model = loaded_embedder(Path(embedder), embedding.batch_tokens)
    if model.fingerprint != fingerprint:
        raise UserError(
            f"a worker of embedding.workers={embedding.workers} has another processor or other versions of torch and "
            "transformers than this machine, so its vectors would differ; use workers like this machine, or set "
            "embedding.workers=threads"
        )
    VectorStore(Path(vectors), model.fingerprint, model.dimension).add(texts, model.embed(texts))
    return len(texts)


def _runner(workers: str) -> TaskRunner[Any]:
    """The task runner of the setting.

    Raises:
        UserError: no scheduler answers at the address.
    """
    if workers == "threads":
        # Two keep the embedder's own threads busy between shards; more would only wait.
        return ThreadPoolTaskRunner(max_workers=2)
    from prefect_dask import DaskTaskRunner

    if workers == "dask":
        return DaskTaskRunner(cluster_kwargs={"n_workers": usable_cores(), "threads_per_worker": 1})
    from distributed import Client

    try:
        Client(workers, timeout=CONNECT_SECONDS).close()
    except OSError:
        raise UserError(
            f"no Dask scheduler answers at embedding.workers={workers}: start one with `dask scheduler`, and workers "
            'with `dask worker`; or set embedding.workers="dask" for a cluster of this machine\'s cores'
        ) from None
    return DaskTaskRunner(address=workers)
