"""The server decodes with the settings of the last run, where a request says nothing."""

import json
from pathlib import Path

import pytest

from flows.serving import opening
from flows.serving.chat_request import ChatRequest
from flows.serving.request_fields import read_request
from flows.settings.config import load_config
from testing.chat_servers import body


def test_the_last_runs_generation_is_what_a_chat_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free quotes among it: test_chat.py sees that no grammar then holds the answer."""
    sets = ("generation.quotes=free", "generation.repetition_penalty=1.5", "generation.temperature=0.5")
    config = load_config(None, {"work_dir": str(tmp_path)}, sets)
    (tmp_path / "latest").mkdir()
    record = {"artifacts": {}, "settings": config.model_dump(mode="json")}
    (tmp_path / "latest" / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr(opening, "open_answering", lambda *args, **given: None)
    _, found = opening.open_last_run(str(tmp_path), None, slots=4)
    assert found.generation == config.generation
    asked = read_request(ChatRequest, json.dumps(body(seed=3)).encode()).generation(found.generation, 900)
    assert asked == config.generation.model_copy(update={"seed": 3})
