"""Prompts of generation benchmarks: the questions of a SQuAD file, each with five paragraphs of its article.

Paragraphs are chunks. Shared: all questions of five neighbouring paragraphs get these paragraphs in order. With
`shared=False` each question gets them in a random order, so that no two prompts share a context.
"""

import json
from pathlib import Path

import numpy as np

from data.documents.chunks import Chunk, ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.prompting.prompts import closed_book_prompt, retrieval_prompt
from data.prompting.tokenizer import Tokenizer
from data.raft.sequences import TokenPrompt, encode_prompts

CONTEXT = 5
SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "questions.jsonl"


def squad_prompts(
    squad: Path, tokenizer: Tokenizer, *, shared: bool = True, articles: int | None = None, context: int = CONTEXT
) -> list[TokenPrompt]:
    """Return prompts for all questions of the first `articles` articles, grouped by context."""
    data = json.loads(Path(squad).read_text(encoding="utf-8"))["data"][:articles]
    random = np.random.default_rng(0)
    ids, prompts = [], []
    settings = ChunkSettings(max_tokens=1024, overlap_tokens=0)
    for article in data:
        paragraphs = article["paragraphs"]
        documents = [
            make_document(f"{article['title']} {n}.txt", paragraph["context"], article["title"])
            for n, paragraph in enumerate(paragraphs)
        ]
        by_path: dict[str, list[Chunk]] = {}
        for chunk in chunk_documents(documents, tokenizer.count_tokens, settings):
            by_path.setdefault(chunk.document_path, []).append(chunk)
        chunks = [by_path[document.path][0] for document in documents]
        for start in range(0, len(paragraphs), context):
            first = max(0, min(start, len(paragraphs) - context))
            window = chunks[first : first + context]
            for paragraph in paragraphs[start : start + context]:
                for item in paragraph["qas"]:
                    seen = window if shared else [window[n] for n in random.permutation(len(window))]
                    ids.append(item["id"])
                    prompts.append(retrieval_prompt(seen, item["question"]))
    return encode_prompts(ids, prompts, tokenizer, "chat")


def sample_prompts(tokenizer: Tokenizer, count: int) -> list[TokenPrompt]:
    """Return closed-book prompts for the first `count` questions of the samples."""
    lines = SAMPLES.read_text(encoding="utf-8").splitlines()[:count]
    questions = [json.loads(line)["question"] for line in lines]
    prompts = [closed_book_prompt(question) for question in questions]
    return encode_prompts([f"sample {n}" for n in range(count)], prompts, tokenizer, "chat")
