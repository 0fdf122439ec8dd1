"""Open the last run of a work directory for questions; what ask, serve and ui begin with."""

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
    """What answers, and the settings of the run.

    Args: as of `open_answering`.

    Raises:
        UserError: no run has finished in this work directory, or one of another version; and what `open_answering`
            raises.
    """
    # Before the store, which would make its folders wherever it is pointed.
    artifacts, settings = read_latest(Path(work_dir).expanduser())
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(
            f"the last run in {work_dir} has settings that are not known here ({one_line(error)}); run it again"
        ) from None
    asked = AskSettings(config.retrieval, config.evaluation.top_k, config.raft.prompt_style)
    store = Store(work_dir)
    opened = open_answering(store, artifacts, asked, names, base_of=base_of, slots=slots, float32=float32)
    return opened, config
