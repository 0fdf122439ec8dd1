"""Memory plans for benchmarks, computed in a separate process as `jora plan` does."""

import logging
import tempfile
from pathlib import Path

from jora_model.planning.plan_job import Footprint, PlanAnswer, PlanJob
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings
from tasks.engine.jobs import run_job


def plan_footprint(model: str, lora: LoraSettings, mesh: MeshSettings, training: TrainSettings) -> Footprint:
    """Return the memory of one device; see `jora_model.planning.footprint`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        output = Path(folder) / "answer.json"
        job = PlanJob(model=model, output=str(output), lora=lora, mesh=mesh, training=training)
        path.write_text(job.model_dump_json(), encoding="utf-8")
        run_job("jora_model.planning.plan", path, log=logging.getLogger("bench"))
        answer = PlanAnswer.model_validate_json(output.read_bytes())
    assert answer.footprint is not None
    return answer.footprint
