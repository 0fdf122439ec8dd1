"""`python -m tasks.stages.judge_job JOB.json`: ask a judge's server in a process of its own, as teacher_job does."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from data.endpoint.client import Endpoint
from data.evaluation.judge import JudgeCall
from data.evaluation.judge_settings import JudgeSettings
from data.files.jsonl import read_jsonl
from jora_model.runtime.process import set_up_log
from tasks.stages.teacher_job import ask_calls, run_asking


class JudgeJob(BaseModel):
    """What to ask, and where the verdicts are kept. The key is in the named variable, never in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: str = Field(description="File of calls, JSON lines.")
    answers: str = Field(description="Folder of the kept verdicts.")
    key_variable: str = Field(description="Environment variable with the key; it may be unset.")
    judge: JudgeSettings

    @property
    def key(self) -> str | None:
        """The key, or None where there is none."""
        return os.environ.get(self.key_variable, "").strip() or None


def ask_judge(job: JudgeJob, on_start: Callable[[Endpoint], object] = lambda endpoint: None) -> None:
    """Ask whatever is not kept yet; raises as `ask_teacher` does."""
    ask_calls(read_jsonl(Path(job.calls), JudgeCall), job.judge, Path(job.answers), job.key, on_start)


if __name__ == "__main__":
    set_up_log("data")
    described = JudgeJob.model_validate_json(Path(sys.argv[1]).read_bytes())
    run_asking(partial(ask_judge, described), described.key)
