"""Find models by name: the base, the last run's, the champion and registered ones, all of one base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.evaluation.ladder import BASE as BASE_RUNG
from data.evaluation.ladder import RUNG_BY_NAME, TUNED, Rung
from data.prompting.prompts import AnyFormat, prompt_format
from jora_model.formats.peft_format import PeftAdapter
from jora_model.formats.peft_names import shown
from jora_model.spec.hf_files import ADAPTER_CONFIG
from tasks.records.models import CHAMPION, Registry, name_of
from tasks.store.artifacts import Artifact, BrokenArtifact
from tasks.store.store import Store
from user_error import UserError

BASE, LATEST = "base", "latest"
# Every loaded adapter is multiplied with every token.
MOST_MODELS = 6


def _is_folder(name: str) -> bool:
    return (Path(name).expanduser() / ADAPTER_CONFIG).is_file()


@dataclass(frozen=True)
class AskedModel:
    """A model that can be asked.

    Attributes:
        name: `base`, or the name of its adapter, under which it is registered.
        adapter: None for the base model.
    """

    name: str
    base: Artifact
    adapter: Artifact | None
    style: AnyFormat

    @property
    def rung(self) -> Rung:
        """The rung of the evaluation whose prompts it gets."""
        return RUNG_BY_NAME[BASE_RUNG if self.adapter is None else TUNED]


@dataclass(frozen=True)
class ModelSelection:
    """Models by name, aliases such as `latest` and `champion`, and the reasons why others were left out."""

    models: dict[str, AskedModel]
    aliases: dict[str, str]
    left_out: dict[str, str]


class ModelFinder:
    """Finds models by the names that a person gives.

    Args:
        artifacts: those of the last run.
        style: the prompt style of the last run.
    """

    def __init__(self, store: Store, registry: Registry, artifacts: Mapping[str, Artifact], style: AnyFormat) -> None:
        self._store = store
        self._registry = registry
        self._artifacts = artifacts
        self._style = style

    def named(self, names: Sequence[str], base_of: str = LATEST) -> ModelSelection:
        """The models of these names.

        Args:
            base_of: the model whose base `base` is.

        Raises:
            UserError: there is no such model, its files are damaged, or two have different bases.
        """
        chosen = ModelSelection({}, {}, {})
        for name in names:
            model = self._base_of(base_of) if name == BASE else self._tuned(name)
            self._verify(model)
            first = next(iter(chosen.models.values()), model)
            if model.base != first.base:
                raise UserError(
                    f"{model.name} and {first.name} were trained on different base models; ask them one at a time"
                )
            self._add(chosen, name, model)
        return chosen

    def everything(self) -> ModelSelection:
        """Models of the last run's base: the base itself, the run's model, the champion, then the newest others.

        Raises:
            UserError: the base model is damaged.
        """
        chosen = self.named([BASE])
        base = chosen.models[BASE].base
        champion = self._registry.champion()
        names = [LATEST] if "adapter" in self._artifacts else []
        names += [CHAMPION] if champion else []
        names += [record.name for record in reversed(self._registry.all())]
        for name in names:
            model = self._tuned(name)
            if model.name not in chosen.models and (problem := self._problem(model, base, len(chosen.models))):
                chosen.left_out[model.name] = problem
            else:
                self._add(chosen, name, model)
        return chosen

    def _problem(self, model: AskedModel, base: Artifact, count: int) -> str:
        if model.base != base:
            return "it was trained on another base model"
        if count >= MOST_MODELS:
            return f"at most {MOST_MODELS} models are loaded by default; to load it: --model {model.name}"
        try:
            self._verify(model)
        except BrokenArtifact as error:
            return str(error)
        if model.adapter is not None and (own := PeftAdapter(self._store.path(model.adapter)).replaced):
            return f"its {shown(own)} cannot be shared with others; to load it alone: --model {model.name}"
        return ""

    def _add(self, chosen: ModelSelection, name: str, model: AskedModel) -> None:
        chosen.models[model.name] = model
        if name != model.name:  # latest, champion, a folder, a prefix of a name
            chosen.aliases[name] = model.name

    def _tuned(self, name: str) -> AskedModel:
        if _is_folder(name):
            return self._foreign(name)
        if name != LATEST:
            record = self._registry.find(name)
            made, style = record.artifacts, prompt_format(record.settings["raft"])
            return AskedModel(record.name, made["base"], made["adapter"], style)
        if "adapter" not in self._artifacts:
            work_dir = self._store.work_dir
            raise UserError(f"the last run in {work_dir} trained no adapter; run: jora train --work-dir {work_dir}")
        adapter = self._artifacts["adapter"]
        return AskedModel(name_of(adapter), self._artifacts["base"], adapter, self._style)

    def _foreign(self, folder: str) -> AskedModel:
        """An unregistered adapter of the last run's base, asked in its prompt style."""
        from tasks.stages.adapters import (
            import_adapter,
            snapshot_adapter,
        )  # imports Prefect

        base = self._artifacts["base"]
        adapter = import_adapter.fn(self._store, base, snapshot_adapter.fn(self._store, folder))
        return AskedModel(name_of(adapter), base, adapter, self._style)

    def _base_of(self, name: str) -> AskedModel:
        if name == LATEST:
            return AskedModel(BASE, self._artifacts["base"], None, self._style)
        tuned = self._tuned(name)
        return AskedModel(BASE, tuned.base, None, tuned.style)

    def _verify(self, model: AskedModel) -> None:
        for artifact in filter(None, (model.base, model.adapter)):
            self._store.verify(artifact)
