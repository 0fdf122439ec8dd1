"""Questions that a teacher writes: the calls to a server or to a model loaded here, and its answers as raw questions.

    chunks --ask_server--> answers --------------------------------\
    chunks --ask_prompts--> prompts --generate_answers--> answers --write_questions--> raw-questions
"""

import json
from collections.abc import Sequence

from data.endpoint.kept_answers import EndpointAnswer
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import Prompt, PromptStyle
from data.prompting.tokenizer import Tokenizer
from data.questions.questions import RawQuestion, Rejected, describe_reasons
from data.raft.sequences import encode_prompts, read_answers, write_prompts
from data.teacher.parse import read_answer
from data.teacher.plan import plan_calls
from data.teacher.settings import TeacherSettings
from jora_model.spec.settings import LOWEST_TEMPERATURE, GenerationSettings
from tasks.engine.cache import stage
from tasks.engine.logs import run_log
from tasks.stages.endpoints import ask_endpoint
from tasks.stages.loading import open_chunks, open_tokenizer
from tasks.stages.questions import TEACHER_REJECTED
from tasks.store.artifacts import Artifact
from tasks.store.store import Build, Store
from user_error import UserError

ANSWERS = "teacher_answers.jsonl"


@stage(name="ask-teacher", version=1, modules=("data.endpoint.client",))
def ask_server(store: Store, chunks: Artifact, teacher: TeacherSettings) -> Artifact:
    """teacher_answers.jsonl, the answers of a model behind a server in the order of the calls, and ledger.json.

    Raises:
        UserError: as `ask_endpoint`.
    """
    with store.build("teacher-answers", settings=teacher, inputs=(chunks,)) as build:
        answers = ask_endpoint(store, build, plan_calls(open_chunks(store, chunks), teacher), teacher)
        write_jsonl(build.folder / ANSWERS, answers)
    return build.artifact


@stage(name="teacher-prompts", version=1)
def ask_prompts(
    store: Store, chunks: Artifact, base: Artifact, teacher: TeacherSettings, style: PromptStyle
) -> Artifact:
    """The same calls as prompts for a local model."""
    calls = plan_calls(open_chunks(store, chunks), teacher)
    tokenizer = open_tokenizer(store, base)
    ids = [f"call-{index}" for index in range(len(calls))]
    with store.build("prompts", settings=teacher, inputs=(chunks, base)) as build:
        write_prompt_files(build, ids, [call.prompt for call in calls], tokenizer, style)
    return build.artifact


def write_prompt_files(
    build: Build, ids: Sequence[str], prompts: Sequence[Prompt], tokenizer: Tokenizer, style: PromptStyle
) -> None:
    """Write what `generate_answers` reads: the prompts with their ids, and the token that ends an answer."""
    encoded = encode_prompts(ids, prompts, tokenizer, style)
    write_prompts(build.folder, encoded)
    (build.folder / "end.json").write_text(json.dumps({"end_id": tokenizer.end_id(style)}) + "\n", encoding="utf-8")
    build.count(prompts=len(encoded), tokens=sum(len(prompt.tokens) for prompt in encoded))


def local_generation(teacher: TeacherSettings) -> GenerationSettings:
    """The generation settings of a local teacher."""
    temperature = teacher.temperature or 0.0
    return GenerationSettings(
        max_new_tokens=teacher.max_tokens,
        temperature=temperature if temperature >= LOWEST_TEMPERATURE else 0.0,
        batch_size=teacher.concurrency,
        seed=teacher.seed,
    )


@stage(name="write-questions", version=1)
def write_questions(
    store: Store, chunks: Artifact, answers: Artifact, base: Artifact | None, teacher: TeacherSettings
) -> Artifact:
    """raw_questions.jsonl, the questions in the answers, and teacher_rejected.jsonl, the unusable parts with reasons.

    Args:
        answers: of a server (`teacher-answers`), or of the local model `base` (`answers`).

    Raises:
        UserError: no question can be used.
    """
    texts = answer_texts(store, answers, base)
    questions: list[RawQuestion] = []
    rejected: list[Rejected] = []
    for call, text in zip(plan_calls(open_chunks(store, chunks), teacher), texts, strict=True):
        usable, unusable = read_answer(call, text)
        questions += usable
        rejected += unusable
    reasons = describe_reasons(rejected)
    if not questions:
        first = next((text for text in texts if text.strip()), "")
        raise UserError(
            f"the teacher wrote no usable question in {len(texts)} answers ({reasons}): use a larger model or raise "
            f"teacher.max_tokens; one answer begins: {first[:120]!r}"
        )
    if rejected:
        run_log().warning("the teacher's answers: %d usable questions; rejected: %s", len(questions), reasons)
    inputs = tuple(filter(None, (chunks, answers, base)))
    with store.build("raw-questions", settings=teacher, inputs=inputs) as build:
        write_jsonl(build.folder / "raw_questions.jsonl", questions)
        write_jsonl(build.folder / TEACHER_REJECTED, rejected)
        build.count(questions=len(questions), rejected=len(rejected))
    return build.artifact


def answer_texts(store: Store, answers: Artifact, base: Artifact | None) -> list[str]:
    """The answers of a server (`base` is None), or of the local model `base`, decoded."""
    folder = store.path(answers)
    if base is None:
        return [answer.text for answer in read_jsonl(folder / ANSWERS, EndpointAnswer)]
    tokenizer = open_tokenizer(store, base)
    return [tokenizer.decode(tokens.tolist()) for tokens in read_answers(folder)]
