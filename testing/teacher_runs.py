"""What tests of teachers share: chunks of the sample documents as an artifact; `transformers serve` on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.documents.chunks import Chunk, ChunkSettings, chunk_documents
from data.documents.corpus import read_documents
from data.files.jsonl import write_jsonl
from data.teacher.settings import TeacherSettings
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.small_runs import SAMPLES
from testing.teacher_server import TeacherServer


def sample_chunks(count: int) -> list[Chunk]:
    """The first chunks of the samples, counted in words."""
    chunks = chunk_documents(read_documents(SAMPLES / "documents"), _words, ChunkSettings())
    return chunks[:count]


def _words(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


def chunks_artifact(store: Store, count: int) -> Artifact:
    """The same, as the stage before the teacher leaves them."""
    with store.build("chunks") as build:
        write_jsonl(build.folder / "chunks.jsonl", sample_chunks(count))
    return build.artifact


def teacher_at(server: TeacherServer | str, **fields: Any) -> TeacherSettings:
    """A teacher behind a server."""
    url = server if isinstance(server, str) else server.base_url
    return TeacherSettings(**{"kind": "endpoint", "base_url": url, "model": "m"} | fields)


@contextmanager
def served_by_transformers(model: Path, log: Path) -> Iterator[str]:
    """`transformers serve` with a local model, on the CPU; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cli = Path(sys.executable).with_name("transformers")
    command = [str(cli), "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as process,
    ):
        try:
            end = time.monotonic() + 120
            while not _healthy(f"http://127.0.0.1:{port}/health"):
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
