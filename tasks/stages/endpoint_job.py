"""`python -m tasks.stages.endpoint_job JOB.json`: send calls to a server from a process that outlives a killed run.

When the run is killed, its calls in flight are paid: this process starts no new call, keeps the answers of those in
flight and exits. The next run waits for it and reads the answers from disk.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from data.endpoint.client import Endpoint, Interrupted, hide_key
from data.endpoint.kept_answers import AnswerBook, PlainCall, call_key
from data.evaluation.judge_settings import JudgeSettings
from data.teacher.settings import TeacherSettings
from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR, PARENT_FD, report_progress, set_up_log
from user_error import UserError

log = logging.getLogger(__name__)


class EndpointJob(BaseModel):
    """The calls, where their answers are kept, and the server. The key is in a variable, never in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: tuple[PlainCall, ...] = Field(description="What to send; calls whose answers are kept are skipped.")
    answers: str = Field(description="Directory of the kept answers.")
    key_variable: str = Field(description="Environment variable with the key; it may be unset.")
    settings: TeacherSettings | JudgeSettings

    @property
    def key(self) -> str | None:
        """The key, or None if the variable is unset or empty."""
        return os.environ.get(self.key_variable, "").strip() or None


def run_calls(job: EndpointJob, on_start: Callable[[Endpoint], object] = lambda endpoint: None) -> None:
    """Send the calls whose answers are not kept yet, and keep their answers.

    Args:
        on_start: called with the endpoint before the first call, so that it can be stopped.

    Raises:
        UserError: the server refuses or does not answer, or the budget is spent; one line, without the key.
        Interrupted: the endpoint was stopped.
    """
    who = job.settings.WHO
    by_key = {call_key(call, job.settings): call for call in job.calls}
    book = AnswerBook(Path(job.answers))
    if book.busy():
        log.warning("%s: another run has calls in flight; waiting for them", who)
    with book.held():
        kept = sum(book.get(key) is not None for key in by_key)
        endpoint = Endpoint(job.settings, book, job.key)
        on_start(endpoint)
        with tqdm(total=len(by_key), initial=kept, desc=who, unit="call", file=sys.stderr) as bar:

            def progress(answered: int, spent: str) -> None:
                bar.set_postfix_str(spent, refresh=False)
                bar.update(answered - bar.n)
                report_progress(answered, len(by_key))

            asyncio.run(endpoint.ask(by_key, progress))


def main(job: EndpointJob) -> None:
    """Run a job. A UserError becomes a last line `error: ...` and exit code 2; no output holds the key."""

    def on_start(endpoint: Endpoint) -> None:
        def stop(*_: object) -> None:
            log.warning("stopping after the calls in flight")
            endpoint.stop()

        signal.signal(signal.SIGTERM, stop)
        _when_parent_ends(endpoint.stop)

    try:
        run_calls(job, on_start)
    except UserError as error:
        sys.stderr.write(f"\nerror: {hide_key(' '.join(str(error).split()), job.key)}\n")
        sys.exit(EXIT_INPUT_ERROR)
    except Interrupted:
        sys.exit(EXIT_AGAIN)
    except Exception:
        sys.stderr.write(hide_key(traceback.format_exc(), job.key))
        sys.exit(1)


def _when_parent_ends(act: Callable[[], object]) -> None:
    """Call `act` when the parent closes its end of the pipe, which the kernel does for a killed process."""
    value = os.environ.pop(PARENT_FD, None)
    if value is None:
        return

    def wait_for_end() -> None:
        os.read(int(value), 1)  # nothing is ever written
        # Nobody reads stdout and stderr any more, and a broken pipe must not end this process.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        act()

    threading.Thread(target=wait_for_end, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    set_up_log("data")
    main(EndpointJob.model_validate_json(Path(sys.argv[1]).read_bytes()))
