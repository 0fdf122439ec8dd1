"""Open what answers questions: the documents of the last run with their retriever, and models that share one base.

    asked = opened.ask("Who keeps the keys?", opened.find("champion"))
    number = opened.engine.submit(asked.request(settings))

`jora ask`, `jora serve` and `jora ui` come through here, so that they answer alike. No Prefect here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from data.prompting.prompts import PromptStyle
from data.prompting.tokenizer import Tokenizer
from data.retrieval.retriever import RetrievalSettings, Retriever
from data.scoring.scores import stands_in
from jora_model.generation.guide import Grammars
from jora_model.spec.settings import GenerationSettings
from tasks.answering.asked_models import LATEST, AskedModel, Chosen, ModelFinder
from tasks.records.models import CHAMPION, Registry
from tasks.stages.loading import open_chunks, open_embedder, open_retriever, open_tokenizer
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

if TYPE_CHECKING:
    from jora_model.generation.engine import Engine, Request


@dataclass(frozen=True)
class Asked:
    """A question with what was found for it, as the prompt of a model.

    Attributes:
        context: the chunks of the prompt, best first.
        tokens: int32, the prompt.
        grammars: what its quotes are held to the documents by; None for a model that gives none.
    """

    question: str
    model: AskedModel
    context: tuple[Chunk, ...]
    tokens: np.ndarray
    tokenizer: Tokenizer
    grammars: Grammars | None

    def request(self, settings: GenerationSettings) -> Request:
        """What the engine is asked."""
        from jora_model.generation.engine import Request

        adapter = None if self.model.adapter is None else self.model.name
        guide = None
        if self.grammars is not None and settings.quotes == "verbatim":
            grammar = self.model.rung.grammar(self.context)
            guide = None if grammar is None else self.grammars.guide(grammar)
        return Request(self.tokens, settings, (self.tokenizer.end_id(self.model.style),), adapter, guide=guide)

    def answer(self, stops: Sequence[str] = ()) -> GrowingAnswer:
        """What the tokens that come are fed to."""
        return GrowingAnswer(self.tokenizer.decode, tuned=self.model.adapter is not None, stops=stops)

    def source(self, quote: str) -> Chunk | None:
        """The chunk of the context that a quote stands in, word for word; None: it must not be relied on."""
        return next((chunk for chunk in self.context if stands_in(quote, [chunk])), None)


@dataclass(frozen=True)
class AskSettings:
    """What of a run's settings counts when it is asked."""

    retrieval: RetrievalSettings
    top_k: int
    style: PromptStyle


