"""Stages of the evaluation ladder: build the prompts of a model's rungs, generate answers, score all rungs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from data.evaluation.ladder import RUNG_BY_NAME, EvaluationSettings, draw, with_oracles
from data.evaluation.tables import compare_rungs, make_breakdown, show_examples
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import AnyFormat, Prompt, parse_output
from data.prompting.tokenizer import Tokenizer
from data.questions.question_kinds import question_kind
from data.questions.split import LEAK_NOTE
from data.raft.sequences import (
    GRAMMARS_NAME,
    encode_prompts,
    read_answers,
    read_overruled,
    write_grammars,
    write_prompts,
)
from data.retrieval.retriever import RetrievalSettings
from data.scoring.evaluated import Answered
from data.scoring.failures import failure_cause
from data.scoring.scores import AnswerScore, rung_table, score_answer, summarize
from jora_model.spec.job import GenerateJob
from jora_model.spec.settings import GenerationSettings
from tasks.engine.cache import stage
from tasks.engine.jobs import run_job
from tasks.engine.logs import run_log
from tasks.engine.progress import Progress
from tasks.stages.json_files import read_json, write_json
from tasks.stages.loading import ENDS, open_chunks, open_questions, open_retriever, open_tokenizer
from tasks.stages.questions import read_split
from tasks.store.artifacts import Artifact
from tasks.store.store import Build, Store

_SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class AskedRung:
    """A question on a rung, with the chunks of its prompt in order.

    Attributes:
        prompt: index among the prompts; rungs with the same context share one.
    """

    rung: str
    question_id: str
    context_ids: tuple[str, ...]
    prompt: int


class Output(NamedTuple):
    """A model's output, its number of tokens, and how many of them the grammar overruled; None without a grammar."""

    text: str
    tokens: int
    overruled: int | None


@stage(name="build-prompts", version=3)
def build_prompts(
    store: Store,
    rungs: tuple[str, ...],
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    reranker: Artifact | None,
    base: Artifact,
    retrieval: RetrievalSettings,
    evaluation: EvaluationSettings,
    style: AnyFormat,
) -> Artifact:
    """Build the prompts of one model's rungs over chunks retrieved from all documents."""
    asked = draw(open_questions(store, questions, "eval"), evaluation)
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    retrieved: list[list[str]] = [[] for _ in asked]
    if any(RUNG_BY_NAME[name].shown != "closed-book" for name in rungs):
        retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)
        retrieved = retriever.search([question.question for question in asked], evaluation.top_k)
    shown = {
        "closed-book": lambda ids, question: [],
        "retrieval": lambda ids, question: ids,
        "oracle": with_oracles,
    }
    items = []
    for rung in (RUNG_BY_NAME[name] for name in rungs):
        for question, ids in zip(asked, retrieved, strict=True):
            context = shown[rung.shown](ids, question)
            chunks_shown = [by_id[id] for id in context]
            prompt, grammar = rung.prompt(question.question, chunks_shown), rung.grammar(chunks_shown)
            items.append((rung.name, question, context, prompt, grammar))
    inputs = tuple(filter(None, (questions, chunks, index, embedder, reranker, base)))
    settings = {"evaluation": evaluation, "retrieval": retrieval, "rungs": rungs}
    with store.build("prompts", settings=settings, inputs=inputs) as build:
        indices = write_unique_prompts(
            build,
            [(question.id, prompt, grammar) for _, question, _, prompt, grammar in items],
            open_tokenizer(store, base),
            style,
        )
        write_jsonl(
            build.folder / "asked.jsonl",
            [
                AskedRung(name, question.id, tuple(context), index)
                for (name, question, context, _, _), index in zip(items, indices, strict=True)
            ],
        )
    return build.artifact


def write_unique_prompts(
    build: Build, prompts: Sequence[tuple[str, Prompt, str | None]], tokenizer: Tokenizer, style: AnyFormat
) -> list[int]:
    """Write each distinct prompt once, with id, grammar and the end tokens; returns the index of each given prompt."""
    indices: dict[Prompt, int] = {}
    ids: list[str] = []
    grammars: list[str | None] = []
    for name, prompt, grammar in prompts:
        if prompt not in indices:
            indices[prompt] = len(indices)
            ids.append(name)
            grammars.append(grammar)
    encoded = encode_prompts(ids, list(indices), tokenizer, style)
    write_prompts(build.folder, encoded)
    write_grammars(build.folder, grammars)
    write_json(build.folder / ENDS, {"end_ids": tokenizer.end_ids(style), "control_ids": tokenizer.control_ids})
    build.count(prompts=len(encoded), tokens=sum(len(prompt.tokens) for prompt in encoded))
    return [indices[prompt] for _, prompt, _ in prompts]


@stage(name="generate-answers", version=2, modules=("jora_model.generation.generate",), retries=1)
def generate_answers(
    store: Store, base: Artifact, adapter: Artifact | None, prompts: Artifact, generation: GenerationSettings
) -> Artifact:
    """Generate answers of the base model or, with an adapter, the tuned model, in a separate process."""
    folder = store.path(prompts)
    grammars = folder / GRAMMARS_NAME  # prompts of a teacher or critic have none
    with store.build("answers", settings=generation, inputs=tuple(filter(None, (base, adapter, prompts)))) as build:
        job = GenerateJob(
            base=str(store.path(base)),
            adapter=None if adapter is None else str(store.path(adapter)),
            prompts=str(folder),
            grammars=str(grammars) if generation.quotes == "verbatim" and grammars.exists() else None,
            output=str(build.folder),
            **read_json(folder / ENDS),
            compilation_cache=str(store.work_dir / "xla"),
            generation=generation,
        )
        # Beside the artifact, because it contains paths.
        job_file = build.folder.with_suffix(".json")
        job_file.write_text(job.model_dump_json(indent=1) + "\n", encoding="utf-8")
        try:
            run_job("jora_model.generation.generate", job_file, log=run_log(), progress=Progress("answers", "answers"))
        finally:
            job_file.unlink()
        build.count(answers=prompts.count("prompts"))
    return build.artifact


