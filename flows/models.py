"""The champion changed by a person: back to one of before, or to a model by name. Deployed as the flow `rollback`."""

from collections.abc import Callable

from prefect import flow
from prefect.logging import get_run_logger

from flows.pipeline.promotion import Happened, announce
from tasks.records.models import Registry, Reign
from tasks.records.records import in_use
from tasks.store.store import Store


@flow(name="rollback", flow_run_name="rollback in {work_dir}")
def rollback(work_dir: str = ".jora", model: str | None = None, reason: str = "by a deployment") -> str:
    """Make a champion of before the champion again: the one before this one, or the one that is named.

    No run makes the model that was rolled back from champion again; a person can.

    Args:
        work_dir: Where results and the cache live.
        model: The name of a champion of before, or its beginning; left out, the one before this one.
        reason: Why; kept in the history, and told to whoever listens.
    """
    line = roll_back(work_dir, model, reason)
    get_run_logger().info("%s", line)
    return line


def roll_back(work_dir: str, name: str | None, reason: str) -> str:
    """The rollback itself, with or without a flow around it.

    Returns:
        What was done, one line.

    Raises:
        UserError: no such model, or no champion before this one.
    """
    return _appoint(work_dir, "rolled_back", lambda registry, store: registry.roll_back(store, name, reason))


def promote_by_hand(work_dir: str, name: str, reason: str) -> str:
    """Make any registered model the champion, whatever the rule says of it; returns and raises as `roll_back`."""
    return _appoint(work_dir, "promoted", lambda registry, store: registry.appoint(store, name, reason))


def _appoint(work_dir: str, what: Happened, act: Callable[[Registry, Store], Reign]) -> str:
    registry = Registry(work_dir)
    registry.check()  # before the store, which would make its folders wherever it is pointed
    store = Store(work_dir)
    before = registry.champion()
    with in_use(store):
        reign = act(registry, store)
    announce(what, registry.find(reign.name), reign.reason, before.name if before else None)
    return f"model {reign.name}: the champion{f' instead of {before.name}' if before else ''} ({reign.reason})"
