"""The critic's round trip: questions as prompts over their oracles, and the questions that came back answered alike."""

import json
from dataclasses import asdict

from data.critic.critique import Filtered, judged_sources
from data.critic.round_trip import agreement, disagreement, oracle_prompt
from data.critic.settings import CriticSettings
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import Prompt, PromptStyle
from data.questions.questions import Question, RawQuestion, Rejected
from data.questions.repair import Repaired
from data.raft.sequences import encode_prompts, read_prompts, write_prompts
from data.teacher.settings import TeacherSettings
from tasks.engine.cache import stage
from tasks.stages.loading import open_chunks, open_questions, open_tokenizer
from tasks.stages.questions import write_parts
from tasks.stages.teaching import answer_texts, run_teacher
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

PARTS = ("train", "validation", "eval")
# Not those of the evaluation: what the base model answers would choose the questions that it is measured with.
JUDGED = ("train", "validation")
_IDS = "question_ids.json"


@stage(name="ask-again", version=1)
def ask_again(
    store: Store,
    raw: Artifact,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    critic: CriticSettings,
    style: PromptStyle,
) -> Artifact:
    """The judged questions of training and validation as prompts over their oracle chunks, for a model loaded here."""
    asked, prompts = _asked(store, raw, questions, chunks, critic)
    tokenizer = open_tokenizer(store, base)
    encoded = encode_prompts([question.id for question in asked], prompts, tokenizer, style)
    with store.build("prompts", settings={"style": style}, inputs=(raw, questions, chunks, base)) as build:
        write_prompts(build.folder, encoded)
        end = json.dumps({"end_id": tokenizer.end_id(style)}) + "\n"
        (build.folder / "end.json").write_text(end, encoding="utf-8")
        build.count(prompts=len(encoded), tokens=sum(len(prompt.tokens) for prompt in encoded))
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
    """The answers of a teacher behind a server to the same prompts, kept, counted and paid as its questions were.

    Raises:
        UserError: as `ask_server`.
    """
    asked, prompts = _asked(store, raw, questions, chunks, critic)
    with store.build("round-trip", settings=teacher, inputs=(raw, questions, chunks)) as build:
        (build.folder / _IDS).write_text(json.dumps([question.id for question in asked]) + "\n", encoding="utf-8")
        run_teacher(store, build, chunks, teacher, prompts)
    return build.artifact


def _asked(
    store: Store, raw: Artifact, questions: Artifact, chunks: Artifact, critic: CriticSettings
) -> tuple[list[Question], list[Prompt]]:
    """The judged questions of training and validation, and each over its oracle chunks."""
    sources = judged_sources(read_jsonl(store.path(raw) / "raw_questions.jsonl", RawQuestion), critic)
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    asked = [question for part in JUDGED for question in open_questions(store, questions, part)]
    asked = [question for question in asked if question.quotes and question.question in sources]
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
    """The questions whose answer came back, in their parts; the others join rejected.jsonl.

    Args:
        prompts: as of `ask_again`; None where a server was asked (`ask_server_again`), and then there is no model.
        model: that gave the answers.

    Files: those of `prepare_questions`, and round_trip.jsonl.

    Raises:
        UserError: no question is left to train on, or none of those for validation.
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
        trip.question_id: fault
        for trip in trips
        if (fault := disagreement(trip, critic.round_trip, f"question {trip.question_id}"))
    }
    kept = {part: [question for question in parts[part] if question.id not in failed] for part in PARTS}
    for part in JUDGED:
        if parts[part] and not kept[part]:
            raise UserError(
                f"the round trip left no question of the part {part!r} ({len(failed)} of {len(trips)} came back with "
                f"another answer): lower critic.round_trip={critic.round_trip}, or let a better model answer "
                "(critic.round_trip_by)"
            )
    rejected = [*read_jsonl(folder / "rejected.jsonl", Rejected), *failed.values()]
    funnel = json.loads((folder / "filters.json").read_text(encoding="utf-8"))
    funnel.append(asdict(Filtered("round trip", sum(len(kept[part]) for part in JUDGED), len(failed))))
    inputs = tuple(filter(None, (questions, prompts, answers, model)))
    with store.build("questions", settings=critic, inputs=inputs) as build:
        write_jsonl(build.folder / "round_trip.jsonl", trips)
        write_parts(
            build,
            kept,
            rejected,
            read_jsonl(folder / "near_duplicates.jsonl", Question),
            read_jsonl(folder / "repaired.jsonl", Repaired),
            [Filtered(**row) for row in funnel],
        )
    return build.artifact
