"""Changes of the champion by a person: rollback (also a deployed flow) and promotion by name."""

from collections.abc import Callable

from prefect import flow
from prefect.logging import get_run_logger

from flows.pipeline.promotion import Happened, announce
from tasks.records.models import Registry, Reign
from tasks.records.records import in_use
from tasks.store.store import Store


@flow(name="rollback", flow_run_name="rollback in {work_dir}")
def rollback(work_dir: str = ".jora", model: str | None = None, reason: str = "by a deployment") -> str:
    """Restore the previous champion, or an earlier one by name.

    Later runs do not promote the model that was rolled back from; a person can.

    Args:
        work_dir: Directory of results and cache.
        model: Name of an earlier champion or a prefix of it; if omitted, the previous one.
        reason: Reason, kept in the history and sent with the event.
    """
    line = roll_back(work_dir, model, reason)
    get_run_logger().info("%s", line)
    return line


def roll_back(work_dir: str, name: str | None, reason: str) -> str:
    """Restore an earlier champion, the previous one if `name` is None; works without a flow.

    Returns:
        One line about the new champion.

    Raises:
        UserError: there is no such model, or no earlier champion.
    """
    return _appoint(work_dir, "rolled_back", lambda registry, store: registry.roll_back(store, name, reason))


def promote_by_hand(work_dir: str, name: str, reason: str) -> str:
    """Make a registered model the champion regardless of the rule; returns and raises as `roll_back`."""
    return _appoint(work_dir, "promoted", lambda registry, store: registry.appoint(store, name, reason))


def _appoint(work_dir: str, what: Happened, act: Callable[[Registry, Store], Reign]) -> str:
    registry = Registry(work_dir)
    registry.check()  # before the store, which would create its folders in any directory
    store = Store(work_dir)
    before = registry.champion()
    with in_use(store):
        reign = act(registry, store)
    announce(what, registry.find(reign.name), reign.reason, before.name if before else None)
    return f"model {reign.name}: the champion{f' instead of {before.name}' if before else ''} ({reign.reason})"
