"""Settings of a run: one group per stage, read from a YAML file and overridden by the command line."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from data.critic.settings import CriticSettings
from data.documents.chunks import ChunkSettings
from data.documents.documents import DocumentSettings
from data.evaluation.champion import PromotionSettings
from data.evaluation.ladder import EvaluationSettings
from data.questions.question_files import QuestionFileSettings
from data.questions.questions import QuestionSettings
from data.questions.split import SplitSettings
from data.raft.settings import RaftSettings
from data.retrieval.embeddings import EmbeddingSettings
from data.retrieval.index_kinds import IndexSettings
from data.retrieval.retriever import RetrievalSettings
from data.teacher.settings import TeacherSettings
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import AdapterSettings, ExportSettings, GenerationSettings, LoraSettings, MeshSettings
from tasks.store.remote import Remote
from tasks.store.store import Store
from user_error import UserError

SAMPLES = Path("data") / "samples"
# A group of settings may be given as part of the file that it is about: questions.fields for question_file.fields, and
# in YAML a mapping `questions` with the file as its `file`.
_FILE, _FILE_GROUP = "questions", "question_file"
WhenBusy = Literal["wait", "cancel"]
Verify = Literal["quick", "full"]


class RunConfig(BaseModel):
    """All settings of a run. The fields are the flows' parameters, in the order of Prefect's form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # No empty names: Path("") is the current folder, which nobody means.
    corpus: str = Field(
        str(SAMPLES / "documents"),
        min_length=1,
        description="Documents: a folder, a file of rows, a Hugging Face datasets folder or id, or a SQuAD file.",
    )
    questions: str = Field(
        str(SAMPLES / "questions.jsonl"),
        min_length=1,
        description="Questions: JSONL, JSON, Alpaca, SQuAD or Parquet; ignored if a teacher writes them.",
    )
    question_file: QuestionFileSettings = QuestionFileSettings()
    base_model: str = Field(
        "embedded",
        min_length=1,
        description="Hugging Face id, folder of safetensors, .gguf file, or embedded (SmolLM2-135M).",
    )
    work_dir: str = Field(".jora", min_length=1, description="Directory of results and cache.")
    when_busy: WhenBusy = Field(
        "wait",
        description="If another run on this machine trains in this work directory: wait for it, or cancel this run.",
    )
    verify: Verify = Field(
        "quick",
        description="How cached results are verified before use: by file names, sizes and times, and by content where "
        "a time differs (quick); or always by content (full).",
    )
    storage: str | None = Field(
        None,
        min_length=1,
        description="Folder or URL (s3://BUCKET/FOLDER) through which machines share results: a stage is fetched from "
        "there if it can be, and uploaded once it is built.",
    )
    documents: DocumentSettings = DocumentSettings()
    chunking: ChunkSettings = ChunkSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    teacher: TeacherSettings = TeacherSettings()
    index: IndexSettings = IndexSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    grounding: QuestionSettings = QuestionSettings()
    critic: CriticSettings = CriticSettings()
    split: SplitSettings = SplitSettings()
    raft: RaftSettings = RaftSettings()
    adapter: AdapterSettings = AdapterSettings()
    lora: LoraSettings = LoraSettings()
    mesh: MeshSettings = MeshSettings()
    training: TrainSettings = TrainSettings()
    generation: GenerationSettings = GenerationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    export: ExportSettings = ExportSettings()
    promotion: PromotionSettings = PromotionSettings()

    @field_validator("storage")
    @classmethod
    def _has_no_secret(cls, storage: str | None) -> str | None:
        # Settings are shown, and stored in the record of every run.
        if storage is not None and re.match(r"[^/]+://[^/@]*:[^/@]*@", storage):
            raise PydanticCustomError(
                "secret",
                "storage contains a password, which would be stored in every record; give the URL without it, and the "
                "password in the environment variables that this kind of storage reads",
            )
        return storage

    @model_validator(mode="after")
    def _numbers_are_finite(self) -> Self:
        """Infinity passes every lower bound, gives no loss, and cannot be part of a cache key."""
        for name, group in self:
            for key, value in group if isinstance(group, BaseModel) else ():
                if isinstance(value, float) and not math.isfinite(value):
                    raise UserError(f"{name}.{key}: give a finite number (given: {value})")
        return self

    def store(self) -> Store:
        """The store of the work directory.

        Raises:
            UserError: it is not writable, or the storage does not respond.
        """
        remote = Remote(self.storage) if self.storage else None
        return Store(self.work_dir, full=self.verify == "full", remote=remote)

    def parameters(self) -> dict[str, Any]:
        """The fields by name, groups as models: the arguments of a flow."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def load_config(path: Path | None, options: Mapping[str, Any], sets: Iterable[str] = ()) -> RunConfig:
    """The checked settings of a YAML file, overridden by options (None: not given) and `group.key=value` pairs.

    Raises:
        UserError: one line for the first error: the key, its value, what is allowed; for an unknown key the
            nearest known one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read_yaml(path)
    values.update({key: value for key, value in options.items() if value is not None})
    for item in sets:
        _apply(values, item)
    return check_config(values)


def check_config(values: Mapping[str, Any]) -> RunConfig:
    """The checked settings of plain values; groups may already be models.

    Raises:
        UserError: as `load_config`.
    """
    plain = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in values.items()}
    if isinstance(questions := plain.get(_FILE), Mapping):
        plain.pop(_FILE)
        group = {**plain.get(_FILE_GROUP, {}), **questions}
        if (file := group.pop("file", None)) is not None:
            plain[_FILE] = file
        plain[_FILE_GROUP] = group
    _check_keys(plain, RunConfig, "")
    try:
        return RunConfig.model_validate(plain)
    except ValidationError as error:
        raise UserError(one_line(error)) from None


def one_line(error: ValidationError) -> str:
    """The first error of a validation, as one line for a person."""
    first = error.errors()[0]
    where = "".join(f"{part}." for part in first["loc"]).removesuffix(".")
    message = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], Mapping) or first["type"] == "secret" else f" (given: {first['input']!r})"
    return f"{where}: {message}{given}" if where else message


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no settings file {path}; give a YAML file to --config") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a YAML file to --config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must be a mapping of settings at the top level, not a {type(content).__name__}")
    return content


def _apply(values: dict[str, Any], item: str) -> None:
    key, sign, text = item.partition("=")
    if not sign:
        raise UserError(f"--set {item}: write it as group.key=value, for example training.epochs=2")
    *groups, last = key.strip().split(".")
    if groups == [_FILE]:
        groups = [_FILE_GROUP]
    node = values
    for group in groups:
        inner = node.get(group)
        # A copy: the caller's mapping must not change.
        node[group] = dict(inner) if isinstance(inner, Mapping) else {}
        node = node[group]
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {item}: the value is not valid YAML") from None


def _check_keys(values: Mapping[str, Any], model: type[BaseModel], prefix: str) -> None:
    known = model.model_fields
    for key, value in values.items():
        if key in getattr(model, "RETIRED", ()):
            continue  # the model says what to set instead
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, cutoff=0.0)
            raise UserError(
                f"unknown setting {prefix}{key}; the nearest is {prefix}{near[0]} "
                f"(known: {', '.join(prefix + name for name in known)})"
            )
        group = _group(known[key].annotation)
        if group is not None:
            if not isinstance(value, Mapping):
                raise UserError(
                    f"setting {prefix}{key} is a group: give it keys, such as {next(iter(group.model_fields))}"
                )
            _check_keys(value, group, f"{prefix}{key}.")


def _group(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
