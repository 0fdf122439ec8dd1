"""The judge of the evaluation: answers as calls of a server, its verdicts, and their agreement with exact match."""

import json

from data.evaluation.judge import chosen_answers, read_verdict, summarize_verdicts, to_call, verdict_table
from data.evaluation.judge_settings import JudgeSettings
from data.files.jsonl import read_jsonl, write_jsonl
from data.scoring.evaluated import Answered
from tasks.engine.cache import stage
from tasks.engine.logs import run_log
from tasks.stages.endpoints import ask_endpoint
from tasks.stages.loading import open_chunks
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="judge-answers", version=1, modules=("data.endpoint.client",))
def judge_answers(store: Store, evaluation: Artifact, chunks: Artifact, judge: JudgeSettings, seed: int) -> Artifact:
    """verdicts.jsonl (`Verdict`), judge.json (a row a rung), judge.txt (a table), and ledger.json.

    Raises:
        UserError: as `ask_endpoint`.
    """
    answers = chosen_answers(read_jsonl(store.path(evaluation) / "answers.jsonl", Answered), judge, seed)
    texts = {chunk.id: chunk.text for chunk in open_chunks(store, chunks)}
    with store.build("verdicts", settings=judge, inputs=(evaluation, chunks)) as build:
        written = ask_endpoint(store, build, [to_call(answered, texts) for answered in answers], judge)
        verdicts = [read_verdict(answered, answer.text) for answered, answer in zip(answers, written, strict=True)]
        rows = summarize_verdicts(verdicts, seed=seed)
        write_jsonl(build.folder / "verdicts.jsonl", verdicts)
        (build.folder / "judge.json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (build.folder / "judge.txt").write_text(verdict_table(rows, judge.model or ""), encoding="utf-8")
        unreadable = sum(row["unreadable"] for row in rows)
        build.count(verdicts=len(verdicts) - unreadable, unreadable=unreadable)
    if unreadable:
        run_log().warning("the judge: %d of %d answers hold no verdict", unreadable, len(verdicts))
    return build.artifact
