"""Exports of the dataset as JSON lines in the formats of other trainers.

    gorilla-hf          raft.py's own columns: id, type, question, context, oracle_context, cot_answer, instruction
    gorilla-chat        {"messages": [user, assistant]} with raft.py's wording
    gorilla-completion  {"prompt", "completion"} with raft.py's wording
    gorilla-eval        {"question", "answer", "context"}
    messages            {"messages": [user, assistant]} with our prompts and outputs
    sharegpt            {"conversations": [human, gpt]} with our prompts and outputs

raft.py (github.com/ShishirPatil/gorilla) ends an answer with "<ANSWER>: ..." and marks quotes as we do, so its
evaluation reads these files. Mixed-in records have no documents: they are in the chats and completions, not in
gorilla-hf and gorilla-eval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from data.documents.chunks import Chunk
from data.prompting.prompts import ANSWER, REASON, heading
from data.questions.questions import Question
from data.raft.alpaca import DOCUMENTS, AlpacaRecord

Row = dict[str, Any]


class Exporter:
    """Converts records to each of `formats`."""

    def __init__(self, chunks: Mapping[str, Chunk], questions: Mapping[str, Question]) -> None:
        """
        Args:
            chunks, questions: by id, all that the records refer to.
        """
        self.chunks = chunks
        self.questions = questions
        self.formats: dict[str, Callable[[Sequence[AlpacaRecord]], Iterator[Row]]] = {
            "gorilla-hf": self._gorilla,
            "gorilla-chat": self._gorilla_chat,
            "gorilla-completion": self._gorilla_completion,
            "gorilla-eval": self._gorilla_eval,
            "messages": self._messages,
            "sharegpt": self._sharegpt,
        }

    def rows(self, name: str, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        """The records in one of `formats`, in order."""
        return self.formats[name](records)

    def _gorilla(self, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        for record in records:
            if record.source != DOCUMENTS:
                continue
            shown = [self.chunks[id] for id in record.context_ids]
            question = self.questions[record.question_id].question
            yield {
                "id": record.id,
                "type": "general",
                "question": question,
                # Nested lists: raft.py's columns are those of HotpotQA.
                "context": {
                    "title": [[heading(chunk) for chunk in shown]],
                    "sentences": [[chunk.text for chunk in shown]],
                },
                "oracle_context": "\n".join(self.chunks[id].text for id in record.oracle_ids),
                "cot_answer": _with_gorillas_answer(record.output),
                "instruction": "".join(f"<DOCUMENT>{chunk.text}</DOCUMENT>\n" for chunk in shown) + question,
            }

    def _gorilla_chat(self, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        for row in self._gorilla_completion(records):
            yield _chat(row["prompt"], row["completion"])

    def _gorilla_completion(self, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        for record in records:
            if record.source == DOCUMENTS:
                (row,) = self._gorilla([record])
                yield {"prompt": row["instruction"], "completion": row["cot_answer"]}
            else:
                yield {"prompt": record.prompt.message, "completion": record.output}

    def _gorilla_eval(self, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        for row in self._gorilla(records):
            context = "\n".join(row["context"]["sentences"][0])
            yield {"question": row["question"], "answer": row["cot_answer"], "context": context}

    def _messages(self, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        for record in records:
            yield _chat(record.prompt.message, record.output)

    def _sharegpt(self, records: Sequence[AlpacaRecord]) -> Iterator[Row]:
        for record in records:
            turns = (("human", record.prompt.message), ("gpt", record.output))
            yield {"id": record.id, "conversations": [{"from": who, "value": text} for who, text in turns]}


def _chat(prompt: str, answer: str) -> Row:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def _with_gorillas_answer(output: str) -> str:
    """Our output with raft.py's mark before the answer and no mark before the reason."""
    reason, _, answer = output.rpartition(ANSWER)
    return f"{reason.removeprefix(REASON).strip()}\n<ANSWER>: {answer.strip()}"
