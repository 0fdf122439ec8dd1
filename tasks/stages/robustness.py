"""Stages of the robustness studies: build the prompts of all studies, score the answers."""

from dataclasses import asdict, dataclass

from data.evaluation.ladder import draw_some
from data.evaluation.robustness import RobustnessSettings, trials
from data.evaluation.robustness_plot import draw_points
from data.evaluation.robustness_points import StudyOutcome, make_points
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import AnyFormat, parse_output, raft_prompt
from data.prompting.quoting import quote_grammar
from data.retrieval.retriever import RetrievalSettings
from data.scoring.evaluated import Study
from data.scoring.scores import score_answer
from tasks.engine.cache import stage
from tasks.stages.evaluation import Scorer, write_unique_prompts
from tasks.stages.json_files import write_json
from tasks.stages.loading import open_chunks, open_questions, open_retriever, open_tokenizer
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError


@dataclass(frozen=True, slots=True)
class Tried:
    """A question over one context of a study, with the index of its prompt."""

    study: Study
    value: int
    question_id: str
    context_ids: tuple[str, ...]
    prompt: int


@stage(name="robustness-prompts", version=2)
def robustness_prompts(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    reranker: Artifact | None,
    base: Artifact,
    retrieval: RetrievalSettings,
    top_k: int,
    robustness: RobustnessSettings,
    style: AnyFormat,
) -> Artifact:
    """Build the prompts of all studies; studies share equal prompts.

    Raises:
        UserError: no evaluation question is answerable.
    """
    answerable = [question for question in open_questions(store, questions, "eval") if question.answerable]
    asked = draw_some(answerable, robustness.max_questions, robustness.seed)
    if not asked:
        raise UserError(
            "no evaluation question is answerable, which evaluation.robustness needs: set "
            "evaluation.robustness.enabled=false"
        )
    retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)
    depth = robustness.most_chunks(top_k) + max(len(question.oracle_ids) for question in asked)
    retrieved = retriever.search([question.question for question in asked], depth)
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    items = [
        (question, trial)
        for question, ids in zip(asked, retrieved, strict=True)
        for trial in trials(question, ids, top_k, robustness)
    ]
    inputs = tuple(filter(None, (questions, chunks, index, embedder, reranker, base)))
    settings = {"robustness": robustness, "retrieval": retrieval, "top_k": top_k}
    with store.build("prompts", settings=settings, inputs=inputs) as build:
        prompts = []
        for question, trial in items:
            context = [by_id[name] for name in trial.context_ids]
            prompts.append((question.id, raft_prompt(context, question.question), quote_grammar(context)))
        indices = write_unique_prompts(build, prompts, open_tokenizer(store, base), style)
        write_jsonl(
            build.folder / "tried.jsonl",
            [
                Tried(trial.study, trial.value, question.id, trial.context_ids, index)
                for (question, trial), index in zip(items, indices, strict=True)
            ],
        )
    return build.artifact


@stage(name="score-robustness", version=1)
def score_robustness(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    prompts: Artifact,
    answers: Artifact,
    robustness: RobustnessSettings,
) -> Artifact:
    """Score the studies; writes points.json (data/scoring/evaluated.py) and robustness.png."""
    scorer = Scorer(store, questions, chunks, base)
    written = scorer.outputs(answers)
    outcomes = []
    for tried in read_jsonl(store.path(prompts) / "tried.jsonl", Tried):
        output = written[tried.prompt]
        question = scorer.questions[tried.question_id]
        shown, oracles = ([scorer.chunks[id] for id in ids] for ids in (tried.context_ids, question.oracle_ids))
        score = score_answer(question, parse_output(output.text), shown, oracles, output.tokens)
        outcomes.append(StudyOutcome(tried.study, tried.value, score))
    points = make_points(outcomes, seed=robustness.seed)
    with store.build("robustness", settings=robustness, inputs=(questions, chunks, base, prompts, answers)) as build:
        write_json(build.folder / "points.json", [asdict(point) for point in points])
        draw_points(points, build.folder / "robustness.png")
        build.count(points=len(points))
    return build.artifact
