"""A run's settings for people: a summary in words, those that differ from the defaults, and the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# Goal of a run -> command.
COMMANDS = {
    "everything": "run",
    "dataset": "build-dataset",
    "adapter": "train",
    "evaluation": "evaluate",
    "export": "export",
}
_OPTIONS = {"corpus": "--corpus", "questions": "--questions", "base_model": "--base-model", "work_dir": "--work-dir"}


def settings_that_matter(settings: Mapping[str, Any], goal: str) -> list[tuple[str, str]]:
    """(name, value in words) of the main settings. Groups that are absent are left out."""
    rows: list[tuple[str, str]] = []

    def add(name: str, describe: Callable[..., str], *keys: str) -> None:
        values = [_find(settings, key) for key in keys]
        if None not in values:
            rows.append((name, describe(*values)))

    add("base model", str, "base_model")
    add("documents", str, "corpus")
    if _find(settings, "teacher.kind") in (None, "given"):
        add("questions", str, "questions")
    else:
        model = _find(settings, "teacher.model") or "the base model"
        keys = ("teacher.kind", "teacher.questions_per_chunk")
        add("questions", lambda kind, each: f"by a teacher ({kind}: {model}), {each} per chunk", *keys)
    add("chunks", lambda most: f"at most {most} tokens", "chunking.max_tokens")
    add(
        "contexts in training",
        lambda chunks, share, passes: f"{chunks} chunks; {share:.0%} with the oracle; {passes} contexts per question",
        "raft.context_chunks",
        "raft.oracle_fraction",
        "raft.passes",
    )
    if goal != "dataset":
        add(
            "LoRA",
            lambda rank, alpha, targets: f"rank {rank}, alpha {alpha:g}, on {_listed(targets)}",
            "lora.rank",
            "lora.alpha",
            "lora.target_modules",
        )
        most = _find(settings, "training.max_updates")
        limit = f", at most {most} updates" if most else ""
        add(
            "training",
            lambda epochs, many, rate, schedule: (
                f"epochs: {epochs}{limit}; {many} examples per update; learning rate {rate}, {schedule}"
            ),
            "training.epochs",
            "training.examples_per_update",
            "training.learning_rate",
            "training.schedule",
        )
    reranker = _find(settings, "retrieval.reranker")
    then = f", then the reranker {reranker}" if reranker else ""
    add("retrieval", lambda both: f"embeddings{' and BM25' if both else ''}{then}", "retrieval.hybrid")
    if goal in ("everything", "evaluation"):
        most = _find(settings, "evaluation.max_questions")
        asked = f"at most {most} questions" if most else "all held-out questions"
        add("evaluation", lambda chunks: f"{asked}, over the top {chunks} retrieved chunks", "evaluation.top_k")
    return rows


def _listed(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def changed_settings(
    settings: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each setting that differs from its default."""
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from changed_settings(value, default, f"{prefix}{key}.")
        elif value != default:
            yield f"{prefix}{key}", value


def command_of(settings: Mapping[str, Any], defaults: Mapping[str, Any], goal: str) -> str:
    """The shell command that reproduces the run; empty if no command has this goal."""
    if goal not in COMMANDS:
        return ""
    words = [f"jora {COMMANDS[goal]}"]
    for key, value in changed_settings(settings, defaults):
        if key in _OPTIONS:
            words.append(f"{_OPTIONS[key]} {shlex.quote(str(value))}")
        else:
            words.append(f"--set {shlex.quote(f'{key}={told_value(value)}')}")
    return " \\\n  ".join(words)


def told_value(value: Any) -> str:
    """A value in the syntax of `--set`."""
    return json.dumps(value, ensure_ascii=False)


def _find(settings: Mapping[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
