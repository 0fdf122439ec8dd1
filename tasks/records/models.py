"""The model registry of a work directory: every export with its scores, the champion and its predecessors.

    WORK_DIR/models/NAME/model.json       a ModelRecord; NAME is a prefix of the adapter's digest
    WORK_DIR/models/NAME/adapter, merged  links to its export
    WORK_DIR/models/history.json          all champions with time and reason; the last one is the current
    WORK_DIR/models/champion -> NAME
    WORK_DIR/champion -> models/champion  so that a server can always read WORK_DIR/champion/merged

All writes are by rename and under one lock. The history is authoritative: if a process dies between writing it and the
link, the next writer corrects the link. No Prefect here.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from data.evaluation.ladder import TUNED
from data.files.whole_files import write_whole
from data.scoring.scores import METRICS
from tasks.store.artifacts import Artifact, BrokenArtifact
from tasks.store.links import point
from tasks.store.locks import flocked
from tasks.store.store import Store
from user_error import UserError

MODELS, CHAMPION = "models", "champion"
# The artifacts of its run that a registered model refers to.
KEPT = ("base", "adapter", "dataset", "questions", "evaluation", "export")
# Number of earlier champions whose files are kept for a rollback.
KEPT_CHAMPIONS = 3
_NAME_DIGITS = 12
# A name becomes a path, so nothing but digits of a digest is one.
Name = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{_NAME_DIGITS}}}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Record):
    """A score of 0 to 1 (or a number of tokens) with its 95% interval."""

    value: float
    low: float
    high: float


class Decision(_Record):
    """What the promotion rule decided about a model.

    Attributes:
        against: the champion that it was compared with; None for the base model.
        comparison: the artifact of the differences; None if nothing was compared.
    """

    promoted: bool
    reason: str
    when: str
    against: str | None = None
    comparison: Artifact | None = None


class ModelRecord(_Record):
    """One registered model.

    Attributes:
        run: the name of the flow run that exported it first.
        base_model: as given by a person.
        artifacts: those of `KEPT` that exist.
        settings: those of its run.
        questions: number of scored questions; 0 if it was not evaluated.
        scores: of the tuned model with retrieval, by the keys of `METRICS`; None if a metric does not apply.
    """

    format: Literal[1] = 1
    name: Name
    created: str
    run: str | None
    base_model: str
    artifacts: dict[str, Artifact]
    settings: dict[str, Any]
    questions: int = 0
    scores: dict[str, Score | None] = {}
    decision: Decision | None = None


class Reign(_Record):
    """A champion, and how it became one: by a run's rule, by hand, or by a rollback."""

    name: Name
    since: str
    by: Literal["run", "hand", "rollback"]
    reason: str


_HISTORY = TypeAdapter(tuple[Reign, ...])


