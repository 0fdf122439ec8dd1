"""`jora inspect`: examples of the last dataset with context, evidence and the tokens trained on."""

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

_QUOTE, _ORACLE, _QUIET, _TRAINED, _GIVEN = "black on yellow", "green", "dim", "bold green", "dim"


def show_examples(work_dir: str, split: str, count: int, example_id: str | None, tokens: bool) -> None:
    """Print examples spread evenly over a split, or those with an id.

    Args:
        tokens: show single tokens, control tokens too, if the split has training sequences.

    Raises:
        UserError: the last run built no dataset, or there is no such split or example.
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
    for index in chosen:
        sequence = sequences[index] if sequences else None
        console.print(_panel(show_example(records[index], chunks, questions), sequence, tokenizer, tokens))
    console.print(f"{len(chosen)} of {len(records)} examples of {split}", style=_QUIET)


def _open(
    store: Store, artifacts: dict[str, Artifact], split: str, work_dir: str
) -> tuple[list[AlpacaRecord], list[TokenSequence]]:
    """The records of a split and, if it is used in training, its sequences."""
    dataset = store.path(artifacts["dataset"])
    folders = {"train": dataset, "validation": dataset / "validation"}
    splits = [name for name, folder in folders.items() if (folder / RECORDS_NAME).is_file()]
    if split in splits:
        return read_records(folders[split]), read_sequences(folders[split] / "sequences")
    if "package" in artifacts:
        if split == "test":
            return read_jsonl(store.path(artifacts["package"]) / "data" / "test.jsonl", AlpacaRecord), []
        splits.append("test")
    raise UserError(f"the last dataset in {work_dir} has no split {split!r}: it has {', '.join(splits)}")


def _choose(records: Sequence[AlpacaRecord], count: int, example_id: str | None, split: str) -> list[int]:
    if example_id is None:
        count = min(count, len(records))
        return [len(records) * number // count for number in range(count)]
    chosen = [index for index, record in enumerate(records) if example_id in (record.id, record.question_id)]
    if not chosen:
        raise UserError(f"no example {example_id!r} in {split}: give an id or a question's id, such as {records[0].id}")
    return chosen


def _panel(example: ShownExample, sequence: TokenSequence | None, tokenizer: Tokenizer, tokens: bool) -> Panel:
    body: list[Text | Panel] = [_chunk(number, chunk) for number, chunk in enumerate(example.chunks, start=1)]
    body += [Text(f"\n{example.question}\n", style="bold")]
    if sequence is None:
        body.append(_pieces(example.output, ""))
        subtitle = "expected output; not trained on"
    else:
        trained = int(sequence.loss_mask.sum())
        body.append(_by_token(sequence, tokenizer) if tokens else _pieces(example.output, _TRAINED))
        subtitle = f"{trained} of {len(sequence.tokens)} tokens are trained on"
    shown = "oracle shown" if example.oracle_shown else "oracle not shown" if example.chunks else example.source
    return Panel(Group(*body), title=f"{example.id} · {shown}", subtitle=subtitle, title_align="left")


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
    """The full sequence with a bar between tokens; those trained on in bold green."""
    text = Text()
    for piece, trained in zip(tokenizer.pieces(sequence.tokens.tolist()), sequence.loss_mask.tolist(), strict=True):
        text.append(piece, style=_TRAINED if trained else _GIVEN).append("|", style=_QUIET)
    return text
