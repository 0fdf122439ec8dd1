"""Datasets of many small documents: this tree against an earlier commit.

    .venv/bin/python -m bench.many_documents 350af9a [--rounds 1] [--quick]

tiny_files        3,000 files of three sentences and 300 questions to a dataset: all stages, vectors included; without
                  Prefect's server and without the import of the base model and the embedder, which are done once
yes_no_grounding  1,000 documents of 24 sentences with a question each that is answered by yes, no or maybe: the stage
                  `ground-questions` alone. By default, as it is in either tree: at 350af9a each question got the
                  nearest sentence as its quote; now one whose answer stands in no sentence is rejected
found_grounding   the same documents with questions whose answers stand in them

A figure is the time of the commit over that of this tree: above 1, this tree is faster.
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

class Done(Exception):
    pass

def stages(folder, questions, work, last=None):
    seconds = {}
    options = {"corpus": f"{folder}/docs", "questions": f"{folder}/{questions}", "work_dir": work}
    config = load_config(None, options | {"base_model": "embedded"})

    def call(stage, *arguments):
        begun = time.monotonic()
        try:
            return stage.fn(*arguments)
        finally:
            seconds[stage.name] = time.monotonic() - begun
            if stage.name == last:
                raise Done

    try:
        Pipeline(Store(config.work_dir), config, call).dataset()
    except Done:
        pass
    print({name: round(taken, 1) for name, taken in seconds.items()}, file=sys.stderr)
    return seconds

with tempfile.TemporaryDirectory() as work:
    tiny = stages(sys.argv[1], "questions.jsonl", work)
found = {"tiny_files": [sum(taken for name, taken in tiny.items() if name not in ONCE)]}
with tempfile.TemporaryDirectory() as work:  # one for both, so that the chunks are embedded once
    for name in ("yes_no", "found"):
        taken = stages(sys.argv[2], f"{name}.jsonl", work, last="ground-questions")["ground-questions"]
        found[f"{name}_grounding"] = [taken]
print(json.dumps(found))
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
    _write(folder / "questions.jsonl", _lines(rows[:questions]))


def write_long_documents(folder: Path, documents: int) -> None:
    """Documents of 24 sentences, and two questions about each: one of yes, no or maybe, one of a name."""
    draw = random.Random(1)
    unsure, found = [], []
    for number in range(documents):
        place = f"{draw.choice(_STARTS)}{draw.choice(_ENDS)} {number}"
        keeper = _person(draw)
        sentences = [
            *(f"In {draw.randint(1700, 2000)} {_person(draw)} came to {place} and stayed there." for _ in range(12)),
            f"The {draw.choice(_BUILDINGS)} of {place} is kept by {keeper}, who lives beside it.",
            *(f"The road to the {draw.choice(_BUILDINGS)} is {draw.randint(2, 90)} miles long." for _ in range(11)),
        ]
        _write(folder / "docs" / f"{number:04}.txt", f"The story of {place}\n\n{' '.join(sentences)}\n")
        document = f"{number:04}.txt"
        asked = f"Did {_person(draw)} live in {place} in winter?"
        unsure.append({"question": asked, "answer": draw.choice(("yes", "no", "maybe")), "document": document})
        found.append({"question": f"Who keeps a building of {place}?", "answer": keeper, "document": document})
    _write(folder / "yes_no.jsonl", _lines(unsure))
    _write(folder / "found.jsonl", _lines(found))


def _person(draw: random.Random) -> str:
    return f"{draw.choice(_FIRST)} {draw.choice(_STARTS)}{draw.choice(_ENDS)}er"


def _lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the stages' seconds of each process, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents")
    given = parser.parse_args()
    share = 10 if given.quick else 1
    print(describe_machine("torch", "sentence-transformers", "faiss-cpu"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-many-") as scratch:
        tiny, long = Path(scratch) / "tiny", Path(scratch) / "long"
        write_tiny_files(tiny, 3000 // share, 300 // share)
        write_long_documents(long, 1000 // share)
        print_figures(in_turns(given.commit, given.rounds, _WORK, (str(tiny), str(long))))


if __name__ == "__main__":
    main()
