"""Calls to a server from a stage: the key from a Prefect Secret block, the process that sends them, what they took."""

import json
from collections import Counter
from collections.abc import Sequence

from data.endpoint.kept_answers import AnswerBook, Call, EndpointAnswer, PlainCall, call_key
from data.endpoint.settings import EndpointSettings
from data.evaluation.judge_settings import JudgeSettings
from data.teacher.settings import TeacherSettings
from tasks.engine.jobs import run_job
from tasks.engine.logs import run_log
from tasks.engine.progress import Progress
from tasks.stages.endpoint_job import EndpointJob
from tasks.store.store import Build, Store
from user_error import UserError

_SECRET_VARIABLE = "JORA_ENDPOINT_KEY"  # noqa: S105  the variable's name, not the secret


def ask_endpoint(
    store: Store,
    build: Build,
    calls: Sequence[Call],
    settings: TeacherSettings | JudgeSettings,
    calls_before: Sequence[Call] = (),
) -> list[EndpointAnswer]:
    """The answers to the calls, in their order.

    Calls are sent by a process of their own. Each answer is kept in WORK_DIR/teacher (or judge) as soon as it arrives,
    and a call whose answer is kept there is not sent again. Writes ledger.json, what these calls took.

    Args:
        calls_before: sent first if their answers are not kept; the calls share their budget.

    Raises:
        UserError: the server refuses or does not answer, the budget is spent, or the secret block does not exist.
    """
    book = AnswerBook(store.work_dir / settings.WHO)
    secrets = {} if settings.api_key_secret is None else {_SECRET_VARIABLE: _load_secret(settings)}
    job = EndpointJob(
        calls=tuple(PlainCall(call.prompt, call.response_format) for call in (*calls_before, *calls)),
        answers=str(book.folder),
        key_variable=_SECRET_VARIABLE if secrets else settings.api_key_env,
        settings=settings,
    )
    # Beside the artifact, not in it: it holds paths, and repeats the documents.
    job_file = build.folder.with_suffix(".json")
    job_file.write_text(job.model_dump_json() + "\n", encoding="utf-8")
    try:
        run_job(
            "tasks.stages.endpoint_job",
            job_file,
            log=run_log(),
            progress=Progress(settings.WHO, f"calls of the {settings.WHO}"),
            secrets=secrets,
            seconds_to_end=settings.timeout_seconds + 5,  # on SIGTERM it waits for the calls in flight
        )
    finally:
        job_file.unlink()
    keys = [call_key(call, settings) for call in calls]
    kept = {key: book.get(key) for key in keys}
    answers = {key: answer for key, answer in kept.items() if answer is not None}
    assert len(answers) == len(kept), "an answer was kept and is gone"
    (build.folder / "ledger.json").write_text(_summary(list(answers.values()), settings), encoding="utf-8")
    build.count(calls=len(answers), tokens=sum(answer.tokens.total for answer in answers.values()))
    return [answers[key] for key in keys]


def _load_secret(settings: EndpointSettings) -> str:
    """The value of the Prefect Secret block that `api_key_secret` names.

    Raises:
        UserError: there is no such block.
    """
    from prefect.blocks.system import Secret

    assert settings.api_key_secret is not None
    try:
        secret = Secret.load(settings.api_key_secret)
    except ValueError:
        raise UserError(
            f"no Prefect Secret block has the name in {settings.GROUP}.api_key_secret: create it in Prefect's UI, or "
            "remove the setting"
        ) from None
    assert isinstance(secret, Secret)  # a coroutine only inside an event loop, where no stage runs
    return str(secret.get()).strip()


def _summary(answers: list[EndpointAnswer], settings: EndpointSettings) -> str:
    """What the answers took, as JSON: the same for the same answers, however often a run was killed."""
    tokens_in = sum(answer.tokens_in for answer in answers)
    tokens_out = sum(answer.tokens_out for answer in answers)
    summary = {
        "calls": len(answers),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "calls_with_estimated_tokens": sum(answer.estimated for answer in answers),
        "cost": settings.cost(tokens_in, tokens_out),
        "finish": dict(sorted(Counter(answer.finish for answer in answers).items())),
    }
    return json.dumps(summary, indent=1, sort_keys=True) + "\n"
