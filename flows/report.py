"""The report of a run: written at its end, shown in Prefect, and rewritten by `jora report`."""

import logging
import webbrowser
from pathlib import Path
from typing import Any

import typer

from flows.settings.config import RunConfig
from tasks.records.records import RunRecord, find_run
from tasks.records.runs import DOCUMENTS, Results
from tasks.store.store import Store
from tasks.workdir.run_report import publish_report, write_report
from user_error import UserError


def report_run(store: Store, record: RunRecord, results: Results, log: Any) -> None:
    """Write the report of a completed flow, add it to the results, and show it in Prefect."""
    from flows.pages import show_report_in_prefect

    if (page := leave_report(store, record, log)) is None:
        return
    if (documents := page.with_name(DOCUMENTS)).exists():
        results.paths["files"] = documents
    results.paths["report"] = page
    try:
        show_report_in_prefect(store, record)
    except Exception as error:
        log.warning("the report is not shown in Prefect: %s: %s", type(error).__name__, " ".join(str(error).split()))


def leave_report(store: Store, record: RunRecord, log: Any = None) -> Path | None:
    """Write the report of a run that has ended; a failure is logged and does not fail the run.

    Returns:
        The path of the page, latest/report.html if the run built anything; None if it could not be written.
    """
    try:
        page = write_report(store, record, RunConfig().model_dump(mode="json"))
        return page if record.state == "nothing to do" else publish_report(store, page)
    except Exception as error:  # must not fail the run
        line = " ".join(str(error).split())
        (log or logging.getLogger("tasks")).warning(
            "no report on this run was written: %s: %s; try again with: jora report", type(error).__name__, line
        )
        return None


def show_report(work_dir: str, name: str, open_it: bool) -> None:
    """Rewrite a run's report, print its path, and open it in the browser on request.

    Raises:
        UserError: there is no such run, or no browser.
    """
    folder = Path(work_dir).expanduser().absolute()
    record = find_run(folder, name)
    page = write_report(Store(folder), record, RunConfig().model_dump(mode="json"))
    typer.echo(str(page))
    if open_it and not webbrowser.open(page.as_uri()):
        raise UserError(f"no browser was found; open {page} in one")
