"""Answer questions: the documents of the last run with their retriever, and models that share one base.

    asked = opened.ask("Who keeps the keys?", opened.find("champion"))
    number = opened.engine.submit(asked.request(settings))

Used by `jora ask`, `jora serve` and `jora ui`, so that they answer alike. No Prefect here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.conversation import Turn
from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from data.prompting.prompts import PromptStyle, rewrite_text, with_system
from data.prompting.tokenizer import Tokenizer
from data.retrieval.retriever import RetrievalSettings, Retriever
from data.scoring.scores import stands_in
from jora_model.generation.guide import Grammars
from jora_model.spec.settings import GenerationSettings
from tasks.answering.asked_models import LATEST, AskedModel, ModelFinder, ModelSelection
from tasks.records.models import CHAMPION, Registry
from tasks.stages.loading import open_chunks, open_embedder, open_retriever, open_tokenizer
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

if TYPE_CHECKING:
    from jora_model.generation.engine import Engine, Request


@dataclass(frozen=True)
class PreparedQuestion:
    """A question with its retrieved context, tokenized as the prompt of a model.

    Attributes:
        context: the retrieved chunks, best first.
        tokens: int32 [T], the prompt.
        grammars: makes the grammars that restrict quotes to the context; None for a model that does not quote.
    """

    question: str
    model: AskedModel
    context: tuple[Chunk, ...]
    tokens: np.ndarray
    tokenizer: Tokenizer
    grammars: Grammars | None

    def request(self, settings: GenerationSettings) -> Request:
        """The engine's request."""
        from jora_model.generation.engine import Request

        adapter = _adapter(self.model)
        guide = None
        if self.grammars is not None and settings.quotes == "verbatim":
            grammar = self.model.rung.grammar(self.context)
            guide = None if grammar is None else self.grammars.guide(grammar)
        return Request(self.tokens, settings, (self.tokenizer.end_id(self.model.style),), adapter, guide=guide)

    def answer(self, stops: Sequence[str] = ()) -> GrowingAnswer:
        """An empty answer, to which the generated tokens are fed."""
        return GrowingAnswer(self.tokenizer.decode, tuned=self.model.adapter is not None, stops=stops)

    def source(self, quote: str) -> Chunk | None:
        """The chunk of the context that contains a quote word for word; None: the quote must not be relied on."""
        return next((chunk for chunk in self.context if stands_in(quote, [chunk])), None)


def _adapter(model: AskedModel) -> str | None:
    """The engine's name of a model."""
    return None if model.adapter is None else model.name


@dataclass(frozen=True)
class PreparedPrompt:
    """A prompt without retrieval, tokenized.

    Attributes:
        tokens: int32 [T].
        adapter: its name in the engine; None for the base model.
    """

    tokens: np.ndarray
    adapter: str | None
    end_ids: tuple[int, ...]

    def request(self, settings: GenerationSettings) -> Request:
        """The engine's request; no grammar holds what is written."""
        from jora_model.generation.engine import Request

        return Request(self.tokens, settings, self.end_ids, self.adapter)


@dataclass(frozen=True)
class AskSettings:
    """The settings of a run that affect answering."""

    retrieval: RetrievalSettings
    top_k: int
    style: PromptStyle


