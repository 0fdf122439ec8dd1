"""`python -m tasks.stages.teacher_job JOB.json`: ask a teacher's server in a process that outlives a killed run.

When the run is killed, the calls that are on their way are not lost with it: this process begins no other, keeps their
answers and ends. The next run waits for that, and finds them on disk.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from data.documents.chunks import Chunk
from data.endpoint.client import Endpoint, Interrupted, hide_key
from data.endpoint.kept_answers import AnswerBook, Call, call_key
from data.endpoint.settings import EndpointSettings
from data.files.jsonl import read_jsonl
from data.prompting.prompts import Prompt
from data.teacher.plan import PlainCall, plan_calls
from data.teacher.settings import TeacherSettings
from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR, PARENT_FD, report_progress, set_up_log

log = logging.getLogger(__name__)


class TeacherJob(BaseModel):
    """What to ask, and where the answers are kept. The key is in the variable that is named here, never in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunks: str = Field(description="File of chunks, chunks.jsonl.")
    prompts: str | None = Field(default=None, description="File of prompts that are asked when the chunks are done.")
    answers: str = Field(description="Folder of the kept answers.")
    key_variable: str = Field(description="Environment variable with the key; it may be unset.")
    teacher: TeacherSettings

    @property
    def key(self) -> str | None:
        """The key, or None where there is none."""
        return os.environ.get(self.key_variable, "").strip() or None


def ask_teacher(job: TeacherJob, on_start: Callable[[Endpoint], object] = lambda endpoint: None) -> None:
    """Ask whatever is not kept yet.

    Args:
        on_start: gets what can be told to stop.

    Raises:
        UserError: the server refuses or does not answer, or the budget is spent; one line, without the key.
        Interrupted: it was told to stop.
    """
    calls: list[Call] = [*plan_calls(read_jsonl(Path(job.chunks), Chunk), job.teacher)]
    if job.prompts is not None:
        calls += [PlainCall(prompt) for prompt in read_jsonl(Path(job.prompts), Prompt)]
    ask_calls(calls, job.teacher, Path(job.answers), job.key, on_start)


def ask_calls(
    calls: Iterable[Call],
    settings: EndpointSettings,
    answers: Path,
    key: str | None,
    on_start: Callable[[Endpoint], object] = lambda endpoint: None,
) -> None:
    """Ask those of the calls whose answers are not kept yet; the rest as of `ask_teacher`."""
    by_key = {call_key(call, settings): call for call in calls}
    book = AnswerBook(answers)
    if book.busy():
        log.warning("%s: the calls of another run come to their end; waiting for them", settings.WHO)
    with book.held():
        kept = sum(book.get(name) is not None for name in by_key)
        endpoint = Endpoint(settings, book, key)
        on_start(endpoint)
        with tqdm(total=len(by_key), initial=kept, desc=settings.WHO, unit="call", file=sys.stderr) as bar:

            def progress(answered: int, spent: str) -> None:
                bar.set_postfix_str(spent, refresh=False)
                bar.update(answered - bar.n)
                report_progress(answered, len(by_key))

            asyncio.run(endpoint.ask(by_key, progress))


def run_asking(ask: Callable[[Callable[[Endpoint], object]], None], key: str | None) -> None:
    """Do a job; a ValueError is a last line `error: ...` and exit code 2, and nothing that is said holds the key.

    Args:
        ask: asks, and hands on what can be told to stop.
    """

    def on_start(endpoint: Endpoint) -> None:
        def stop(*_: object) -> None:
            log.warning("stopping; the calls on their way come to their end first")
            endpoint.stop()

        signal.signal(signal.SIGTERM, stop)
        _when_parent_ends(endpoint.stop)

    try:
        ask(on_start)
    except ValueError as error:
        sys.stderr.write(f"\nerror: {hide_key(' '.join(str(error).split()), key)}\n")
        sys.exit(EXIT_INPUT_ERROR)
    except Interrupted:
        sys.exit(EXIT_AGAIN)
    except Exception:
        sys.stderr.write(hide_key(traceback.format_exc(), key))
        sys.exit(1)


def _when_parent_ends(act: Callable[[], object]) -> None:
    """Act when the parent closes its end of the pipe, which the kernel does for one that is killed."""
    value = os.environ.pop(PARENT_FD, None)
    if value is None:
        return

    def wait_for_end() -> None:
        os.read(int(value), 1)  # nothing is ever written
        # Nobody reads what is said from here on, and a broken pipe must not end this.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        act()

    threading.Thread(target=wait_for_end, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    set_up_log("data")
    described = TeacherJob.model_validate_json(Path(sys.argv[1]).read_bytes())
    run_asking(partial(ask_teacher, described), described.key)
