"""The evaluation ladder on a SQuAD file: RAFT, DSF and the base model on held-out articles.

    .venv/bin/python -m bench.squad_ladder --squad FILE [--quick] [--work-dir DIR]

A paragraph is a chunk, an article a document. The titles, sorted and shuffled with random.Random(0), are split four to
one (XQuAD's 48: 38 and 10); retrieval returns the top 5 of all paragraphs. SmolLM2-135M is trained on the questions of
the training articles with RAFT, and on the same questions without documents (DSF); evaluation uses all questions of the
other articles. Results are kept in the work directory, so that a killed run continues. Quick: 40 updates and 60
questions. The figure paper_order is 1 if RAFT > DSF + retrieval > base + retrieval, with each paired interval above 0.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.evaluation.ladder import BASE, TUNED
from data.files.jsonl import write_jsonl
from data.questions.grounding import ground_questions
from data.questions.question_files import read_questions, squad_documents
from data.questions.questions import Question, QuestionSettings, describe_reasons
from data.scoring.evaluated import Comparison
from flows.pipeline.stages import Pipeline
from flows.settings.config import RunConfig, load_config
from tasks.engine.cache import Stage
from tasks.stages.dataset import build_dataset
from tasks.stages.loading import open_embed, open_retriever
from tasks.stages.retrieval import index_chunks
from tasks.stages.sources import import_base, snapshot_base, snapshot_embedder
from tasks.store.artifacts import Artifact, BrokenArtifact
from tasks.store.store import Store

DSF = "DSF + retrieval"
# One title in this many is held out for evaluation, rounded up.
EVALUATION_SHARE = 5
SETTINGS = (
    "chunking.near_duplicate=null",
    "raft.context_chunks=5",
    "raft.fewest_chunks=2",
    "raft.order=best_first",
    "raft.passes=3",
    "raft.oracle_fraction=1.0",
    "raft.max_tokens=2048",
    "lora.rank=16",
    "lora.alpha=32",
    "lora.target_modules=all-linear",
    "mesh.data=2",
    "training.epochs=1",
    "training.learning_rate=0.0005",
    "training.lora_plus_ratio=8",
    "training.examples_per_update=12",
    "training.row_length=2048",
    "training.rows_per_microbatch=2",
    "generation.max_new_tokens=112",
    "evaluation.dsf=true",
    "evaluation.top_k=5",
    f"evaluation.rungs=[{BASE}, {DSF}, {TUNED}, tuned + oracle]",
)
QUICK = ("training.max_updates=40", "evaluation.max_questions=60", "raft.passes=1", "training.examples_per_update=16")


class SquadPipeline(Pipeline):
    """The pipeline with documents, chunks and split from a SQuAD file; unchanged from the dataset on."""

    def __init__(self, store: Store, config: RunConfig, squad: Path) -> None:
        super().__init__(store, config, self._cached)
        self.squad = squad

    def examples(self, trains: bool = True) -> None:
        c, a, store = self.config, self.artifacts, self.store
        a["base"] = self._run(snapshot_base, c.base_model)
        if a["base"].kind == "gguf":
            a["base"] = self._run(import_base, a["base"])
        a["embedder"] = self._run(snapshot_embedder, c.embedding.embedder)
        documents = squad_documents(self.squad)
        chunks = paragraph_chunks(documents, self.squad)
        with store.build("documents") as build:
            write_jsonl(build.folder / "documents.jsonl", documents)
        a["documents"] = build.artifact
        with store.build("chunks") as build:
            write_jsonl(build.folder / "chunks.jsonl", chunks)
            write_jsonl(build.folder / "duplicates.jsonl", [])
        a["chunks"] = build.artifact
        a["index"] = self._run(index_chunks, a["chunks"], a["embedder"], c.embedding, c.index, c.retrieval.hybrid)
        parts = self._questions(documents, chunks)
        with store.build("questions") as build:
            for part in ("train", "validation", "eval"):
                write_jsonl(build.folder / f"{part}.jsonl", parts.get(part, []))
        a["questions"] = build.artifact
        a["dataset"] = self._run(
            build_dataset, a["questions"], a["chunks"], a["index"], a["embedder"], a["base"], c.raft, 1.0
        )

    def _questions(self, documents: list[Document], chunks: list[Chunk]) -> dict[str, list[Question]]:
        a = self.artifacts
        retriever = open_retriever(self.store, a["chunks"], a["index"], a["embedder"], None, self.config.retrieval)
        grounded, rejected = ground_questions(
            read_questions(self.squad),
            documents,
            chunks,
            QuestionSettings(),
            open_embed(self.store, a["embedder"]),
            retriever.search,
        )
        titles = sorted(document.title for document in documents)
        random.Random(0).shuffle(titles)
        held_out = {*titles[len(titles) - -(-len(titles) // EVALUATION_SHARE) :]}
        ids = {document.id for document in documents if document.title in held_out}
        parts = {
            "train": [question for question in grounded if question.document_id not in ids],
            "eval": [question for question in grounded if question.document_id in ids],
        }
        print(
            f"{len(documents)} articles, {len(chunks)} paragraphs; {len(parts['train'])} questions to train on, "
            f"{len(parts['eval'])} about {len(ids)} other articles; rejected: {describe_reasons(rejected) or 'none'}"
        )
        return parts

    def _cached(self, stage: Stage[Any], store: Store, *args: Any) -> Artifact:
        """Return a stage's artifact, from an earlier run of this benchmark if there is one; without Prefect."""
        if not stage.cache:
            return stage.fn(store, *args)
        record = store.work_dir / "bench" / f"{stage.key(store, *args)}.json"
        try:
            artifact = Artifact.model_validate_json(record.read_bytes())
            store.verify(artifact)
            return artifact
        except (OSError, ValueError, BrokenArtifact):
            pass
        begun = time.monotonic()
        artifact = stage.fn(store, *args)
        print(f"{stage.name}: {time.monotonic() - begun:.0f} s", flush=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(artifact.model_dump_json())
        return artifact


def paragraph_chunks(documents: list[Document], squad: Path) -> list[Chunk]:
    """Return a chunk for each paragraph, with the title of its article as heading."""
    content = json.loads(squad.read_text(encoding="utf-8"))
    by_title = {document.title: document for document in documents}
    chunks, offset = [], dict.fromkeys(by_title, 0)
    for article in content["data"]:
        document = by_title[article["title"]]
        for paragraph in article["paragraphs"]:
            text = paragraph["context"]
            start = document.text.index(text, offset[document.title])
            end = offset[document.title] = start + len(text)
            start, end = start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
            chunks.append(
                Chunk(
                    f"{document.id}-{start}-{end}",
                    document.id,
                    document.path,
                    start,
                    end,
                    (document.title.replace("_", " "),),
                    document.text[start:end],
                )
            )
    return chunks


def main() -> None:
    parser = argparse.ArgumentParser(description="RAFT, DSF and the base model on a SQuAD file's held-out articles.")
    parser.add_argument("--squad", type=Path, required=True, help="a SQuAD-format file")
    parser.add_argument("--quick", action="store_true", help="40 updates of one pass, 60 questions")
    parser.add_argument("--work-dir", type=Path, default=Path(".jora-squad"), help="results are kept here")
    parser.add_argument("--set", action="append", default=[], metavar="GROUP.KEY=VALUE", help="override a setting")
    args = parser.parse_args()
    print(describe_machine("jax", "numpy", "sentence-transformers"))
    config = load_config(None, {"work_dir": str(args.work_dir)}, (*SETTINGS, *(QUICK if args.quick else ()), *args.set))
    pipeline = SquadPipeline(config.store(), config, args.squad)
    begun = time.monotonic()
    pipeline.evaluation()
    folder = pipeline.store.path(pipeline.artifacts["evaluation"])
    print((folder / "summary.txt").read_text(encoding="utf-8"))
    print(f"{time.monotonic() - begun:.0f} s in this run; {folder}", file=sys.stderr)
    rungs = {rung["name"]: rung for rung in json.loads((folder / "summary.json").read_text(encoding="utf-8"))}
    compared = [Comparison(**item) for item in json.loads((folder / "comparisons.json").read_text(encoding="utf-8"))]
    by_pair = {(item.rung, item.against): item for item in compared if item.metric == "token_f1"}
    figures: dict[str, float] = {"questions": rungs[TUNED]["questions"]}
    for name, label in ((BASE, "base"), (DSF, "dsf"), (TUNED, "raft"), ("tuned + oracle", "raft_oracle")):
        for metric in ("token_f1", "exact_match", "rouge_l"):
            figures[f"{label}_{metric}"] = 100 * rungs[name][metric]["value"]
    figures["recall_at_5"] = 100 * rungs[TUNED]["recall"]["value"]
    for metric in ("quote_precision", "quotes_unaided", "oracle_citation"):
        figures[f"raft_{metric}"] = 100 * (rungs[TUNED][metric] or {"value": 0.0})["value"]
    steps = (("raft_over_base", TUNED, BASE), ("raft_over_dsf", TUNED, DSF), ("dsf_over_base", DSF, BASE))
    for label, above, below in steps:
        step = by_pair[above, below]
        print(
            f"{above} over {below}: {step.difference:+.1f} points of token F1 ({step.low:.1f} to {step.high:.1f}), "
            f"p={step.p:.4f}"
        )
        figures |= {f"{label}_f1_points": step.difference, f"{label}_low": step.low, f"{label}_high": step.high}
    figures["paper_order"] = float(all(by_pair[pair].low > 0 for pair in ((TUNED, DSF), (DSF, BASE))))
    for name, value in figures.items():
        print(f"figure {name} {value:.4g}")


if __name__ == "__main__":
    main()
