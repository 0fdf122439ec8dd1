"""Compares a new model with the standing one and applies the promotion rule."""

from collections.abc import Collection
from dataclasses import asdict

from data.evaluation.champion import (
    Marks,
    PromotionDecision,
    PromotionSettings,
    compare,
    comparison_table,
    decide,
    in_common,
)
from data.files.jsonl import read_jsonl
from data.prompting.prompts import is_abstention
from data.questions.questions import same_wording
from data.scoring.evaluated import Answered
from tasks.engine.cache import stage
from tasks.stages.json_files import read_json, write_json
from tasks.stages.loading import open_questions
from tasks.stages.questions import read_split
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="compare-models", version=1)
def compare_models(
    store: Store,
    questions: Artifact,
    evaluation: Artifact,
    rung: str,
    standing: Artifact,
    standing_rung: str,
    against: str | None,
    trained: Artifact | None,
    promotion: PromotionSettings,
    seed: int,
) -> Artifact:
    """Write comparison.json (differences, decision, reason) and comparison.md (a table).

    Questions that the standing model was trained on are left out: a document keeps its side, but other settings of the
    split, a renamed file or another standing model may have given it another one. If
    fewer than `promotion.min_questions` remain, all questions are compared, which favours the standing model.

    Args:
        questions: of both models.
        trained: questions of the standing model's training; None for a base model.
        evaluation, standing: evaluations of the same questions; `rung` and `standing_rung` are compared.
        against: name of the standing model; None for the base model, which the first model must beat.
    """
    new, old = in_common(marks_of(store, evaluation, rung), marks_of(store, standing, standing_rung))
    seen = _seen(store, questions, trained)
    unseen = in_common((marks for marks in new if marks.question_id not in seen), old)
    note = ""
    if len(unseen[0]) < len(new):
        left_out = len(new) - len(unseen[0])
        if len(unseen[0]) >= promotion.min_questions:
            new, old = unseen
            note = f" ({left_out} that it was trained on left out)"
        else:
            note = f" (which was trained on {left_out} of them)"
    differences = compare(new, old, seed=seed) if new else ()
    name = (against or standing_rung) + note
    decision = decide(differences, len(new), name, promotion, first=against is None)
    content = {
        "against": against,
        "questions": len(new),
        "promoted": decision.promoted,
        "reason": decision.reason,
        "differences": [asdict(difference) for difference in differences],
    }
    inputs = tuple(filter(None, (questions, evaluation, standing, trained)))
    with store.build("comparison", settings={"promotion": promotion}, inputs=inputs) as build:
        write_json(build.folder / "comparison.json", content)
        table = comparison_table(differences, "new", against or standing_rung)
        (build.folder / "comparison.md").write_text(f"{table}\n{decision.reason}\n", encoding="utf-8")
        build.count(questions=len(new))
    return build.artifact


def read_decision(store: Store, comparison: Artifact) -> PromotionDecision:
    """The decision of a comparison."""
    content = read_json(store.path(comparison) / "comparison.json")
    return PromotionDecision(content["promoted"], content["reason"])


def marks_of(store: Store, evaluation: Artifact, rung: str) -> list[Marks]:
    """The scores of each answer of a rung, in the order of the questions."""
    answers = read_jsonl(store.path(evaluation) / "answers.jsonl", Answered)
    return [_marks(answered) for answered in answers if answered.rung == rung]


def _marks(answered: Answered) -> Marks:
    return Marks(
        question_id=answered.question_id,
        token_f1=answered.token_f1,
        exact_match=answered.exact_match,
        quotes=len(answered.quotes),
        verbatim_quotes=answered.verbatim_quotes,
        cites_oracle=answered.cites_oracle,
        abstention_right=is_abstention(answered.answer) == is_abstention(answered.expected),
        answerable=not is_abstention(answered.expected),
    )


def _seen(store: Store, questions: Artifact, trained: Artifact | None) -> Collection[str]:
    """Ids of evaluation questions that training used, or whose document it used unless the split is by question."""
    if trained is None:
        return frozenset()
    used = [question for part in ("train", "validation") for question in open_questions(store, trained, part)]
    by_document = read_split(store, questions)["by"] == "document"
    documents = {question.document_id for question in used if by_document}
    wordings = {same_wording(question.question) for question in used}
    return {
        question.id
        for question in open_questions(store, questions, "eval")
        if question.document_id in documents or same_wording(question.question) in wordings
    }
