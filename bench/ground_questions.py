"""Grounding alone, of this tree against an earlier commit: 1,000 documents with a question each.

    .venv/bin/python -m bench.ground_questions 350af9a [--documents 1000] [--rounds 1]

Both trees ground the same made-up questions, in turns and each in a process of its own:
answers that stand in their document; yes, no and maybe; and answers in other words. The chunks are cut before the
clock starts, and texts are embedded with the embedded model, as in a build whose vectors are not kept. A tree that has
`grounding.evidence` grounds the last two with "supported". A figure is the seconds of the commit over those of this
tree: above 1, this tree is faster.
"""

import argparse

from bench.machine import describe_machine
from bench.trees import in_turns, print_figures

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
taken = time.monotonic() - begun
print(f"{kind}: {len(questions)} of {number} questions kept", file=sys.stderr)
print(json.dumps({f"grounding_{kind}": [taken]}))
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    print(describe_machine("sentence-transformers", "torch"), flush=True)
    for kind in KINDS:
        print_figures(in_turns(given.commit, given.rounds, _WORK, (kind, str(given.documents))))


if __name__ == "__main__":
    main()
