"""Tables of `jora models`. Listing does not import Prefect."""

import typer

from data.evaluation.champion import compare, comparison_table, in_common
from data.scoring.scores import METRICS, aligned, percent
from tasks.records.models import CHAMPION, ModelRecord, Registry, Score
from user_error import UserError

_SHOWN = ("token_f1", "quote_precision")


def list_models(work_dir: str) -> None:
    """Print one row per model, the oldest first, then all decisions in order of time.

    Raises:
        UserError: no model is registered there.
    """
    registry = Registry(work_dir)
    registry.check()
    history = registry.history()
    champion = history[-1].name if history else None
    records = registry.all()
    rows = [["", "model", "registered", "run", "questions", *(METRICS[key] for key in _SHOWN)]]
    typer.echo(aligned(rows + [_row(model, champion) for model in records]))
    decisions = [(reign.since, reign.name, f"champion by {reign.by}: {reign.reason}") for reign in history]
    judged = ((model.name, model.decision) for model in records if model.decision is not None)
    decisions += [(said.when, name, f"not promoted: {said.reason}") for name, said in judged if not said.promoted]
    for when, name, what in sorted(decisions, key=lambda decision: decision[0]):
        typer.echo(f"{_time(when)}  {name}  {what}")


def compare_models(work_dir: str, new: str, standing: str) -> None:
    """Print one row per metric for two models, on the questions that both evaluations have.

    Raises:
        UserError: a model does not exist or was not evaluated, or the models share no question.
    """
    from data.evaluation.ladder import TUNED
    from tasks.stages.champion import marks_of
    from tasks.store.store import Store

    registry = Registry(work_dir)
    registry.check()
    models = [registry.find(name) for name in (new, standing)]
    store = Store(work_dir)
    marks = []
    for model in models:
        if "evaluation" not in model.artifacts:
            raise UserError(f"{model.name} was not evaluated; run the full pipeline with its settings: jora run")
        store.verify(model.artifacts["evaluation"])
        marks.append(marks_of(store, model.artifacts["evaluation"], TUNED))
    both = in_common(*marks)
    if not both[0]:
        raise UserError(f"{models[0].name} and {models[1].name} have answered no question in common")
    typer.echo(comparison_table(compare(*both), models[0].name, models[1].name))
    own = " and ".join(f"{len(answered)} of {model.name}" for answered, model in zip(marks, models, strict=True))
    typer.echo(f"{len(both[0])} questions in common ({own}); differences in points with paired 95% intervals")


def _row(model: ModelRecord, champion: str | None) -> list[str]:
    return [
        CHAMPION if model.name == champion else "",
        model.name,
        _time(model.created),
        model.run or "-",
        str(model.questions or "-"),
        *(percent(_plain(model.scores.get(key))) for key in _SHOWN),
    ]


def _time(written: str) -> str:
    """A record's time (UTC) for people."""
    return written.replace("T", " ").removesuffix("+00:00")


def _plain(score: Score | None) -> dict[str, float] | None:
    return None if score is None else score.model_dump()