@stage(name="score-answers", version=3)
def score_answers(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    rungs: tuple[str, ...],
    prompts: tuple[Artifact, ...],
    answers: tuple[Artifact, ...],
    evaluation: EvaluationSettings,
) -> Artifact:
    """Score all rungs and write the files of data/scoring/evaluated.py, summary.md, and summary.txt with two examples.

    Args:
        rungs: in the order of the report.
        prompts, answers: one for each model.
    """
    scored = list(Scorer(store, questions, chunks, base).score(prompts, answers))
    by_rung = {name: [(a, s) for a, s in scored if a.rung == name] for name in rungs}
    everything = [answered for pairs in by_rung.values() for answered, _ in pairs]
    summary = [summarize(name, [s for _, s in pairs], seed=evaluation.seed) for name, pairs in by_rung.items()]
    comparisons = compare_rungs(
        {name: [score for _, score in pairs] for name, pairs in by_rung.items()}, seed=evaluation.seed
    )
    inputs = (questions, chunks, base, *prompts, *answers)
    with store.build("evaluation", settings={"evaluation": evaluation, "rungs": rungs}, inputs=inputs) as build:
        write_jsonl(build.folder / "answers.jsonl", everything)
        write_json(build.folder / _SUMMARY, summary)
        write_json(build.folder / "comparisons.json", [asdict(comparison) for comparison in comparisons])
        write_json(build.folder / "breakdown.json", make_breakdown(everything))
        table, examples = rung_table(summary), show_examples(everything)
        if read_split(store, questions)["by"] == "question":
            table += f"\n{LEAK_NOTE}\n"
        (build.folder / "summary.md").write_text(f"{table}\n```text\n{examples}\n```\n", encoding="utf-8")
        (build.folder / "summary.txt").write_text(f"{table}\n{examples}\n", encoding="utf-8")
        build.count(rungs=len(summary), questions=summary[0]["questions"])
    return build.artifact


@stage(name="score-rung", version=3)
def score_rung(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    rung: str,
    prompts: Artifact,
    answers: Artifact,
    evaluation: EvaluationSettings,
) -> Artifact:
    """Score one rung of a model; writes answers.jsonl and summary.json as `score_answers` does."""
    everything = Scorer(store, questions, chunks, base).score((prompts,), (answers,))
    scored = [(answered, score) for answered, score in everything if answered.rung == rung]
    with store.build("evaluation", settings=evaluation, inputs=(questions, chunks, base, prompts, answers)) as build:
        write_jsonl(build.folder / "answers.jsonl", [answered for answered, _ in scored])
        summary = summarize(rung, [score for _, score in scored], seed=evaluation.seed)
        write_json(build.folder / _SUMMARY, [summary])
        build.count(rungs=1, questions=summary["questions"])
    return build.artifact


class Scorer:
    """Scores answers; opens the artifacts once."""

    def __init__(self, store: Store, questions: Artifact, chunks: Artifact, base: Artifact) -> None:
        self.store = store
        self.questions = {question.id: question for question in open_questions(store, questions, "eval")}
        self.chunks = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
        self.paths = {chunk.document_id: chunk.document_path for chunk in self.chunks.values()}
        self.tokenizer = open_tokenizer(store, base)

    def score(self, prompts: Sequence[Artifact], answers: Sequence[Artifact]) -> Iterator[tuple[Answered, AnswerScore]]:
        """Yield every answer of every model with its score, in the order of the prompts."""
        for prompt_set, answer_set in zip(prompts, answers, strict=True):
            written = self.outputs(answer_set)
            for asked in read_jsonl(self.store.path(prompt_set) / "asked.jsonl", AskedRung):
                yield self._score(asked, written[asked.prompt])

    def outputs(self, answers: Artifact) -> list[Output]:
        """The model's output for each prompt."""
        folder = self.store.path(answers)
        return [
            Output(self.tokenizer.decode(tokens.tolist()), len(tokens), overruled)
            for tokens, overruled in zip(read_answers(folder), read_overruled(folder), strict=True)
        ]

    def _score(self, asked: AskedRung, output: Output) -> tuple[Answered, AnswerScore]:
        question, parsed = self.questions[asked.question_id], parse_output(output.text)
        shown = [self.chunks[id] for id in asked.context_ids]
        oracles = [self.chunks[id] for id in question.oracle_ids]
        score = score_answer(question, parsed, shown, oracles, output.tokens, output.overruled)
        answered = Answered(
            rung=asked.rung,
            question_id=question.id,
            question=question.question,
            expected=question.answer,
            output=output.text,
            answer=parsed.answer,
            quotes=parsed.quotes,
            context_ids=asked.context_ids,
            context_places=tuple(chunk.place for chunk in shown),
            oracle_ids=question.oracle_ids,
            exact_match=score.exact_match,
            token_f1=score.token_f1,
            verbatim_quotes=score.verbatim_quotes,
            cites_oracle=score.cites_oracle,
            kind=question_kind(question),
            document=self.paths.get(question.document_id, question.document_id),
            answerable=score.answerable,
            rouge_l=score.rouge_l,
            contains_answer=score.contains_answer,
            abstained=score.abstained,
            oracle_retrieved=question.answerable and not set(question.oracle_ids).isdisjoint(asked.context_ids),
            output_tokens=output.tokens,
            overruled=output.overruled,
            cause=failure_cause(question, parsed, shown),
            also_expected=question.other_answers,
        )
        return answered, score