class Answering:
    """Documents, and models of one base.

    Attributes:
        models: loaded models by name.
        left_out: registered models that were not loaded, with the reason.
        engine: may be used by one thread at a time.
    """

    def __init__(
        self,
        registry: Registry,
        chosen: ModelSelection,
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
        """All names that `find` accepts."""
        return (*self._aliases, *self.models)

    def find(self, name: str) -> AskedModel:
        """The model of a name. `champion` is the current champion or, if that is not loaded, the one at the start.

        Raises:
            UserError: no loaded model has that name.
        """
        if name == CHAMPION and (champion := self._registry.champion()) is not None and champion.name in self.models:
            return self.models[champion.name]
        model = self.models.get(self._aliases.get(name, name))
        if model is None:
            raise UserError(f"there is no model {name!r} here; there are: {', '.join(self.names)}")
        return model

    def ask(self, question: str, model: AskedModel, system: str = "") -> PreparedQuestion:
        """Retrieve chunks for a question and tokenize the prompt; for one thread at a time.

        Args:
            system: a message before the task.

        Raises:
            UserError: the question is empty.
        """
        if not question.strip():
            raise UserError('the question is empty; ask something: jora ask "Who keeps the keys?"')
        context = tuple(self._chunks[id_] for id_ in self._retriever.search([question], self._top_k)[0])
        prompt = with_system(model.rung.prompt(question, context), system)
        (tokens,) = self._tokenizer.encode_prompts([prompt], model.style)
        grammars = None if model.adapter is None else self._grammars(model.style)
        return PreparedQuestion(question, model, context, np.array(tokens, np.int32), self._tokenizer, grammars)

    def ask_to_rewrite(self, question: str, turns: Sequence[Turn]) -> PreparedPrompt:
        """The text that the base model continues with a follow-up question that stands alone, and a new line."""
        tokens = self._tokenizer.encode_start(rewrite_text(turns, question))
        return PreparedPrompt(np.array(tokens, np.int32), None, (self._tokenizer.end_id("alpaca"),))

    def complete(self, prompt: str | Sequence[int], model: AskedModel) -> PreparedPrompt:
        """A text or tokens that a model continues. A text is plain: control tokens can only be given as tokens.

        Raises:
            UserError: a token is not one of the model's.
        """
        if isinstance(prompt, str):
            prompt = self._tokenizer.encode_start(prompt)
        elif strange := [token for token in prompt if not 0 <= token < self.engine.vocab_size]:
            most = self.engine.vocab_size - 1
            raise UserError(f"token {strange[0]} is not in the vocabulary; tokens are 0 to {most}")
        ends = {self._tokenizer.end_id(model.style), self._tokenizer.end_id("alpaca")}
        return PreparedPrompt(np.array(prompt, np.int32), _adapter(model), tuple(sorted(ends)))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without control tokens."""
        return self._tokenizer.decode(tokens)


def answer_together(
    engine: Engine, asked: Sequence[PreparedQuestion], settings: GenerationSettings
) -> Iterator[tuple[int, list[OutputPiece], GrowingAnswer]]:
    """Answer a batch of questions in this thread; yields index in `asked`, new pieces, and the answer so far.

    The engine must be idle, and is idle afterwards.

    Raises:
        UserError: a prompt is too long for the model.
    """
    answers = [one.answer() for one in asked]
    index_of = {engine.submit(one.request(settings)): index for index, one in enumerate(asked)}
    try:
        while not engine.idle:
            for number, token, finished in engine.step():
                if (index := index_of.get(number)) is None:
                    continue
                answer = answers[index]
                pieces = answer.feed(token)
                if finished or answer.done:
                    engine.cancel(number)
                    del index_of[number]
                    pieces += answer.finish()
                yield index, pieces, answer
    finally:
        for number in index_of:
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
    """Open the documents of a run and load models.

    Args:
        artifacts: those of the last run.
        names: as `ModelFinder.named`; None: `ModelFinder.everything`.
        base_of: the model whose base `base` is.
        slots: batch size of generation.
        float32: compute in float32: slower, but answers do not vary with batching. In bf16 another batch rounds sums
            differently, which decides between tokens of nearly equal probability.

    Raises:
        UserError: the run did not get far enough; a model does not exist, or has another base than the first; a result
            is damaged.
    """
    logging.getLogger("faiss").setLevel(logging.WARNING)
    registry = Registry(store.work_dir)
    finder = ModelFinder(store, registry, artifacts, settings.style)
    chosen = finder.everything() if names is None else finder.named(names, base_of)
    reranker = artifacts.get("reranker")
    search = (artifacts["chunks"], artifacts["index"], artifacts["embedder"], reranker)
    for artifact in filter(None, search):
        store.verify(artifact)
    embed = open_embedder(store, artifacts["embedder"]).embed  # without the cache: embeddings of questions are not kept
    retriever = open_retriever(store, *search, settings.retrieval, embed)
    chunks = {chunk.id: chunk for chunk in open_chunks(store, artifacts["chunks"])}
    base = next(iter(chosen.models.values())).base
    tokenizer = open_tokenizer(store, base)
    engine = _engine(store, chosen, slots, float32)

    def grammars(style: PromptStyle) -> Grammars:
        return Grammars(store.path(base), engine.vocab_size, (tokenizer.end_id(style),))

    return Answering(registry, chosen, retriever, chunks, settings.top_k, tokenizer, engine, grammars)


def _engine(store: Store, chosen: ModelSelection, slots: int, float32: bool) -> Engine:
    import jax.numpy as jnp

    from jora_model.generation.engine import open_engine
    from jora_model.runtime.compilation import use_compilation_cache

    use_compilation_cache(store.work_dir / "xla")
    dtype = jnp.float32 if float32 else jnp.bfloat16
    base = store.path(next(iter(chosen.models.values())).base)
    adapters = {name: store.path(model.adapter) for name, model in chosen.models.items() if model.adapter is not None}
    alone = len(adapters) == len(chosen.models)
    return open_engine(base, adapters, alone=alone, slots=slots, compute_dtype=dtype)
