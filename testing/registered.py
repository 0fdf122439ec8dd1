"""Registered models whose files are small stand-ins, written through the real store."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data.evaluation.ladder import TUNED
from data.files.jsonl import write_jsonl
from data.scoring.scores import METRICS
from tasks.records.models import ModelRecord, Registry, describe_model
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.answered import answered

SETTINGS = {"base_model": "tiny", "raft": {"prompt_style": "chat"}}


def file_artifact(store: Store, kind: str, settings: Mapping[str, Any] | None = None, **files: str) -> Artifact:
    """An artifact of text files; `__` in a name stands for `/`."""
    with store.build(kind, settings=settings) as build:
        for name, text in files.items():
            path = build.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return build.artifact


def evaluation_of(store: Store, scores: Sequence[float]) -> Artifact:
    """An evaluation with the token F1 of each question, of the tuned rung only."""
    rung = {"name": TUNED, "questions": len(scores)} | dict.fromkeys(METRICS)
    value = sum(scores) / len(scores)
    rung["token_f1"] = {"value": value, "low": value, "high": value}
    said = {"oracle_ids": ("c",), "output": "She", "answer": "She"}
    answers = [answered(TUNED, number, f1, **said) for number, f1 in enumerate(scores)]
    with store.build("evaluation") as build:
        (build.folder / "summary.json").write_text(json.dumps([rung]))
        write_jsonl(build.folder / "answers.jsonl", answers)
    return build.artifact


def model(store: Store, name: str, scores: Sequence[float] | None = None, run: str | None = None) -> ModelRecord:
    """Register a model of its own adapter."""
    made = {
        kind: file_artifact(store, kind, text=name if kind == "adapter" else kind)
        for kind in ("base", "adapter", "dataset", "questions")
    }
    made["export"] = file_artifact(store, "export", adapter__weights=name, merged__weights=f"merged {name} {scores}")
    if scores is not None:
        made["evaluation"] = evaluation_of(store, scores)
    return Registry(store.work_dir).register(store, describe_model(store, made, SETTINGS, run=run))
