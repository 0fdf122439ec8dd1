"""Export an existing model, a registered one or the last run's, to a given folder."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import flow
from pydantic import ValidationError

from data.prompting.prompts import prompt_format
from flows.settings.config import one_line
from jora_model.formats.base import base_license, resolve_base
from jora_model.spec.settings import ExportSettings
from tasks.records.models import Registry
from tasks.records.runs import read_latest
from tasks.stages.export import export_model
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError


def chosen(work_dir: str, model: str) -> tuple[str, dict[str, Artifact], dict[str, Any]]:
    """A model's name, artifacts and settings.

    Args:
        model: `latest` (last run), `champion`, or the name of a registered model or a prefix of it.

    Raises:
        UserError: there is no such model.
    """
    if model != "latest":
        record = Registry(work_dir).find(model)
        return record.name, record.artifacts, record.settings
    artifacts, settings = read_latest(Path(work_dir).expanduser())
    if "adapter" not in artifacts:
        raise UserError(f"the last run in {work_dir} trained no adapter; run: jora train --work-dir {work_dir}")
    return model, artifacts, settings


def export_settings(before: Mapping[str, Any], changes: Mapping[str, Any]) -> ExportSettings:
    """The export settings of a run, without fields unknown to this version, with changes applied.

    Raises:
        UserError: a change is not allowed.
    """
    known = {name: value for name, value in before.items() if name in ExportSettings.model_fields}
    try:
        return ExportSettings.model_validate(known | dict(changes))
    except ValidationError as error:
        raise UserError(f"export.{one_line(error)}") from None


@flow(name="export-model", flow_run_name="export {model} in {work_dir}", validate_parameters=False)
def export_again(work_dir: str, model: str, changes: dict[str, Any]) -> Artifact:
    """Export a registered model or the last run's with changed settings of `export`.

    Raises:
        UserError: there is no such model, a setting is not allowed, or files are missing.
    """
    _, artifacts, settings = chosen(work_dir, model)
    export = export_settings(settings["export"], changes)
    licence = None
    with suppress(UserError):  # the base was moved or deleted; the work directory has its weights
        licence = base_license(settings["base_model"], resolve_base(settings["base_model"]))
    return export_model(
        Store(work_dir),
        artifacts["base"],
        artifacts["adapter"],
        artifacts["dataset"],
        artifacts.get("evaluation"),
        settings["base_model"],
        export,
        prompt_format(settings["raft"]),
        licence,
    )
