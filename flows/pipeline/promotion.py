"""The end of a run that exports: register the model and promote it to champion if the rule allows.

A decision has side effects, so it is no cached stage; the stages that it rests on are cached. The champion answers the
new model's questions over the new index, as it would have to from now on; if neither changed, that is cached. A model
is judged once against each champion, and one that was rolled back from is not promoted again.
"""

from typing import Literal

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from data.evaluation.ladder import BASE, TUNED
from data.prompting.prompts import prompt_format
from flows.pipeline.stages import Pipeline
from tasks.records.models import Decision, ModelRecord, Registry, describe_model, now
from tasks.stages.champion import compare_models, read_decision
from tasks.stages.evaluation import build_prompts, generate_answers, score_rung
from tasks.store.artifacts import Artifact
from user_error import UserError

Happened = Literal["promoted", "kept", "rolled_back"]


def promote(pipeline: Pipeline) -> str:
    """Register the exported model and decide whether it becomes the champion.

    Returns:
        The decision and its reason, one line.
    """
    store = pipeline.store
    registry = Registry(store.work_dir)
    context = FlowRunContext.get()
    run = context.flow_run.name if context and context.flow_run else None
    exported = describe_model(store, pipeline.artifacts, pipeline.config.model_dump(mode="json"), run=run)
    record = registry.register(store, exported)
    while True:
        champion = registry.champion()
        decision = _decide(pipeline, registry, record, champion)
        if isinstance(decision, str):
            return f"model {record.name}: {decision}"
        # False: another run or a person changed the champion meanwhile.
        if registry.settle(store, record, decision):
            break
    what: Happened = "promoted" if decision.promoted else "kept"
    announce(what, record, decision.reason, champion.name if champion else None)
    if decision.promoted:
        return f"model {record.name}: the new champion: {decision.reason}"
    stays = f"; the champion is still {champion.name}" if champion else ""
    return f"model {record.name}: not promoted: {decision.reason}{stays}"


def _decide(
    pipeline: Pipeline, registry: Registry, record: ModelRecord, champion: ModelRecord | None
) -> Decision | str:
    """A new decision, or a line that says why there is none to make."""
    if champion and champion.name == record.name:
        return "already the champion"
    if (rollback := registry.dismissed().get(record.name)) is not None:
        return (
            f"not promoted: it was rolled back from ({rollback.reason}); to promote it anyway: "
            f"jora models promote {record.name}"
        )
    last = record.decision
    against = champion.name if champion else None
    if "evaluation" not in pipeline.artifacts:
        return f"already judged: {last.reason}" if last else _kept_back("not evaluated", against)
    try:
        standing = _ask(pipeline, champion) if champion else pipeline.artifacts["evaluation"]
    except UserError as error:  # for example, a file of the champion is missing
        return _kept_back(f"{against} cannot be asked: {error}", against)
    comparison = _compare(pipeline, standing, champion)
    if last is not None and (last.against, last.comparison) == (against, comparison):
        return f"already judged: {last.reason}"
    decided = read_decision(pipeline.store, comparison)
    return Decision(
        promoted=decided.promoted, reason=decided.reason, when=now(), against=against, comparison=comparison
    )


def _kept_back(reason: str, against: str | None) -> Decision:
    return Decision(promoted=False, reason=reason, when=now(), against=against)


def _ask(pipeline: Pipeline, champion: ModelRecord) -> Artifact:
    """The champion's scored answers to the new model's questions.

    Raises:
        UserError: a file of the champion is missing, or a prompt does not fit its base model.
    """
    c, a, store, call = pipeline.config, pipeline.artifacts, pipeline.store, pipeline.call
    kept = champion.artifacts
    for part in ("base", "adapter", "questions"):
        store.verify(kept[part])
    prompts = call(
        build_prompts,
        store,
        c.evaluation.rungs_of("tuned"),  # all of them, as in its own run, whose answers are cached
        a["questions"],
        *pipeline.search,
        kept["base"],
        c.retrieval,
        c.evaluation,
        prompt_format(champion.settings["raft"]),  # what it was trained on
    )
    answers = call(generate_answers, store, kept["base"], kept["adapter"], prompts, c.generation)
    scored: Artifact = call(
        score_rung, store, a["questions"], a["chunks"], kept["base"], TUNED, prompts, answers, c.evaluation
    )
    return scored


def _compare(pipeline: Pipeline, standing: Artifact, champion: ModelRecord | None) -> Artifact:
    """The comparison of the new model with the champion or, without one, with the base model."""
    c, a = pipeline.config, pipeline.artifacts
    a["comparison"] = pipeline.call(
        compare_models,
        pipeline.store,
        a["questions"],
        a["evaluation"],
        TUNED,
        standing,
        TUNED if champion else BASE,
        champion.name if champion else None,
        champion.artifacts["questions"] if champion else None,
        c.promotion,
        c.evaluation.seed,
    )
    comparison: Artifact = a["comparison"]
    return comparison


def announce(what: Happened, record: ModelRecord, reason: str, before: str | None) -> None:
    """Emit the event `jora.model.WHAT`, on which automations can act (deploy/notify.yaml).

    Args:
        before: the previous champion, if there was one.
    """
    # Without a flow or a server nothing listens, and Prefect would start a server for this event.
    if FlowRunContext.get() is None and not PREFECT_API_URL.value():
        return
    emit_event(
        f"jora.model.{what}",
        {"prefect.resource.id": f"jora.model.{record.name}", "prefect.resource.name": record.name},
        payload={
            "model": record.name,
            "base_model": record.base_model,
            "run": record.run,
            "reason": reason,
            "champion_before": before,
            "questions": record.questions,
            "scores": {name: score and score.model_dump() for name, score in record.scores.items()},
        },
    )
