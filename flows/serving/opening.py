"""Open the last run of a work directory for questions; used by ask, serve and ui."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from flows.settings.config import RunConfig, one_line
from tasks.answering.answering import Answering, AskSettings, open_answering
from tasks.answering.asked_models import LATEST
from tasks.records.runs import read_latest
from tasks.store.store import Store
from user_error import UserError


def open_last_run(
    work_dir: str, names: Sequence[str] | None, *, base_of: str = LATEST, slots: int, float32: bool = False
) -> tuple[Answering, RunConfig]:
    """The opened documents and models of the last run, and its settings.

    Args: as `open_answering`.

    Raises:
        UserError: no run of this version has finished in this work directory; and as `open_answering`.
    """
    # Before the store, which would create its folders in any directory.
    artifacts, settings = read_latest(Path(work_dir).expanduser())
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(
            f"the last run in {work_dir} has settings unknown to this version ({one_line(error)}); run it again"
        ) from None
    ask_settings = AskSettings(config.retrieval, config.evaluation.top_k, config.raft.prompt_format)
    store = Store(work_dir)
    opened = open_answering(store, artifacts, ask_settings, names, base_of=base_of, slots=slots, float32=float32)
    return opened, config
