"""The evaluation ladder: prompts of a rung, answers to them, and the scores of all rungs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.chunks import Chunk
from data.evaluated import Answered
from data.jsonl import read_jsonl, write_jsonl
from data.ladder import RUNG_BY_NAME, EvaluationSettings, draw
from data.prompts import PromptStyle, parse_output
from data.questions import Question
from data.retriever import RetrievalSettings
from data.scoring import AnswerScore, rung_table, score_answer, summarize
from data.sequences import encode_prompts, read_answers, write_prompts
from jora_model.job import GenerateJob
from jora_model.settings import GenerationSettings
from tasks.cache import stage
from tasks.jobs import run_job
from tasks.loading import open_chunks, open_questions, open_retriever, open_tokenizer
from tasks.logs import run_log
from tasks.progress import Progress
from tasks.store import Artifact, Store


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prompt shows: the rung, the question and the retrieved chunks, best first."""

    rung: str
    question_id: str
    context_ids: tuple[str, ...]


@stage(name="build-prompts", version=1)
def build_prompts(
    store: Store,
    rung: str,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    reranker: Artifact | None,
    base: Artifact,
    retrieval: RetrievalSettings,
    evaluation: EvaluationSettings,
    style: PromptStyle,
) -> Artifact:
    """The evaluation questions as prompts of one rung, over what retrieval finds in the index of all chunks."""
    kind = RUNG_BY_NAME[rung]
    asked = draw(open_questions(store, questions, "eval"), evaluation)
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    contexts: list[list[str]] = [[] for _ in asked]
    if kind.retrieval:
        retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)
        contexts = retriever.search([question.question for question in asked], evaluation.top_k)
    prompts = [
        kind.prompt(question.question, [by_id[place] for place in context])
        for question, context in zip(asked, contexts, strict=True)
    ]
    encoded = encode_prompts([question.id for question in asked], prompts, open_tokenizer(store, base), style)
    inputs = tuple(filter(None, (questions, chunks, index, embedder, reranker, base)))
    settings = {"evaluation": evaluation, "retrieval": retrieval, "rung": rung}
    with store.build("prompts", settings=settings, inputs=inputs) as build:
        write_prompts(build.folder, encoded)
        shown = zip(asked, contexts, strict=True)
        write_jsonl(build.folder / "asked.jsonl", [Asked(rung, q.id, tuple(context)) for q, context in shown])
        end_id = open_tokenizer(store, base).end_id(style)
        (build.folder / "end.json").write_text(json.dumps({"end_id": end_id}) + "\n", encoding="utf-8")
        build.count(prompts=len(encoded), tokens=sum(len(prompt.tokens) for prompt in encoded))
    return build.artifact


@stage(name="generate-answers", version=1, modules=("jora_model.generate",), retries=1)
def generate_answers(
    store: Store, base: Artifact, adapter: Artifact | None, prompts: Artifact, generation: GenerationSettings
) -> Artifact:
    """Answers of the base model or, with an adapter, the tuned one; in a process of its own."""
    folder = store.path(prompts)
    with store.build("answers", settings=generation, inputs=tuple(filter(None, (base, adapter, prompts)))) as build:
        job = GenerateJob(
            base=str(store.path(base)),
            adapter=None if adapter is None else str(store.path(adapter)),
            prompts=str(folder),
            output=str(build.folder),
            end_ids=(json.loads((folder / "end.json").read_text(encoding="utf-8"))["end_id"],),
            compilation_cache=str(store.work_dir / "xla"),
            generation=generation,
        )
        # Beside the artifact, not in it: it holds paths.
        job_file = build.folder.with_suffix(".json")
        job_file.write_text(job.model_dump_json(indent=1) + "\n", encoding="utf-8")
        try:
            run_job("jora_model.generate", job_file, log=run_log(), progress=Progress("answers", "answers"))
        finally:
            job_file.unlink()
        build.count(answers=prompts.count("prompts"))
    return build.artifact


