"""The judge of the evaluation: answers as calls of a server, its verdicts, and how they agree with exact match."""

import json

from data.endpoint.kept_answers import AnswerBook, TeacherAnswer, call_key
from data.evaluation.judge import chosen_answers, read_verdict, summarize_verdicts, to_call, verdict_table
from data.evaluation.judge_settings import JudgeSettings
from data.files.jsonl import read_jsonl, write_jsonl
from data.scoring.evaluated import Answered
from tasks.engine.cache import stage
from tasks.engine.jobs import run_job
from tasks.engine.logs import run_log
from tasks.engine.progress import Progress
from tasks.stages.endpoints import load_secret, summarize_calls
from tasks.stages.judge_job import JudgeJob
from tasks.stages.loading import open_chunks
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

_SECRET_VARIABLE = "JORA_JUDGE_KEY"  # noqa: S105  where the secret is, not the secret


@stage(name="judge-answers", version=1, modules=("data.endpoint.client",))
def judge_answers(store: Store, evaluation: Artifact, chunks: Artifact, judge: JudgeSettings, seed: int) -> Artifact:
    """verdicts.jsonl (`Verdict`), judge.json (a row a rung), judge.txt, a table, and ledger.json, what the calls took.

    Every answer of the server lies in WORK_DIR/judge as soon as it is there; what lies there is not asked again.

    Raises:
        UserError: the server refuses or does not answer, the budget is spent, or there is no such secret.
    """
    answers = chosen_answers(read_jsonl(store.path(evaluation) / "answers.jsonl", Answered), judge, seed)
    texts = {chunk.id: chunk.text for chunk in open_chunks(store, chunks)}
    calls = [to_call(answered, texts) for answered in answers]
    book = AnswerBook(store.work_dir / "judge")
    secrets = {} if judge.api_key_secret is None else {_SECRET_VARIABLE: load_secret(judge)}
    with store.build("verdicts", settings=judge, inputs=(evaluation, chunks)) as build:
        # Beside the artifact, not in it: one holds paths, the other repeats documents.
        job_file, calls_file = build.folder.with_suffix(".json"), build.folder.with_suffix(".jsonl")
        write_jsonl(calls_file, calls)
        job = JudgeJob(
            calls=str(calls_file),
            answers=str(book.folder),
            key_variable=_SECRET_VARIABLE if secrets else judge.api_key_env,
            judge=judge,
        )
        job_file.write_text(job.model_dump_json(indent=1) + "\n", encoding="utf-8")
        try:
            # Told to stop, it waits for the calls that are on their way.
            run_job(
                "tasks.stages.judge_job",
                job_file,
                log=run_log(),
                progress=Progress("judge", "calls of the judge"),
                secrets=secrets,
                seconds_to_end=judge.timeout_seconds + 5,
            )
        finally:
            job_file.unlink()
            calls_file.unlink()
        kept: dict[str, TeacherAnswer] = {}
        verdicts = []
        for answered, call in zip(answers, calls, strict=True):
            key = call_key(call, judge)
            answer = book.get(key)
            assert answer is not None, f"the answer {key} was kept and is gone"
            kept[key] = answer
            verdicts.append(read_verdict(answered, answer.text))
        rows = summarize_verdicts(verdicts, seed=seed)
        write_jsonl(build.folder / "verdicts.jsonl", verdicts)
        (build.folder / "judge.json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (build.folder / "judge.txt").write_text(verdict_table(rows, judge.model or ""), encoding="utf-8")
        (build.folder / "ledger.json").write_text(summarize_calls(list(kept.values()), judge), encoding="utf-8")
        unreadable = sum(row["unreadable"] for row in rows)
        build.count(verdicts=len(verdicts) - unreadable, unreadable=unreadable, calls=len(kept))
    if unreadable:
        run_log().warning("the judge: %d of %d answers are no verdict", unreadable, len(verdicts))
    return build.artifact