def now() -> str:
    """The current time in the format of records: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Registry:
    """The models of a work directory. Reading creates no folder."""

    def __init__(self, work_dir: Path | str) -> None:
        self.work_dir = Path(work_dir).expanduser().absolute()
        self.folder = self.work_dir / MODELS

    def check(self) -> None:
        """Raises UserError if no model is registered."""
        if not any(self.folder.glob("*/model.json")):
            raise UserError(f"no model in {self.work_dir}; make one with: jora run --work-dir {self.work_dir}")

    def all(self) -> list[ModelRecord]:
        """Every registered model, in the order of their first registration."""
        paths = sorted(self.folder.glob("*/model.json"))
        records = [self._read(path) for path in paths if not path.parent.is_symlink()]
        return sorted(records, key=lambda record: (record.created, record.name))

    def history(self) -> tuple[Reign, ...]:
        """All champions, oldest first; the last one is the current.

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / "history.json"
        try:
            return _HISTORY.validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except ValidationError:
            raise UserError(f"{path} is damaged; restore a copy of it, or delete it to start again") from None

    def champion(self) -> ModelRecord | None:
        """The current champion, if there is one."""
        history = self.history()
        return self._read(self._file(history[-1].name)) if history else None

    def find(self, name: str) -> ModelRecord:
        """The model of a name, of a prefix of one, or of `champion`.

        Raises:
            UserError: there is none, or several match.
        """
        self.check()
        models = self.all()
        if name == CHAMPION:
            champion = self.champion()
            if champion is None:
                raise UserError(
                    f"no champion in {self.work_dir} yet; make one with: jora models promote NAME; names: "
                    + ", ".join(model.name for model in models)
                )
            return champion
        matches = [model for model in models if name and model.name.startswith(name)]
        if len(matches) != 1:
            what = f"{len(matches)} models begin with" if matches else "there is no model"
            raise UserError(f"{what} {name!r}; known are {', '.join(model.name for model in matches or models)}")
        return matches[0]

    def dismissed(self) -> dict[str, Reign]:
        """Models that were rolled back from, with the rollback; no run promotes them again."""
        dismissed: dict[str, Reign] = {}
        before: Reign | None = None
        for reign in self.history():
            if reign.by == "rollback" and before is not None:
                dismissed[before.name] = reign
            dismissed.pop(reign.name, None)
            before = reign
        return dismissed

    def is_settled(self, adapter: Artifact) -> bool:
        """Whether a model needs no decision: it is the champion, was judged against it, or was rolled back from."""
        name, history = name_of(adapter), self.history()
        champion = history[-1].name if history else None
        if name == champion or name in self.dismissed():
            return True
        path = self._file(name)
        decision = self._read(path).decision if path.exists() else None
        return decision is not None and decision.against == champion

    def register(self, store: Store, record: ModelRecord) -> ModelRecord:
        """Add a model or update its record: the same adapter of the same base is the same model.

        An evaluated model keeps its scores and export if it is exported again without an evaluation.

        Returns:
            The stored record.
        """
        with self._writing(store):
            path = self._file(record.name)
            if path.exists():
                known = self._read(path)
                same = {"created": known.created, "run": known.run, "decision": known.decision}
                evaluated = "evaluation" in record.artifacts or "evaluation" not in known.artifacts
                record = record.model_copy(update=same) if evaluated else known
            path.parent.mkdir(exist_ok=True)
            export = store.path(record.artifacts["export"])
            for part in ("adapter", "merged"):
                link = path.parent / part
                if (export / part).is_dir():
                    point(link, export / part)
                else:
                    link.unlink(missing_ok=True)
            self._write(record)
        return record

    def settle(self, store: Store, record: ModelRecord, decision: Decision) -> bool:
        """Store a decision about a model and, if it is positive, make it the champion.

        Returns:
            False, without any change, if the champion is no longer the one that it was compared with.
        """
        with self._writing(store):
            history = self.history()
            if (history[-1].name if history else None) != decision.against:
                return False
            self._write(record.model_copy(update={"decision": decision}))
            if decision.promoted:
                reign = Reign(name=record.name, since=decision.when, by="run", reason=decision.reason)
                self._appoint((*history, reign))
        return True

    def appoint(self, store: Store, name: str, reason: str) -> Reign:
        """Make a model the champion by hand.

        Raises:
            UserError: there is no such model, it already is the champion, or its files are missing.
        """
        with self._writing(store):
            return self._by_hand(store, self.find(name), reason, "hand")

    def roll_back(self, store: Store, name: str | None, reason: str) -> Reign:
        """Restore an earlier champion: of that name, or the previous one.

        The previous one is the one that the current champion replaced, so a second rollback goes further back.

        Raises:
            UserError: there is none, or its files are missing.
        """
        with self._writing(store):
            history = self.history()
            if name is None:
                line = _line(history)
                if len(line) < 2:
                    raise UserError(f"no previous champion in {self.work_dir}; choose one: jora models promote NAME")
                name = line[-2]
            record = self.find(name)
            if record.name not in {reign.name for reign in history}:
                raise UserError(f"{record.name} was never champion; to promote it: jora models promote {record.name}")
            return self._by_hand(store, record, reason, "rollback")

    def _by_hand(self, store: Store, record: ModelRecord, reason: str, by: Literal["hand", "rollback"]) -> Reign:
        history = self.history()
        if history and history[-1].name == record.name:
            raise UserError(f"{record.name} is already the champion")
        for part in ("base", "adapter", "export"):
            try:
                store.verify(record.artifacts[part])
            except BrokenArtifact as error:
                raise UserError(f"{record.name} cannot become champion: {error}") from None
        reign = Reign(name=record.name, since=now(), by=by, reason=reason)
        self._appoint((*history, reign))
        return reign

    @contextmanager
    def _writing(self, store: Store) -> Iterator[None]:
        assert store.work_dir == self.work_dir
        self.folder.mkdir(exist_ok=True)
        with flocked(store.locks / "models.lock"):
            self._link(self.history())
            yield

    def _appoint(self, history: Sequence[Reign]) -> None:
        content = [reign.model_dump(mode="json") for reign in history]
        write_whole(self.folder / "history.json", json.dumps(content, indent=1, sort_keys=True) + "\n", durable=True)
        self._link(history)

    def _link(self, history: Sequence[Reign]) -> None:
        if history:
            point(self.folder / CHAMPION, self.folder / history[-1].name)
            point(self.work_dir / CHAMPION, self.folder / CHAMPION)

    def _file(self, name: str) -> Path:
        return self.folder / name / "model.json"

    def _write(self, record: ModelRecord) -> None:
        text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
        write_whole(self._file(record.name), text + "\n", durable=True)

    def _read(self, path: Path) -> ModelRecord:
        try:
            record = ModelRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UserError(f"{path} is damaged ({type(error).__name__}); remove its folder and run again") from None
        if record.name != path.parent.name:
            raise UserError(f"{path} is damaged (it is the record of {record.name}); remove its folder and run again")
        return record


