"""The critic's round trip: questions as prompts over their oracles, and the questions that a model answers alike."""

import json
from dataclasses import asdict

from data.critic.critique import FilterCount, checked_sources
from data.critic.round_trip import agreement, disagreement, oracle_prompt
from data.critic.settings import CriticSettings
from data.endpoint.kept_answers import PlainCall
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import AnyFormat, Prompt
from data.questions.questions import Question, RawQuestion, Rejected
from data.questions.repair import Repaired
from data.raft.sequences import read_prompts
from data.teacher.plan import plan_calls
from data.teacher.settings import TeacherSettings
from tasks.engine.cache import stage
from tasks.stages.endpoints import ask_endpoint
from tasks.stages.loading import open_chunks, open_questions, open_tokenizer
from tasks.stages.questions import read_split, write_parts
from tasks.stages.teacher import ANSWERS, answer_texts, write_prompt_files
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

PARTS = ("train", "validation", "eval")
# Without evaluation: the base model's answers must not choose the questions that measure it.
CHECKED_PARTS = ("train", "validation")
_IDS = "question_ids.json"


@stage(name="ask-again", version=1)
def ask_again(
    store: Store,
    raw: Artifact,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    critic: CriticSettings,
    style: AnyFormat,
) -> Artifact:
    """The checked questions of training and validation as prompts over their oracle chunks, for a local model."""
    asked, prompts = _oracle_prompts(store, raw, questions, chunks, critic)
    ids = [question.id for question in asked]
    with store.build("prompts", settings={"style": style}, inputs=(raw, questions, chunks, base)) as build:
        write_prompt_files(build, ids, prompts, open_tokenizer(store, base), style)
    return build.artifact


@stage(name="ask-teacher-again", version=1, modules=("data.endpoint.client",))
def ask_server_again(
    store: Store,
    raw: Artifact,
    questions: Artifact,
    chunks: Artifact,
    critic: CriticSettings,
    teacher: TeacherSettings,
) -> Artifact:
    """The answers of a teacher behind a server to the same prompts; they share the budget of its questions.

    Raises:
        UserError: as `ask_endpoint`.
    """
    asked, prompts = _oracle_prompts(store, raw, questions, chunks, critic)
    with store.build("round-trip", settings=teacher, inputs=(raw, questions, chunks)) as build:
        (build.folder / _IDS).write_text(json.dumps([question.id for question in asked]) + "\n", encoding="utf-8")
        calls_before = plan_calls(open_chunks(store, chunks), teacher)
        calls = [PlainCall(prompt) for prompt in prompts]
        write_jsonl(build.folder / ANSWERS, ask_endpoint(store, build, calls, teacher, calls_before))
    return build.artifact


def _oracle_prompts(
    store: Store, raw: Artifact, questions: Artifact, chunks: Artifact, critic: CriticSettings
) -> tuple[list[Question], list[Prompt]]:
    """The checked questions of training and validation, and each as a prompt over its oracle chunks."""
    sources = checked_sources(read_jsonl(store.path(raw) / "raw_questions.jsonl", RawQuestion), critic)
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    asked = [question for part in CHECKED_PARTS for question in open_questions(store, questions, part)]
    asked = [question for question in asked if question.answerable and question.question in sources]
    return asked, [oracle_prompt(question, [by_id[name] for name in question.oracle_ids]) for question in asked]


@stage(name="keep-answered", version=2)
def keep_answered(
    store: Store,
    questions: Artifact,
    prompts: Artifact | None,
    answers: Artifact,
    model: Artifact | None,
    critic: CriticSettings,
) -> Artifact:
    """The questions that the model answered alike, in their parts; adds the others to rejected.jsonl.

    Args:
        prompts: from `ask_again`; None for a server (`ask_server_again`).
        model: the local model that answered; None for a server.

    Files: those of `prepare_questions`, and round_trip.jsonl.

    Raises:
        UserError: no question is left for training, or for validation.
    """
    assert critic.round_trip is not None
    folder = store.path(questions)
    parts = {part: open_questions(store, questions, part) for part in PARTS}
    by_id = {question.id: question for part in PARTS for question in parts[part]}
    if prompts is None:
        ids = json.loads((store.path(answers) / _IDS).read_text(encoding="utf-8"))
    else:
        ids = [prompt.id for prompt in read_prompts(store.path(prompts))]
    outputs = answer_texts(store, answers, model)
    trips = [agreement(by_id[name], output) for name, output in zip(ids, outputs, strict=True)]
    failed = {
        trip.question_id: failure
        for trip in trips
        if (failure := disagreement(trip, critic.round_trip, f"question {trip.question_id}"))
    }
    kept = {part: [question for question in parts[part] if question.id not in failed] for part in PARTS}
    for part in CHECKED_PARTS:
        if parts[part] and not kept[part]:
            raise UserError(
                f"the round trip rejected all {part} questions ({len(failed)} of {len(trips)} in all): lower "
                f"critic.round_trip={critic.round_trip}, or use a better model (critic.round_trip_by)"
            )
    rejected = [*read_jsonl(folder / "rejected.jsonl", Rejected), *failed.values()]
    funnel = json.loads((folder / "filters.json").read_text(encoding="utf-8"))
    funnel.append(asdict(FilterCount("round trip", sum(len(kept[part]) for part in CHECKED_PARTS), len(failed))))
    inputs = tuple(filter(None, (questions, prompts, answers, model)))
    with store.build("questions", settings=critic, inputs=inputs) as build:
        write_jsonl(build.folder / "round_trip.jsonl", trips)
        write_parts(
            build,
            kept,
            rejected,
            read_jsonl(folder / "near_duplicates.jsonl", Question),
            read_jsonl(folder / "repaired.jsonl", Repaired),
            [FilterCount(**row) for row in funnel],
            read_split(store, questions),
        )
    return build.artifact
