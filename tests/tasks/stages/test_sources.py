"""A base model of the Hub: pinned to a revision, recorded, and one line where there is none.

The Hub is a stand-in on loopback that answers the calls of huggingface_hub's download; the client is the real one.
"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.tiny_models import hf_folder

COMMIT, MODEL = "c0ffee" + "0" * 34, "somebody/tiny"
CODE = """
import sys
from tasks.stages.sources import snapshot_base
from tasks.store.store import Store
store = Store(sys.argv[1])
print(store.manifest(snapshot_base.fn(store, sys.argv[2])).model_dump_json())
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL; it has one model with one commit, which is also called v1 and main."""
    folder = tmp_path_factory.mktemp("hub")
    hf_folder(folder)
    (folder / "tokenizer.json").write_text("{}")
    names = sorted(path.name for path in folder.iterdir())

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:4] == ["api", "models", *MODEL.split("/")] and parts[4:5] == ["revision"]:
                if parts[5] in (COMMIT, "v1", "main"):
                    files = [{"rfilename": name} for name in names]
                    return self.answer(json.dumps({"id": MODEL, "sha": COMMIT, "siblings": files}).encode())
                return self.refuse("RevisionNotFound")
            if parts[:6] == ["api", "models", *MODEL.split("/"), "tree", COMMIT]:
                files = [{"type": "file", "path": name, "size": (folder / name).stat().st_size} for name in names]
                return self.answer(json.dumps([item | {"oid": "0" * 40} for item in files]).encode())
            if parts[:3] == [*MODEL.split("/"), "resolve"] and parts[-1] in names:
                return self.answer((folder / parts[-1]).read_bytes())
            return self.refuse("RepoNotFound")

        do_HEAD = do_GET

        def answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def snapshot(hub: str, folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "hub")}
    command = [sys.executable, "-c", CODE, str(folder / "work"), name]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_download_is_pinned_and_recorded(hub: str, tmp_path: Path) -> None:
    done = snapshot(hub, tmp_path, f"{MODEL}@v1")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["settings"] == {"name": f"{MODEL}@v1", "revision": COMMIT}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest["files"])
    refused = snapshot(hub, tmp_path, f"{MODEL}@v2")
    assert f"UserError: base model {MODEL} has no revision v2; name a commit, a tag or a branch" in refused.stderr


def test_a_split_gguf_is_one_base(tmp_path: Path) -> None:
    """Named by any part; another content of any part is another base."""
    from tasks.stages.sources import import_base, snapshot_base
    from tasks.store.store import Store
    from testing.tiny_gguf import tiny_gguf

    store = Store(tmp_path / "work")
    tiny_gguf(tmp_path / "m.gguf", parts=2)
    parts = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    first, again = (snapshot_base.fn(store, str(part)) for part in parts)
    assert first.kind == "gguf" and first.digest == again.digest
    with parts[1].open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    other = snapshot_base.fn(store, str(parts[0]))
    assert other.digest != first.digest
    assert (store.path(import_base.fn(store, other)) / "model.safetensors").is_file()
