"""Grounding alone, of this tree against an earlier commit: 1,000 documents with a question each.

    .venv/bin/python -m bench.ground_questions 350af9a [--documents 1000]

The commit is checked out beside this tree, and both ground the same made-up questions, each in a process of its own:
answers that stand in their document; yes, no and maybe; and answers in other words. The chunks are cut before the
clock starts, and texts are embedded with the embedded model, as in a build whose vectors are not kept. A tree that has
`grounding.evidence` grounds the last two with "supported". A figure is the seconds of the commit over those of this
tree: above 1, this tree is faster.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.machine import describe_machine

ROOT = Path(__file__).parents[1]
KINDS = ("found", "verdict", "free")
# Runs in either tree, by what both have: no import of this package.
_WORK = """
import json, random, sys, time
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.questions.grounding import ground_questions
from data.questions.questions import QuestionSettings, RawQuestion
from data.retrieval.embeddings import Embedder, resolve_embedder

kind, number = sys.argv[1], int(sys.argv[2])
draw = random.Random(0)
syllable = lambda: draw.choice("bcdfghklmnprst") + draw.choice("aeiou")
words = ["".join(syllable() for _ in range(draw.randint(1, 4))) for _ in range(4000)]
some = lambda count: [draw.choice(words) for _ in range(count)]
documents, raws = [], []
for index in range(number):
    paragraphs = [
        " ".join(" ".join(some(draw.randint(8, 22))).capitalize() + "." for _ in range(draw.randint(3, 6)))
        for _ in range(8)
    ]
    thing, value = " ".join(some(4)), some(5)
    name = f"{draw.choice(words).capitalize()}{index}"
    paragraphs[draw.randrange(8)] += f" The {thing} of {name} is {' '.join(value)} {index}."
    path = f"d{index:04}.md"
    documents.append(make_document(path, f"# About {name}\\n\\n" + "\\n\\n".join(paragraphs)))
    question, answer = {
        "found": (f"What is the {thing} of {name}?", f"{value[3]} {value[4]} {index}"),
        "verdict": (f"Is the {thing} of {name} {value[0]}?", ("yes", "no", "maybe")[index % 3]),
        "free": (f"What is the {thing} of {name}?", f"it is a {value[3]} with {value[1]} and {value[0]}"),
    }[kind]
    raws.append(RawQuestion(question, answer, document=path))
chunks = chunk_documents(documents, lambda texts: [len(text.split()) for text in texts], ChunkSettings(max_tokens=100))
embedder = Embedder(resolve_embedder("embedded"))
embedder.embed(["loads the model"])
new = "evidence" in QuestionSettings.model_fields and kind != "found"
settings = QuestionSettings(evidence="supported") if new else QuestionSettings()
begun = time.monotonic()
questions, _ = ground_questions(raws, documents, chunks, settings, embedder.embed, lambda texts, k: [[]] * len(texts))
print(json.dumps([time.monotonic() - begun, len(questions)]))
"""


def measure(commit: str, documents: int) -> dict[str, dict[str, tuple[float, int]]]:
    """Kind of answer -> "before" and "after" -> seconds, and how many questions were kept."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", str(before), commit], cwd=ROOT, check=True)
        try:
            trees = {"before": before, "after": ROOT}
            return {kind: {name: _run(tree, kind, documents) for name, tree in trees.items()} for kind in KINDS}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=ROOT, check=True)


def _run(tree: Path, kind: str, documents: int) -> tuple[float, int]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _WORK, kind, str(documents)]
    done = subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds, kept = json.loads(done.stdout.splitlines()[-1])
    return seconds, kept


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--documents", type=int, default=1000)
    given = parser.parse_args()
    print(describe_machine("sentence-transformers", "torch"))
    for kind, runs in measure(given.commit, given.documents).items():
        for name, (seconds, kept) in runs.items():
            print(f"{kind}, {name}: {seconds:.2f} s, {kept} of {given.documents} questions kept")
        print(f"figure grounding_{kind}_speed {runs['before'][0] / runs['after'][0]:.2f}")


if __name__ == "__main__":
    main()
