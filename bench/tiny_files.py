"""Datasets of many tiny files: this tree against an earlier commit.

    .venv/bin/python -m bench.tiny_files 350af9a [--rounds 1] [--quick]

3,000 files of three sentences and 300 questions to a dataset: all stages, vectors included; without Prefect's server,
and without the import of base model and embedder, which are done once. The figure is the time of the commit over that
of this tree: above 1, this tree is faster.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

from bench.machine import describe_machine
from bench.trees import in_turns, print_figures

_WORK = """
import json, sys, tempfile, time
from flows.pipeline.stages import Pipeline
from flows.settings.config import load_config
from tasks.store.store import Store

ONCE = ("snapshot-base", "import-base", "snapshot-embedder")

seconds = {}

def call(stage, *arguments):
    begun = time.monotonic()
    made = stage.fn(*arguments)
    seconds[stage.name] = time.monotonic() - begun
    return made

folder = sys.argv[1]
with tempfile.TemporaryDirectory() as work:
    options = {"corpus": f"{folder}/docs", "questions": f"{folder}/questions.jsonl", "work_dir": work}
    config = load_config(None, options | {"base_model": "embedded"})
    Pipeline(Store(config.work_dir), config, call).dataset()
print({name: round(taken, 1) for name, taken in seconds.items()}, file=sys.stderr)
print(json.dumps({"tiny_files": [sum(taken for name, taken in seconds.items() if name not in ONCE)]}))
"""
_STARTS = ("Nord", "Sund", "Ost", "West", "Ober", "Unter", "Alt", "Neu", "Hoch", "Klein")
_ENDS = ("berg", "tal", "feld", "bach", "dorf", "hausen", "stadt", "wald", "see", "furt")
_BUILDINGS = ("harbour", "mill", "station", "museum", "library", "bridge", "tower", "market", "school", "garden")
_FIRST = ("Anna", "Erik", "Doris", "Helga", "Lars", "Matilda", "Olaf", "Petra", "Ragna", "Sven")


def write_tiny_files(folder: Path, documents: int, questions: int) -> None:
    """Files of three sentences, and questions about some."""
    draw = random.Random(0)
    rows = []
    for number in range(documents):
        place = f"{draw.choice(_STARTS)}{draw.choice(_ENDS)} {number}"
        what, keeper = draw.choice(_BUILDINGS), _person(draw)
        text = (
            f"# The {what} of {place}\n\nThe {what} of {place} was built in {draw.randint(1700, 2000)}. It is kept by "
            f"{keeper}. A visit costs {draw.randint(1, 99)} crowns.\n"
        )
        _write(folder / "docs" / f"{number:05}.md", text)
        rows.append({"question": f"Who keeps the {what} of {place}?", "answer": keeper, "document": f"{number:05}.md"})
    _write(folder / "questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:questions]))


def _person(draw: random.Random) -> str:
    return f"{draw.choice(_FIRST)} {draw.choice(_STARTS)}{draw.choice(_ENDS)}er"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the stages' seconds of each process, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files")
    given = parser.parse_args()
    share = 10 if given.quick else 1
    print(describe_machine("torch", "sentence-transformers", "faiss-cpu"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-tiny-") as scratch:
        write_tiny_files(Path(scratch), 3000 // share, 300 // share)
        print_figures(in_turns(given.commit, given.rounds, _WORK, (scratch,)))


if __name__ == "__main__":
    main()
