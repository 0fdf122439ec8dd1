"""A run's settings for a person: those that matter in words, those that are not the defaults, and the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# How far a run was to go -> the command that goes there.
COMMANDS = {
    "everything": "run",
    "dataset": "build-dataset",
    "adapter": "train",
    "evaluation": "evaluate",
    "export": "export",
}
_OPTIONS = {"corpus": "--corpus", "questions": "--questions", "base_model": "--base-model", "work_dir": "--work-dir"}


def settings_that_matter(settings: Mapping[str, Any], goal: str) -> list[tuple[str, str]]:
    """Name and value in words, of the settings that a reader asks for first; a group that is absent has no line."""
    found: list[tuple[str, str]] = []

    def tell(name: str, told: Callable[..., str], *keys: str) -> None:
        values = [_find(settings, key) for key in keys]
        if None not in values:
            found.append((name, told(*values)))

    tell("base model", str, "base_model")
    tell("documents", str, "corpus")
    if _find(settings, "teacher.kind") in (None, "given"):
        tell("questions", str, "questions")
    else:
        model = _find(settings, "teacher.model") or "the base model"
        keys = ("teacher.kind", "teacher.questions_per_chunk")
        tell("questions", lambda kind, each: f"by a teacher ({kind}: {model}), {each} a chunk", *keys)
    tell("chunks", lambda most: f"at most {most} tokens", "chunking.max_tokens")
    tell(
        "contexts in training",
        lambda chunks, share, passes: (
            f"{chunks} chunks; the oracle among them in {share:.0%}; each question over {passes} of them"
        ),
        "raft.context_chunks",
        "raft.oracle_fraction",
        "raft.passes",
    )
    if goal != "dataset":
        tell(
            "LoRA",
            lambda rank, alpha, targets: f"rank {rank}, alpha {alpha:g}, on {_listed(targets)}",
            "lora.rank",
            "lora.alpha",
            "lora.target_modules",
        )
        most = _find(settings, "training.max_updates")
        limit = f", at most {most} updates" if most else ""
        tell(
            "training",
            lambda epochs, many, rate, schedule: (
                f"epochs: {epochs}{limit}; {many} examples an update; learning rate {rate}, {schedule}"
            ),
            "training.epochs",
            "training.examples_per_update",
            "training.learning_rate",
            "training.schedule",
        )
    reranker = _find(settings, "retrieval.reranker")
    then = f", then the reranker {reranker}" if reranker else ""
    tell("retrieval", lambda both: f"embeddings{' and BM25' if both else ''}{then}", "retrieval.hybrid")
    if goal in ("everything", "evaluation"):
        most = _find(settings, "evaluation.max_questions")
        asked = f"at most {most} questions" if most else "every question of the documents that were held out"
        tell("evaluation", lambda chunks: f"{asked}, over the first {chunks} chunks found", "evaluation.top_k")
    return found


def _listed(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def changed_settings(
    settings: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of each setting that is not the default."""
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from changed_settings(value, default, f"{prefix}{key}.")
        elif value != default:
            yield f"{prefix}{key}", value


def command_of(settings: Mapping[str, Any], defaults: Mapping[str, Any], goal: str) -> str:
    """The command that asks for the same, for a shell; empty where no command goes as far."""
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
    """A value as `--set` reads it."""
    return json.dumps(value, ensure_ascii=False)


def _find(settings: Mapping[str, Any], key: str) -> Any:
    place: Any = settings
    for part in key.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place
