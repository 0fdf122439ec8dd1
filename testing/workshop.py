"""The full pipeline in this process over a small corpus that has an example of every fault, for tests of settings."""

import json
import shutil
from pathlib import Path
from typing import Any

from flows.pipeline.stages import Pipeline
from flows.settings.config import RunConfig, load_config
from tasks.engine.cache import Stage
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.small_runs import SMALL, small_sources

# How far the pipeline must go for a stage; the others belong to the examples.
GOALS = {
    "train-adapter": "adapter",
    "build-prompts": "evaluation",
    "generate-answers": "evaluation",
    "score-answers": "evaluation",
    "score-robustness": "evaluation",
    "export-model": "everything",
}


class Workshop:
    """The pipeline over one store: each stage runs once for each of its keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given = small_sources(folder, 3)
        self.store = Store(folder / "work")
        self.kept: dict[str, Artifact] = {}
        _spoil_some(Path(self.given["questions"]))
        _nearly_repeat(Path(self.given["corpus"]))

    def config(self, *sets: str) -> RunConfig:
        return load_config(None, self.given, (*SMALL, *sets))

    def run(self, config: RunConfig, goal: str) -> dict[str, list[Artifact]]:
        """Stage name -> its artifacts."""
        made: dict[str, list[Artifact]] = {}
        self.pipeline(config, made).until(goal)
        return made

    def pipeline(self, config: RunConfig, made: dict[str, list[Artifact]]) -> Pipeline:
        """Return a pipeline that adds each stage's artifacts to `made`."""

        def call(stage: Stage[Any], store: Store, *args: Any) -> Artifact:
            key = stage.key(store, *args) if stage.cache else None
            artifact = self.kept.get(key or "") or stage.fn(store, *args)
            if key:
                self.kept[key] = artifact
                shutil.rmtree(store.scratch / key, ignore_errors=True)
            made.setdefault(stage.name, []).append(artifact)
            return artifact

        return Pipeline(self.store, config, call)

    def files(self, config: RunConfig, place: str) -> list[tuple[str, bytes]]:
        """Return names and contents of the files of a stage; `place` is `stage/pattern`."""
        stage, _, pattern = place.partition("/")
        folders = [self.store.path(artifact) for artifact in self.run(config, GOALS.get(stage, "examples"))[stage]]
        found = [
            (str(path.relative_to(folder)), path.read_bytes())
            for folder in folders
            for path in sorted(folder.glob(pattern))
        ]
        assert found, f"no file {place}"
        return found


def _spoil_some(questions: Path) -> None:
    """Strip document and quote from some questions, and give others one fault each."""
    items = [json.loads(line) for line in questions.read_text().splitlines()]
    for item in items[::2]:
        del item["document"], item["quote"]
    items[1] |= {"answer": "in all likelihood"}
    del items[1]["quote"]
    items[3] |= {"question": f"According to the passage, {items[3]['question']}"}
    items[5] |= {"question": "Warum wurden denn die Karten jede Woche aus dem Kasten geholt?"}
    items[7] |= {"quote": items[7]["quote"].replace("e", "é", 1)}
    items[9] |= {"answer": f"{items[9]['answer']}, {items[9]['answer']}, 777"}
    items[15] |= {"answer": "in all likelihood"}
    items[13] = items[11] | {"question": items[11]["question"].replace("?", ", then?")}
    questions.write_text("".join(json.dumps(item) + "\n" for item in items))


def _nearly_repeat(documents: Path) -> None:
    """Add the beginning of each document again, with a word more in each paragraph; no question is about it."""
    for path in sorted(documents.iterdir()):
        beginning = path.read_text()[:1500].rpartition("\n\n")[0]
        (documents / f"again-{path.name}").write_text(beginning.replace("\n\n", " indeed\n\n") + " indeed\n")
