"""Answer one question from the last run of a work directory: retrieve, generate, show the quote and its place."""

import logging
from pathlib import Path

import typer
from pydantic import ValidationError

from data.chunks import Chunk
from data.ladder import BASE, RUNG_BY_NAME, TUNED
from data.prompts import Parsed, parse_output
from data.scoring import stands_in
from data.sequences import encode_prompts
from flows.config import RunConfig, one_line
from tasks.loading import open_chunks, open_embedder, open_retriever, open_tokenizer
from tasks.models import Registry
from tasks.runs import read_latest
from tasks.store import Store


def ask(question: str, work_dir: str, *, tuned: bool, model: str = "latest") -> None:
    """Print the answer, the quote that proves it, and where it stands: document, pages if it has any, headings.

    The documents are those of the last run, whichever model is asked.

    Args:
        model: `latest`, `champion`, or the name of a registered model.

    Raises:
        ValueError: no question; no run has got as far as an adapter in this work directory; a result is damaged.
    """
    if not question.strip():
        raise ValueError('the question is empty; ask something: jora ask "Who keeps the keys?"')
    logging.getLogger("faiss").setLevel(logging.WARNING)
    # Before the store, which would make its folders wherever it is pointed.
    artifacts, settings = read_latest(Path(work_dir).expanduser())
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as error:
        raise ValueError(
            f"the last run in {work_dir} has settings that are not known here ({one_line(error)}); run it again"
        ) from None
    style = config.raft.prompt_style
    if model != "latest":
        chosen = Registry(work_dir).find(model)
        artifacts |= {name: chosen.artifacts[name] for name in ("base", "adapter")}
        style = chosen.settings["raft"]["prompt_style"]
    store = Store(work_dir)
    if tuned and "adapter" not in artifacts:
        raise ValueError(f"the last run in {work_dir} trained no adapter; run: jora train --work-dir {work_dir}")
    for artifact in artifacts.values():
        store.verify(artifact)
    chunks = {chunk.id: chunk for chunk in open_chunks(store, artifacts["chunks"])}
    found = (artifacts["chunks"], artifacts["index"], artifacts["embedder"], artifacts.get("reranker"))
    embed = open_embedder(store, artifacts["embedder"]).embed  # a question that is asked is not kept
    retriever = open_retriever(store, *found, config.retrieval, embed)
    context = [chunks[place] for place in retriever.search([question], config.evaluation.top_k)[0]]
    rung = RUNG_BY_NAME[TUNED if tuned else BASE]
    tokenizer = open_tokenizer(store, artifacts["base"])
    prompt = encode_prompts(["asked"], [rung.prompt(question, context)], tokenizer, style)[0]

    from jora_model.generate import generate
    from jora_model.weights import load_model

    adapter = store.path(artifacts["adapter"]) if tuned else None
    asked = load_model(store.path(artifacts["base"]), adapter=adapter)
    generation = config.generation.model_copy(update={"batch_size": 1})
    tokens = generate(asked, [prompt.tokens], generation, eos_ids=(tokenizer.end_id(style),))[0]
    _show(parse_output(tokenizer.decode(tokens.tolist())), context)


def _show(parsed: Parsed, context: list[Chunk]) -> None:
    typer.echo(parsed.answer)
    for quote in parsed.quotes:
        source = next((chunk for chunk in context if stands_in(quote, [chunk])), None)
        typer.echo(f'\n  "{quote}"')
        if source is None:
            typer.echo("  (not found word for word in the retrieved documents: do not rely on it)")
        else:
            typer.echo(f"  {', '.join(filter(None, (source.place, ' > '.join(source.heading_path))))}")
    if not parsed.quotes:
        typer.echo("\nretrieved: " + ", ".join(sorted({chunk.place for chunk in context})))
