"""Examples of the last dataset in the terminal: what is shown, what proves the answer, and what is learnt of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from data.files.jsonl import read_jsonl
from data.prompting.tokenizer import Tokenizer
from data.raft.alpaca import RECORDS_NAME, AlpacaRecord, read_records
from data.raft.sequences import TokenSequence, read_sequences
from data.report.highlight import QuotedPiece, ShownChunk, ShownExample, show_example
from tasks.records.runs import read_latest
from tasks.stages.loading import open_chunks, open_questions, open_tokenizer
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

_QUOTE, _ORACLE, _QUIET, _LEARNT, _GIVEN = "black on yellow", "green", "dim", "bold green", "dim"


def show_examples(work_dir: str, split: str, count: int, example_id: str | None, tokens: bool) -> None:
    """Print examples of a split, spread evenly over it, or the one with an id.

    Args:
        tokens: show each token by itself, control tokens too, where the sequence is that of training.

    Raises:
        UserError: no run has got as far as a dataset in this work directory; no such split or example.
    """
    artifacts, _ = read_latest(Path(work_dir).expanduser())
    store = Store(work_dir)
    if "dataset" not in artifacts:
        raise UserError(f"the last run in {work_dir} built no dataset; run: jora build-dataset --work-dir {work_dir}")
    for name in ("dataset", "package", "chunks", "questions", "base"):
        if name in artifacts:
            store.verify(artifacts[name])
    records, sequences = _open(store, artifacts, split, work_dir)
    chosen = _choose(records, count, example_id, split)
    chunks = {chunk.id: chunk for chunk in open_chunks(store, artifacts["chunks"])}
    parts = ("train", "validation", "eval")
    questions = {q.id: q for part in parts for q in open_questions(store, artifacts["questions"], part)}
    tokenizer = open_tokenizer(store, artifacts["base"])
    console = Console()
    for place in chosen:
        sequence = sequences[place] if sequences else None
        console.print(_panel(show_example(records[place], chunks, questions), sequence, tokenizer, tokens))
    console.print(f"{len(chosen)} of {len(records)} examples of {split}", style=_QUIET)


def _open(
    store: Store, artifacts: dict[str, Artifact], split: str, work_dir: str
) -> tuple[list[AlpacaRecord], list[TokenSequence]]:
    """The records of a split and, where it is one of training, its sequences."""
    dataset = store.path(artifacts["dataset"])
    folders = {"train": dataset, "validation": dataset / "validation"}
    found = [name for name, folder in folders.items() if (folder / RECORDS_NAME).is_file()]
    if split in found:
        return read_records(folders[split]), read_sequences(folders[split] / "sequences")
    if "package" in artifacts:
        if split == "test":
            return read_jsonl(store.path(artifacts["package"]) / "data" / "test.jsonl", AlpacaRecord), []
        found.append("test")
    raise UserError(f"the last dataset in {work_dir} has no split {split!r}: it has {', '.join(found)}")


def _choose(records: Sequence[AlpacaRecord], count: int, example_id: str | None, split: str) -> list[int]:
    if example_id is None:
        count = min(count, len(records))
        return [len(records) * number // count for number in range(count)]
    chosen = [place for place, record in enumerate(records) if example_id in (record.id, record.question_id)]
    if not chosen:
        raise UserError(f"no example {example_id!r} in {split}: give an id or a question's id, such as {records[0].id}")
    return chosen


def _panel(example: ShownExample, sequence: TokenSequence | None, tokenizer: Tokenizer, tokens: bool) -> Panel:
    body: list[Text | Panel] = [_chunk(number, chunk) for number, chunk in enumerate(example.chunks, start=1)]
    body += [Text(f"\n{example.question}\n", style="bold")]
    if sequence is None:
        body.append(_pieces(example.output, ""))
        told = "expected; not learnt"
    else:
        learnt = int(sequence.loss_mask.sum())
        body.append(_by_token(sequence, tokenizer) if tokens else _pieces(example.output, _LEARNT))
        told = f"{learnt} of {len(sequence.tokens)} tokens are learnt"
    shown = "oracle shown" if example.oracle_shown else "oracle not shown" if example.chunks else example.source
    return Panel(Group(*body), title=f"{example.id} · {shown}", subtitle=told, title_align="left")


def _chunk(number: int, chunk: ShownChunk) -> Text:
    style = _ORACLE if chunk.oracle else _QUIET
    text = Text(f"[{number}] {chunk.title}  {chunk.path}{'  ORACLE' if chunk.oracle else ''}\n", style=f"{style} bold")
    text.append_text(_pieces(chunk.pieces, style))
    return text.append("\n")


def _pieces(pieces: Sequence[QuotedPiece], style: str) -> Text:
    text = Text()
    for piece, quoted in pieces:
        text.append(piece, style=_QUOTE if quoted else style)
    return text


def _by_token(sequence: TokenSequence, tokenizer: Tokenizer) -> Text:
    """The whole sequence, a bar between tokens, those that are learnt in bold green."""
    text = Text()
    for piece, learnt in zip(tokenizer.pieces(sequence.tokens.tolist()), sequence.loss_mask.tolist(), strict=True):
        text.append(piece, style=_LEARNT if learnt else _GIVEN).append("|", style=_QUIET)
    return text
