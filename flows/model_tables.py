"""The registered models of a work directory as tables for the terminal. Reading them needs no Prefect."""

import typer

from data.champion import compare, comparison_table, in_common
from data.scoring import COLUMNS, aligned, percent
from tasks.models import CHAMPION, ModelRecord, Registry, Score

_SHOWN = ("token_f1", "quote_precision")


def list_models(work_dir: str) -> None:
    """A row a model, the oldest first, then who was champion when and why.

    Raises:
        ValueError: no model is registered there.
    """
    registry = Registry(work_dir)
    registry.check()
    history = registry.history()
    champion = history[-1].name if history else None
    rows = [["", "model", "registered", "run", "questions", *(COLUMNS[key] for key in _SHOWN), "decision"]]
    rows += [_row(model, champion) for model in registry.all()]
    typer.echo(aligned(rows))
    for reign in history:
        typer.echo(f"{reign.since}  {reign.name} champion by {reign.by}: {reign.reason}")


def compare_models(work_dir: str, new: str, standing: str) -> None:
    """A metric a row, for two models on the questions that both have answered in their own evaluations.

    Raises:
        ValueError: a model is not there or not evaluated, or they have no question in common.
    """
    from tasks.judging import marks_of
    from tasks.models import TUNED
    from tasks.store import Store

    registry = Registry(work_dir)
    registry.check()
    models = [registry.find(name) for name in (new, standing)]
    store = Store(work_dir)
    marks = []
    for model in models:
        if "evaluation" not in model.artifacts:
            raise ValueError(f"{model.name} was not evaluated; run the whole way with its settings: jora run")
        store.verify(model.artifacts["evaluation"])
        marks.append(marks_of(store, model.artifacts["evaluation"], TUNED))
    both = in_common(*marks)
    if not both[0]:
        raise ValueError(f"{models[0].name} and {models[1].name} have answered no question in common")
    typer.echo(comparison_table(compare(*both), models[0].name, models[1].name))
    own = " and ".join(f"{len(answered)} of {model.name}" for answered, model in zip(marks, models, strict=True))
    typer.echo(f"{len(both[0])} questions in common ({own}); the change in points, with its paired 95% interval")


def _row(model: ModelRecord, champion: str | None) -> list[str]:
    decision = model.decision
    told = "" if decision is None else f"{'promoted' if decision.promoted else 'kept back'}: {decision.reason}"
    return [
        CHAMPION if model.name == champion else "",
        model.name,
        model.created.replace("T", " ").removesuffix("+00:00"),
        model.run or "-",
        str(model.questions or "-"),
        *(percent(_plain(model.scores.get(key))) for key in _SHOWN),
        told,
    ]


def _plain(score: Score | None) -> dict[str, float] | None:
    return None if score is None else score.model_dump()
