"""Questions that a teacher writes: asked of a server or of a model loaded here, then read into raw questions.

    chunks --ask_server--> answers --------------------------------\
    chunks --ask_prompts--> prompts --generate_answers--> answers --write_questions--> raw-questions
"""

import json
from collections import Counter
from collections.abc import Sequence

from data.endpoint.kept_answers import AnswerBook, Call, TeacherAnswer, call_key
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import Prompt, PromptStyle
from data.questions.questions import RawQuestion, Rejected
from data.raft.sequences import encode_prompts, read_answers, write_prompts
from data.teacher.parse import read_answer
from data.teacher.plan import PlainCall, plan_calls
from data.teacher.settings import TeacherSettings
from jora_model.spec.settings import GenerationSettings
from tasks.engine.cache import stage
from tasks.engine.jobs import run_job
from tasks.engine.logs import run_log
from tasks.engine.progress import Progress
from tasks.stages.endpoints import load_secret, summarize_calls
from tasks.stages.loading import open_chunks, open_tokenizer
from tasks.stages.questions import TEACHER_REJECTED
from tasks.stages.teacher_job import TeacherJob
from tasks.store.artifacts import Artifact
from tasks.store.store import Build, Store
from user_error import UserError

_SECRET_VARIABLE = "JORA_TEACHER_KEY"  # noqa: S105  where the secret is, not the secret
_ANSWERS = "teacher_answers.jsonl"
_PROMPTS = "prompts.jsonl"


@stage(name="ask-teacher", version=1, modules=("data.endpoint.client",))
def ask_server(store: Store, chunks: Artifact, teacher: TeacherSettings) -> Artifact:
    """The answers of a model behind a server, in the order of the calls, and a summary of what they took.

    Every answer lies in WORK_DIR/teacher as soon as it is there; what lies there is not asked again.

    Raises:
        UserError: the server refuses or does not answer, the budget is spent, or there is no such secret.
    """
    with store.build("teacher-answers", settings=teacher, inputs=(chunks,)) as build:
        run_teacher(store, build, chunks, teacher)
    return build.artifact


def run_teacher(
    store: Store, build: Build, chunks: Artifact, teacher: TeacherSettings, prompts: Sequence[Prompt] | None = None
) -> None:
    """Ask a server, in a process of its own, what is not kept yet; then the answers go into an artifact.

    Args:
        prompts: asked after the calls for the chunks, whose budget they share; then theirs are the answers.

    Files: teacher_answers.jsonl, ledger.json; prompts.jsonl where they were given.

    Raises:
        UserError: as `ask_server`.
    """
    book = AnswerBook(store.work_dir / "teacher")
    secrets = {} if teacher.api_key_secret is None else {_SECRET_VARIABLE: load_secret(teacher)}
    job = TeacherJob(
        chunks=str(store.path(chunks) / "chunks.jsonl"),
        prompts=None if prompts is None else str(build.folder / _PROMPTS),
        answers=str(book.folder),
        key_variable=_SECRET_VARIABLE if secrets else teacher.api_key_env,
        teacher=teacher,
    )
    if prompts is not None:
        write_jsonl(build.folder / _PROMPTS, prompts)
    # Beside the artifact, not in it: it holds paths.
    job_file = build.folder.with_suffix(".json")
    job_file.write_text(job.model_dump_json(indent=1) + "\n", encoding="utf-8")
    # Told to stop, it waits for the calls that are on their way.
    run_job(
        "tasks.stages.teacher_job",
        job_file,
        log=run_log(),
        progress=Progress("teacher", "calls of the teacher"),
        secrets=secrets,
        seconds_to_end=teacher.timeout_seconds + 5,
    )
    job_file.unlink()
    planned = plan_calls(open_chunks(store, chunks), teacher)
    calls: Sequence[Call] = planned if prompts is None else [PlainCall(prompt) for prompt in prompts]
    answers: list[TeacherAnswer] = []
    kept: dict[str, TeacherAnswer] = {}
    for call in calls:
        key = call_key(call, teacher)
        answer = book.get(key)
        assert answer is not None, f"the answer {key} was kept and is gone"
        answers.append(answer)
        kept[key] = answer
    write_jsonl(build.folder / _ANSWERS, answers)
    (build.folder / "ledger.json").write_text(summarize_calls(list(kept.values()), teacher), encoding="utf-8")
    build.count(calls=len(kept), tokens=sum(answer.tokens.total for answer in kept.values()))


@stage(name="teacher-prompts", version=1)
def ask_prompts(
    store: Store, chunks: Artifact, base: Artifact, teacher: TeacherSettings, style: PromptStyle
) -> Artifact:
    """The same calls as prompts of a model that is loaded here."""
    calls = plan_calls(open_chunks(store, chunks), teacher)
    tokenizer = open_tokenizer(store, base)
    ids = [f"call-{place}" for place in range(len(calls))]
    encoded = encode_prompts(ids, [call.prompt for call in calls], tokenizer, style)
    with store.build("prompts", settings=teacher, inputs=(chunks, base)) as build:
        write_prompts(build.folder, encoded)
        (build.folder / "end.json").write_text(json.dumps({"end_id": tokenizer.end_id(style)}) + "\n", encoding="utf-8")
        build.count(prompts=len(encoded), tokens=sum(len(prompt.tokens) for prompt in encoded))
    return build.artifact


def local_generation(teacher: TeacherSettings) -> GenerationSettings:
    """How a local teacher's answers are decoded."""
    return GenerationSettings(
        max_new_tokens=teacher.max_tokens,
        temperature=teacher.temperature or 0.0,
        batch_size=teacher.concurrency,
        seed=teacher.seed,
    )


@stage(name="write-questions", version=1)
def write_questions(
    store: Store, chunks: Artifact, answers: Artifact, base: Artifact | None, teacher: TeacherSettings
) -> Artifact:
    """The questions in the answers; what cannot be used of them is in teacher_rejected.jsonl with its reason.

    Args:
        answers: of a server (`teacher-answers`), or of the model `base` (`answers`).

    Raises:
        UserError: not one question can be used.
    """
    texts = answer_texts(store, answers, base)
    questions: list[RawQuestion] = []
    rejected: list[Rejected] = []
    for call, text in zip(plan_calls(open_chunks(store, chunks), teacher), texts, strict=True):
        usable, unusable = read_answer(call, text)
        questions += usable
        rejected += unusable
    reasons = Counter(item.reason for item in rejected)
    told = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    if not questions:
        first = next((text for text in texts if text.strip()), "")
        raise UserError(
            f"the teacher wrote no question that can be used in {len(texts)} answers: {told}; use a larger model or "
            f"raise teacher.max_tokens; one answer begins: {first[:120]!r}"
        )
    if rejected:
        run_log().warning("the teacher's answers: %d questions, not usable: %s", len(questions), told)
    inputs = tuple(filter(None, (chunks, answers, base)))
    with store.build("raw-questions", settings=teacher, inputs=inputs) as build:
        write_jsonl(build.folder / "raw_questions.jsonl", questions)
        write_jsonl(build.folder / TEACHER_REJECTED, rejected)
        build.count(questions=len(questions), rejected=len(rejected))
    return build.artifact


def answer_texts(store: Store, answers: Artifact, base: Artifact | None) -> list[str]:
    """The answers of a server (no `base`), or those that the model `base` gave in tokens."""
    folder = store.path(answers)
    if base is None:
        return [answer.text for answer in read_jsonl(folder / _ANSWERS, TeacherAnswer)]
    tokenizer = open_tokenizer(store, base)
    return [tokenizer.decode(tokens.tolist()) for tokens in read_answers(folder)]