@stage(name="score-answers", version=1)
def score_answers(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    prompts: tuple[Artifact, ...],
    answers: tuple[Artifact, ...],
    evaluation: EvaluationSettings,
) -> Artifact:
    """Score every rung: answers.jsonl, summary.json, summary.md and summary.txt with two examples."""
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    by_question = {question.id: question for question in open_questions(store, questions, "eval")}
    tokenizer = open_tokenizer(store, base)
    everything: list[Answered] = []
    rungs = []
    for asked_in, answered_in in zip(prompts, answers, strict=True):
        asked = read_jsonl(store.path(asked_in) / "asked.jsonl", Asked)
        outputs = [tokenizer.decode(tokens.tolist()) for tokens in read_answers(store.path(answered_in))]
        scored = [
            _score(item, by_question[item.question_id], output, by_id)
            for item, output in zip(asked, outputs, strict=True)
        ]
        everything += [answered for answered, _ in scored]
        rungs.append(summarize(asked[0].rung, [score for _, score in scored], seed=evaluation.seed))
    table = rung_table(rungs)
    inputs = (questions, chunks, base, *prompts, *answers)
    with store.build("evaluation", settings=evaluation, inputs=inputs) as build:
        write_jsonl(build.folder / "answers.jsonl", everything)
        _write(build.folder / "summary.json", json.dumps(rungs, indent=1, sort_keys=True))
        examples = _examples(everything)
        _write(build.folder / "summary.md", f"{table}\n```text\n{examples}\n```")
        _write(build.folder / "summary.txt", f"{table}\n{examples}")
        build.count(rungs=len(rungs), questions=rungs[0]["questions"])
    return build.artifact


@stage(name="score-rung", version=1)
def score_rung(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    base: Artifact,
    prompts: Artifact,
    answers: Artifact,
    evaluation: EvaluationSettings,
) -> Artifact:
    """Score the answers of one model on one rung: answers.jsonl and summary.json, as `score_answers` writes them."""
    by_id = {chunk.id: chunk for chunk in open_chunks(store, chunks)}
    by_question = {question.id: question for question in open_questions(store, questions, "eval")}
    tokenizer = open_tokenizer(store, base)
    asked = read_jsonl(store.path(prompts) / "asked.jsonl", Asked)
    outputs = [tokenizer.decode(tokens.tolist()) for tokens in read_answers(store.path(answers))]
    scored = [
        _score(item, by_question[item.question_id], output, by_id) for item, output in zip(asked, outputs, strict=True)
    ]
    with store.build("evaluation", settings=evaluation, inputs=(questions, chunks, base, prompts, answers)) as build:
        write_jsonl(build.folder / "answers.jsonl", [answered for answered, _ in scored])
        rung = summarize(asked[0].rung, [score for _, score in scored], seed=evaluation.seed)
        _write(build.folder / "summary.json", json.dumps([rung], indent=1, sort_keys=True))
        build.count(rungs=1, questions=rung["questions"])
    return build.artifact


def _score(asked: Asked, question: Question, output: str, by_id: dict[str, Chunk]) -> tuple[Answered, AnswerScore]:
    parsed = parse_output(output)
    shown = [by_id[place] for place in asked.context_ids]
    score = score_answer(question, parsed, shown, [by_id[place] for place in question.oracle_ids])
    answered = Answered(
        rung=asked.rung,
        question_id=question.id,
        question=question.question,
        expected=question.answer,
        output=output,
        answer=parsed.answer,
        quotes=parsed.quotes,
        context_ids=asked.context_ids,
        context_places=tuple(chunk.place for chunk in shown),
        oracle_ids=question.oracle_ids,
        exact_match=score.exact_match,
        token_f1=score.token_f1,
        verbatim_quotes=score.verbatim_quotes,
        cites_oracle=score.cites_oracle,
    )
    return answered, score


def _examples(answers: Sequence[Answered]) -> str:
    """A question that the last rung answers right and one that it does not, as every rung answers them.

    Not the best and the worst: of each kind the one where it gained the median over the rung before.
    """
    by_question: dict[str, list[Answered]] = {}
    for answered in answers:
        by_question.setdefault(answered.question_id, []).append(answered)
    lines = []
    for right, how in ((True, "right"), (False, "not right")):
        kind = [rungs for rungs in by_question.values() if (rungs[-1].exact_match == 1) == right]
        kind.sort(key=lambda rungs: rungs[-1].token_f1 - rungs[-2].token_f1)
        if kind:
            lines += [f"one of {len(kind)} questions that {kind[0][-1].rung} answers {how}", ""]
            lines += [*_told(kind[len(kind) // 2]), ""]
    return "\n".join(lines).rstrip()


def _told(rungs: Sequence[Answered]) -> list[str]:
    lines = [f"question   {rungs[0].question}", f"expected   {rungs[0].expected}"]
    for answered in rungs:
        lines += ["", f"{answered.rung}:", *(f"    {line}" for line in answered.output.strip().splitlines())]
    return lines


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")
