"""Workloads from a SQuAD file: RAFT sequences of its training articles, and its sentences.

Each paragraph is a chunk. Contexts have 5 paragraphs, a fifth of the examples lack their oracle, the seed is 0. With
`shared=False` every question gets its context in a random order, so that no two examples share a prefix.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.prompting.tokenizer import load_tokenizer
from data.questions.grounding import ground_questions
from data.questions.questions import QuestionSettings, RawQuestion
from data.raft.alpaca import to_records
from data.raft.examples import build_examples
from data.raft.sequences import TokenSequence, encode_records
from data.raft.settings import RaftSettings
from data.retrieval.embeddings import Embedder, resolve_embedder
from data.retrieval.index import ChunkIndex
from data.text.sentences import sentence_spans

# Every fourth article is held out for evaluation.
EVALUATION_SHARE = 4


def squad_sentences(squad: Path) -> list[str]:
    """Return all sentences of the paragraphs of a SQuAD file."""
    articles = json.loads(squad.read_text(encoding="utf-8"))["data"]
    contexts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    return [text[start:end] for text in contexts for start, end in sentence_spans(text)]


def squad_sequences(squad: Path, base: Path, *, shared: bool = True) -> list[TokenSequence]:
    """Return the sequences of all training questions, grouped by context.

    Args:
        base: folder of the base model, for its tokenizer.
    """
    articles = json.loads(Path(squad).read_text(encoding="utf-8"))["data"]
    chosen = [article for n, article in enumerate(articles) if n % EVALUATION_SHARE]
    documents, questions = [], []
    for article in chosen:
        for number, paragraph in enumerate(article["paragraphs"]):
            name = f"{article['title']} {number}.txt"
            documents.append(make_document(name, paragraph["context"], article["title"]))
            questions += [
                RawQuestion(item["question"], item["answers"][0]["text"], document=name) for item in paragraph["qas"]
            ]
    tokenizer = load_tokenizer(base)
    chunks = chunk_documents(documents, tokenizer.count_tokens, ChunkSettings(max_tokens=1024, overlap_tokens=0))
    embedder = Embedder(resolve_embedder("embedded"))
    vectors = embedder.embed([chunk.search_text for chunk in chunks])
    index = ChunkIndex.build(vectors, [chunk.id for chunk in chunks], embedder.digest)
    grounded, _ = ground_questions(
        questions,
        documents,
        chunks,
        QuestionSettings(),
        embedder.embed,
        lambda texts, k: index.search(embedder.embed(texts), k)[1],
    )
    raft = RaftSettings(context_chunks=5, oracle_fraction=0.8, seed=0, max_tokens=2048)
    examples = build_examples(grounded, chunks, vectors, raft, tokenizer).examples
    if not shared:
        random = np.random.default_rng(0)
        examples = [
            replace(example, context_ids=tuple(random.permutation(example.context_ids).tolist()))
            for example in examples
        ]
    return encode_records(to_records(examples, chunks), tokenizer, raft.prompt_format)
