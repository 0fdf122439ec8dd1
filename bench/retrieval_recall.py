"""Recall of retrieval over records and prose: `python -m bench.retrieval_recall [--squad FILE] [--quick]` (minutes).

Made-up API cards of one "key: value" a line (testing/api_cards.py), longer than a chunk, a file each and ten to a file,
and short ones; with --squad also its paragraphs and questions, without titles. Each question is asked of the embedded
embedder with BM25. A question's chunk is found if one of the first 5 holds its answer where it stands; its document, if
one of the first 5 is of it.
"""

import argparse
import json
import time
from pathlib import Path

from bench.machine import describe_machine
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.prompting.tokenizer import load_tokenizer
from data.retrieval.embeddings import Embedder, resolve_embedder
from data.retrieval.index import ChunkIndex
from data.retrieval.keywords import KeywordIndex
from data.retrieval.retriever import RetrievalSettings, Retriever
from data.retrieval.vectors import VectorStore
from testing.api_cards import api_cards

FIRST = 5
# (question, path of its document, where its answer stands)
Asked = tuple[str, str, tuple[int, int]]


def cards(number: int, *, short: bool, per_file: int) -> tuple[dict[str, str], list[Asked]]:
    """Texts by path and questions of made-up API cards."""
    texts, questions = api_cards(number, short=short, cards_per_file=per_file)
    return texts, [(q.question, q.path, (q.start, q.start + len(q.answer))) for q in questions]


def paragraphs(squad: Path) -> tuple[dict[str, str], list[Asked]]:
    """The paragraphs of a SQuAD file as documents, and its questions."""
    texts: dict[str, str] = {}
    questions: list[Asked] = []
    for article in json.loads(squad.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            path = f"{len(texts)}.txt"
            texts[path] = paragraph["context"]
            for item in paragraph["qas"]:
                start = item["answers"][0]["answer_start"]
                questions.append((item["question"], path, (start, start + len(item["answers"][0]["text"]))))
    return texts, questions


def main() -> None:
    """Print a line for each set and step of retrieval, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, help="SQuAD JSON, the source of the paragraphs")
    parser.add_argument(
        "--base", type=Path, help="folder of a base model, for its tokenizer; default: the embedded one"
    )
    parser.add_argument("--vectors", type=Path, help="folder where vectors are kept for the next run")
    parser.add_argument("--max-tokens", type=int, default=ChunkSettings().max_tokens, help="chunking.max_tokens")
    parser.add_argument("--quick", action="store_true", help="100 cards of each kind")
    options = parser.parse_args()
    print(describe_machine("torch", "transformers", "sentence-transformers"), flush=True)
    number = 100 if options.quick else 300
    sets = {
        "cards": cards(number, short=False, per_file=1),
        "cards_in_files": cards(number, short=False, per_file=10),
        "short_cards": cards(number, short=True, per_file=10),
    }
    if options.squad:
        sets["squad"] = paragraphs(options.squad)
    count_tokens = load_tokenizer(options.base or _embedded_base()).count_tokens
    embedder = Embedder(resolve_embedder("embedded"))
    kept = VectorStore(options.vectors, embedder.fingerprint, embedder.dimension) if options.vectors else None

    def embed(texts):  # type: ignore[no-untyped-def]
        return kept.get(texts, embedder.embed) if kept else embedder.embed(texts)

    for name, (texts, questions) in sets.items():
        documents = [make_document(path, text) for path, text in texts.items()]
        begun = time.monotonic()
        chunks = chunk_documents(documents, count_tokens, ChunkSettings(max_tokens=options.max_tokens))
        seconds = time.monotonic() - begun
        searched = [chunk.search_text for chunk in chunks]
        index = ChunkIndex.build(embed(searched), [chunk.id for chunk in chunks], embedder.digest)
        retriever = Retriever(
            chunks, index, embed, RetrievalSettings(), KeywordIndex.build([chunk.keyword_text for chunk in chunks])
        )
        by_id = {chunk.id: chunk for chunk in chunks}
        print(
            f"{name}: {len(documents)} documents, {len(chunks)} chunks in {seconds:.2f} s, {len(questions)} questions"
        )
        for step, rankings in retriever.rankings([question for question, _, _ in questions], FIRST).items():
            found = {"chunk": 0, "document": 0}
            for ids, (_, path, (start, end)) in zip(rankings, questions, strict=True):
                own = [by_id[one] for one in ids if by_id[one].document_path == path]
                found["document"] += bool(own)
                found["chunk"] += any(chunk.start <= start and end <= chunk.end for chunk in own)
            shares = {what: 100 * count / len(questions) for what, count in found.items()}
            print(
                f"  {step:<10} recall@{FIRST}: chunk {shares['chunk']:5.1f}, document {shares['document']:5.1f}",
                flush=True,
            )
        for what, share in shares.items():
            print(f"figure {name}_{what}_recall_at_{FIRST}_percent {share:.1f}", flush=True)


def _embedded_base() -> Path:
    """A folder with the embedded base model's tokenizer."""
    import tempfile

    from jora_model.formats.base import resolve_base
    from jora_model.formats.gguf_import import import_gguf

    folder = Path(tempfile.mkdtemp(prefix="jora-bench-"))
    import_gguf(resolve_base("embedded"), folder)
    return folder


if __name__ == "__main__":
    main()