def describe_model(
    store: Store, artifacts: dict[str, Artifact], settings: dict[str, Any], *, run: str | None
) -> ModelRecord:
    """The record of a run's export, with the scores of its evaluation if it has one."""
    scores: dict[str, Score | None] = {}
    questions = 0
    if (evaluation := artifacts.get("evaluation")) is not None:
        rungs = json.loads((store.path(evaluation) / "summary.json").read_text(encoding="utf-8"))
        (tuned,) = (rung for rung in rungs if rung["name"] == TUNED)
        questions = tuned["questions"]
        # Evaluations of earlier versions lack newer metrics.
        scores = {key: (score := tuned.get(key)) and Score(**score) for key in METRICS}
    return ModelRecord(
        name=name_of(artifacts["adapter"]),
        created=now(),
        run=run,
        base_model=settings["base_model"],
        artifacts={name: artifacts[name] for name in KEPT if name in artifacts},
        settings=settings,
        questions=questions,
        scores=scores,
    )


def roots(store: Store) -> set[Artifact]:
    """Artifacts that must be kept: those of the champion and the last champions before it, and every evaluation.

    Other registered models keep their records; a run with their settings rebuilds their files.
    """
    registry = Registry(store.work_dir)
    kept = set(_line(registry.history())[-1 - KEPT_CHAMPIONS :])
    artifacts: set[Artifact] = set()
    for record in registry.all():
        names = KEPT if record.name in kept else ("evaluation",)
        artifacts |= {record.artifacts[name] for name in names if name in record.artifacts}
        if record.decision is not None and record.decision.comparison is not None:
            artifacts.add(record.decision.comparison)
    return artifacts


def name_of(adapter: Artifact) -> str:
    """The name under which a model is registered."""
    return adapter.digest[:_NAME_DIGITS]


def _line(history: Sequence[Reign]) -> list[str]:
    """The champion and its predecessors, oldest first: a rollback removes those after its target."""
    line: list[str] = []
    for reign in history:
        if reign.name in line:
            line = line[: line.index(reign.name)]
        line.append(reign.name)
    return line
