"""A small made-up corpus with vectors, for tests of RAFT examples: documents are clusters in the space."""

from dataclasses import dataclass

import numpy as np

from data.documents.chunks import Chunk
from data.questions.questions import Question

_NAMES = ("Ardel", "Brine", "Corvo", "Dunmar", "Elsk", "Farrow", "Glint", "Hesper")
_THINGS = ("winch", "kiln", "lantern", "ferry", "loom", "orchard", "pump", "quarry")


@dataclass(frozen=True)
class Corpus:
    questions: list[Question]
    chunks: list[Chunk]
    vectors: np.ndarray  # float32 [N, D], normalized


def make_chunk(name: str, text: str, document: str = "doc", headings: tuple[str, ...] = ()) -> Chunk:
    return Chunk(name, document, f"{document}.md", 0, len(text), headings, text)


def make_question(name: str, chunk_ids: tuple[str, ...], answer: str, quotes: tuple[str, ...]) -> Question:
    return Question(name, f"What of {name}?", answer, quotes, "doc", chunk_ids, "given", "given")


def make_corpus(documents: int = 6, chunks: int = 4, questions: int = 2) -> Corpus:
    """`documents` clusters of `chunks` chunks with `questions` questions each; every answer stands in one chunk."""
    rng = np.random.default_rng(11)
    all_chunks: list[Chunk] = []
    all_questions: list[Question] = []
    vectors = []
    for d in range(documents):
        centre = rng.normal(size=32)
        for c in range(chunks):
            name = f"{d}.{c}"
            facts = [
                f"The {_THINGS[d]} of {_NAMES[c]} has {q + 2} gears marked {_NAMES[d]}-{d}{c}{q}."
                for q in range(questions)
            ]
            text = "It is kept with care,\nsummer and winter.\n\n" + " ".join(facts) + " Nobody paints it."
            all_chunks.append(make_chunk(name, text, f"d{d}", (f"The {_THINGS[d]}", f"Part {c}")))
            vectors.append(centre + 0.6 * rng.normal(size=32))
            for q, fact in enumerate(facts):
                all_questions.append(
                    Question(
                        id=f"q{name}.{q}",
                        question=f"Which mark do the {q + 2} gears of {_NAMES[c]}'s {_THINGS[d]} bear?",
                        answer=f"{_NAMES[d]}-{d}{c}{q}",
                        quotes=(fact,),
                        document_id=f"d{d}",
                        oracle_ids=(name,),
                        quote_source="given",
                        tied_by="given",
                    )
                )
    stacked = np.array(vectors, np.float32)
    return Corpus(all_questions, all_chunks, stacked / np.linalg.norm(stacked, axis=1, keepdims=True))