class Answering:
    """Documents, and models of one base.

    Attributes:
        models: those that can be asked, by name.
        left_out: registered models that cannot be asked here, with the reason.
        engine: for one thread at a time.
    """

    def __init__(
        self,
        registry: Registry,
        chosen: Chosen,
        retriever: Retriever,
        chunks: Mapping[str, Chunk],
        top_k: int,
        tokenizer: Tokenizer,
        engine: Engine,
        grammars: Callable[[PromptStyle], Grammars],
    ) -> None:
        self.models = chosen.models
        self.left_out = chosen.left_out
        self.engine = engine
        self._registry = registry
        self._aliases = chosen.aliases
        self._retriever = retriever
        self._chunks = chunks
        self._top_k = top_k
        self._tokenizer = tokenizer
        self._grammars = cache(grammars)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `find` knows."""
        return (*self._aliases, *self.models)

    def find(self, name: str) -> AskedModel:
        """The model of a name. The champion is whoever it is now, or was at the start where this one is not loaded.

        Raises:
            UserError: there is none of that name here.
        """
        if name == CHAMPION and (champion := self._registry.champion()) is not None and champion.name in self.models:
            return self.models[champion.name]
        found = self.models.get(self._aliases.get(name, name))
        if found is None:
            raise UserError(f"there is no model {name!r} here; there are: {', '.join(self.names)}")
        return found

    def ask(self, question: str, model: AskedModel) -> Asked:
        """Find chunks for a question and write the prompt; for one thread at a time.

        Raises:
            UserError: the question is empty.
        """
        if not question.strip():
            raise UserError('the question is empty; ask something: jora ask "Who keeps the keys?"')
        context = tuple(self._chunks[place] for place in self._retriever.search([question], self._top_k)[0])
        (tokens,) = self._tokenizer.encode_prompts([model.rung.prompt(question, context)], model.style)
        grammars = None if model.adapter is None else self._grammars(model.style)
        return Asked(question, model, context, np.array(tokens, np.int32), self._tokenizer, grammars)


def answer_together(
    engine: Engine, asked: Sequence[Asked], settings: GenerationSettings
) -> Iterator[tuple[int, list[OutputPiece], GrowingAnswer]]:
    """Answer all at once, in this thread: the place of each in `asked`, its new pieces, and the answer so far.

    The engine is idle before and, if this is not left half-way, after.

    Raises:
        UserError: a prompt is too long for the model.
    """
    answers = [one.answer() for one in asked]
    place_of = {engine.submit(one.request(settings)): place for place, one in enumerate(asked)}
    try:
        while not engine.idle:
            for number, token, finished in engine.step():
                if (place := place_of.get(number)) is None:
                    continue
                answer = answers[place]
                pieces = answer.feed(token)
                if finished or answer.done:
                    engine.cancel(number)
                    del place_of[number]
                    pieces += answer.finish()
                yield place, pieces, answer
    finally:
        for number in place_of:
            engine.cancel(number)


def open_answering(
    store: Store,
    artifacts: Mapping[str, Artifact],
    settings: AskSettings,
    names: Sequence[str] | None,
    *,
    base_of: str = LATEST,
    slots: int,
    float32: bool = False,
) -> Answering:
    """Open what a run left, and load the models.

    Args:
        artifacts: of the last run.
        names: as of `ModelFinder.named`; None: `ModelFinder.everything`.
        base_of: whose base `base` is.
        slots: answers that grow at once.
        float32: compute in it: slower, and who is answered beside an answer changes no token of it. In bf16, sums of
            another batch are rounded otherwise, which decides between tokens that are as good as equal.

    Raises:
        UserError: the run did not get as far as is asked for; a model is not there, or of another base than the first;
            a result is damaged.
    """
    logging.getLogger("faiss").setLevel(logging.WARNING)
    registry = Registry(store.work_dir)
    finder = ModelFinder(store, registry, artifacts, settings.style)
    chosen = finder.everything() if names is None else finder.named(names, base_of)
    reranker = artifacts.get("reranker")
    found = (artifacts["chunks"], artifacts["index"], artifacts["embedder"], reranker)
    for artifact in filter(None, found):
        store.verify(artifact)
    embed = open_embedder(store, artifacts["embedder"]).embed  # a question that is asked is not kept
    retriever = open_retriever(store, *found, settings.retrieval, embed)
    chunks = {chunk.id: chunk for chunk in open_chunks(store, artifacts["chunks"])}
    base = next(iter(chosen.models.values())).base
    tokenizer = open_tokenizer(store, base)
    engine = _engine(store, chosen, slots, float32)

    def grammars(style: PromptStyle) -> Grammars:
        return Grammars(store.path(base), engine.vocab_size, (tokenizer.end_id(style),))

    return Answering(registry, chosen, retriever, chunks, settings.top_k, tokenizer, engine, grammars)


def _engine(store: Store, chosen: Chosen, slots: int, float32: bool) -> Engine:
    import jax.numpy as jnp

    from jora_model.generation.engine import Engine, load_adapter
    from jora_model.model.load import load_model
    from jora_model.runtime.compilation import use_compilation_cache

    use_compilation_cache(store.work_dir / "xla")
    dtype = jnp.float32 if float32 else jnp.bfloat16
    base = load_model(store.path(next(iter(chosen.models.values())).base), compute_dtype=dtype)
    adapters = {
        name: load_adapter(store.path(model.adapter), base.config)
        for name, model in chosen.models.items()
        if model.adapter is not None
    }
    return Engine(base, adapters=adapters, slots=slots)
