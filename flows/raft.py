"""The deployed flows. Their parameters are fields of `RunConfig`, so that Prefect's UI draws the form from them."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

from prefect import State, flow

from flows.run import run, run_name
from flows.settings.config import RunConfig
from flows.settings.used import UNUSED
from tasks.records.runs import Results

# Parameters that are no settings.
_OWN = {"until": "How far the run goes."}


def takes_settings(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the fields of `RunConfig`, except `without`, as keyword parameters of a function of `**settings`.

    Prefect reads types, defaults and order from the signature, and descriptions from the docstring.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        fields = {name: field for name, field in RunConfig.model_fields.items() if name not in without}
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter(name, kind, default=field.default, annotation=field.annotation)
            for name, field in fields.items()
        ]
        own = [each for each in inspect.signature(function).parameters.values() if each.kind is kind]
        descriptions = {name: field.description for name, field in fields.items() if field.description}
        descriptions |= {each.name: _OWN[each.name] for each in own}
        lines = [f"    {name}: {text}" for name, text in descriptions.items()]
        function.__doc__ = "\n".join([f"{inspect.getdoc(function)}\n", "Args:", *lines])
        function.__signature__ = inspect.Signature([*parameters, *own])  # type: ignore[attr-defined]
        return function

    return declare


@flow(name="raft-finetune", flow_run_name=run_name, validate_parameters=False)
@takes_settings()
def raft_finetune(
    *, until: Literal["evaluation", "export", "everything"] = "everything", **settings: Any
) -> "Results | State[Any]":
    """Run the full pipeline: dataset, training, evaluation ladder, PEFT adapter and merged model.

    The exported model is registered, and becomes the champion if the rule of `promotion` allows it.
    """
    return run(until, **settings)


@flow(name="build-dataset", flow_run_name=run_name, validate_parameters=False)
@takes_settings(without=UNUSED["dataset"])
def build_dataset(**settings: Any) -> "Results | State[Any]":
    """Build a RAFT dataset in Alpaca format from documents and questions."""
    return run("dataset", **settings)


@flow(name="train-adapter", flow_run_name=run_name, validate_parameters=False)
@takes_settings(without=UNUSED["adapter"])
def train_adapter(**settings: Any) -> "Results | State[Any]":
    """Run the pipeline up to the trained adapter; stages with cached results are not built again."""
    return run("adapter", **settings)


@flow(name="evaluate-model", flow_run_name=run_name, validate_parameters=False)
@takes_settings(without=UNUSED["evaluation"])
def evaluate_model(**settings: Any) -> "Results | State[Any]":
    """Run the pipeline up to the evaluation ladder; stages with cached results are not built again."""
    return run("evaluation", **settings)
