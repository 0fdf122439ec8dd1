"""The judge's stage: asked in a process of its own over a real connection, kept by content, and told in files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from data.evaluation.judge import Verdict
from data.evaluation.judge_settings import JudgeSettings
from data.evaluation.ladder import BASE, TUNED
from data.files.jsonl import read_jsonl, write_jsonl
from tasks.stages.judge import judge_answers
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.answered import answered
from testing.teacher_runs import chunks_artifact, sample_chunks
from testing.teacher_server import Reply, completion, serve

KEY = "sk-loopback-0123456789abcdef"


def evaluation_of(store: Store, f1s: list[float]) -> Artifact:
    context = tuple(chunk.id for chunk in sample_chunks(2))
    rows = [
        answered(rung, n, f1, answer=f"{rung} {f1}", context_ids=context)
        for rung in (BASE, TUNED, "tuned + oracle")
        for n, f1 in enumerate(f1s)
    ]
    with store.build("evaluation") as build:
        write_jsonl(build.folder / "answers.jsonl", rows)
    return build.artifact


def test_a_judge_of_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """evaluation.judge: the one answer that says 1.0 is judged right; the first of all is answered with prose."""
    monkeypatch.setenv("JUDGE_KEY", KEY)

    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        assert headers["authorization"] == f"Bearer {KEY}"
        assert body["response_format"]["json_schema"]["name"] == "verdict" and body["temperature"] == 0
        asked = body["messages"][0]["content"]
        if f"{BASE} 0.25" in asked:
            return Reply(body=completion("I cannot say."))
        right = "model: " in asked and asked.endswith("1.0")
        return Reply(body=completion(json.dumps({"reason": KEY, "faithful": True, "correct": right})))

    store = Store(tmp_path / "work")
    chunks, evaluation = chunks_artifact(store, 3), evaluation_of(store, [0.25, 0.5, 1.0])
    with serve(script) as server:
        judge = JudgeSettings(
            base_url=server.base_url, model="m", api_key_env="JUDGE_KEY", price_in=1.0, price_out=1.0, concurrency=2
        )
        judged = judge_answers.fn(store, evaluation, chunks, judge, 0)
        assert len(server.bodies) == judged.count("calls") == 6
        assert judge_answers.fn(store, evaluation, chunks, judge, 0) == judged
        # With one answer that is another, and one more rung to judge, only those are asked about.
        more = judge.model_copy(update={"rungs": (BASE, TUNED, "tuned + oracle")})
        judge_answers.fn(store, evaluation_of(store, [0.25, 0.5, 0.75]), chunks, more, 0)
        assert len(server.bodies) == 6 + 2 + 3
    folder = store.path(judged)
    base, tuned = json.loads((folder / "judge.json").read_text())
    assert (base["judged"], base["unreadable"], tuned["judged"]) == (2, 1, 3)
    assert tuned["correct"]["value"] == pytest.approx(1 / 3) and tuned["kappa"] == 1
    verdicts = read_jsonl(folder / "verdicts.jsonl", Verdict)
    assert len(verdicts) == 6 and {verdict.reason for verdict in verdicts} == {"[key]", "I cannot say."}
    assert "judged by m" in (folder / "judge.txt").read_text()
    ledger = json.loads((folder / "ledger.json").read_text())
    assert (ledger["calls"], ledger["tokens_in"], ledger["cost"]) == (6, 600, pytest.approx(900 / 1e6))
    written = "".join(path.read_text(errors="replace") for path in store.work_dir.rglob("*") if path.is_file())
    assert KEY not in written


def test_a_refusal_names_the_judge_and_its_settings(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        return Reply(404, b'{"error": {"message": "no such model"}}')

    store = Store(tmp_path / "work")
    with serve(script) as server:
        judge = JudgeSettings(base_url=server.base_url, model="m", api_key_env="NOBODY_SETS_THIS")
        said = r"the judge at .* has .* no model 'm' .*correct evaluation\.judge\.base_url"
        with pytest.raises(ValueError, match=said):
            judge_answers.fn(store, evaluation_of(store, [0.5]), chunks_artifact(store, 3), judge, 0)
