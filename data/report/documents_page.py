"""The account of a corpus as one HTML page: every file, those with trouble first. No network, no scripts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from data.documents.accounts import FileAccount
from data.report.run_facts import Table
from data.report.templates import render_page, style_sheet

# Rows of a group that the page shows: it stays readable, and opens in a browser, with 100,000 files.
ROWS = 1_000

# Key -> (title, what it means), in the order of the page.
_GROUPS = {
    "unreadable": ("Unreadable", "nothing of them was read"),
    "partly": ("Partly read", "some of their rows or pages were not read"),
    "empty": ("Empty", "they hold no text"),
    "noted": ("Read, with remarks or text left out", "guesses to check, and what was left out on purpose"),
    "skipped": ("Skipped", "files of other types"),
    "clean": ("Read", "all of their text was kept"),
}


@dataclass(frozen=True, slots=True)
class FileGroup:
    """The files of one kind of trouble.

    Attributes:
        files: the first of them, the gravest first.
        count: all of them.
    """

    key: str
    title: str
    meaning: str
    files: Sequence[FileAccount]
    count: int


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """The account of a corpus.

    Attributes:
        states: state -> files, those with none left out.
        kept, documents: of all files.
        left_out: what was left out on purpose -> characters, the most first.
        formats: a row for each suffix.
        groups: the files, those with trouble first.
    """

    files: int
    documents: int
    kept: int
    states: dict[str, int]
    left_out: dict[str, int]
    formats: Table
    groups: Sequence[FileGroup]

    @property
    def left_out_characters(self) -> int:
        """The characters that were left out on purpose, of all kinds."""
        return sum(self.left_out.values())


def corpus_facts(files: Iterable[FileAccount], rows: int = ROWS) -> CorpusFacts:
    """The facts that the page shows, at most `rows` files of each group."""
    files = list(files)
    left_out: Counter[str] = Counter()
    grouped: dict[str, list[FileAccount]] = defaultdict(list)
    for file in files:
        left_out.update(file.left_out)
        grouped[_group(file)].append(file)
    groups = [
        FileGroup(key, title, meaning, sorted(grouped[key], key=_gravity)[:rows], len(grouped[key]))
        for key, (title, meaning) in _GROUPS.items()
        if key in grouped
    ]
    return CorpusFacts(
        files=len(files),
        documents=sum(file.documents for file in files),
        kept=sum(file.kept for file in files),
        states=dict(Counter(file.state for file in files).most_common()),
        left_out=dict(left_out.most_common()),
        formats=_formats(files),
        groups=groups,
    )


def documents_page(name: str, corpus: CorpusFacts, complete_list: str) -> str:
    """The page as HTML, a function of its arguments alone. Names of files and remarks are escaped.

    Args:
        name: of the run.
        complete_list: where files.jsonl is, which holds the files that the page has no room for.
    """
    return render_page(
        "data.report",
        "documents.html",
        run_css=style_sheet("data.report", "run.css"),
        name=name,
        corpus=corpus,
        complete_list=complete_list,
        percent=_percent,
        amounts=amounts,
    )


def file_rows(corpus: CorpusFacts) -> list[tuple[str, str]]:
    """The totals as rows of the run's report: name -> words."""
    share = _percent(corpus.left_out_characters, corpus.kept)
    left_out = f", {corpus.left_out_characters:,} left out on purpose ({share}): {amounts(corpus.left_out)}"
    return [
        (
            "files of the corpus",
            f"{corpus.files:,}: " + ", ".join(f"{n:,} {state}" for state, n in corpus.states.items()),
        ),
        ("characters of their texts", f"{corpus.kept:,} kept{left_out if corpus.left_out else ', none left out'}"),
    ]


def amounts(numbers: dict[str, int]) -> str:
    """Names with their numbers, the largest first."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{what.replace('_', ' ')} {number:,}" for what, number in ordered)


def _group(file: FileAccount) -> str:
    if file.state == "read":
        return "noted" if file.remarks or file.left_out_characters else "clean"
    return "partly" if file.state == "partly read" else file.state


def _gravity(file: FileAccount) -> tuple[float, str]:
    """Sorts files of a group: the most text or parts lost first, then by path."""
    return -(file.left_out_characters + file.unread_parts), file.path


def _percent(left_out: int, kept: int) -> str:
    """The share that was left out."""
    return f"{100 * left_out / max(left_out + kept, 1):.1f}%"


def _formats(files: Iterable[FileAccount]) -> Table:
    of_format: dict[str, list[FileAccount]] = defaultdict(list)
    for file in files:
        of_format[PurePosixPath(file.path).suffix.lower()].append(file)
    rows = [["format", "files", "read in full", "documents", "characters kept", "left out"]]
    for suffix, listed in sorted(of_format.items(), key=lambda item: (-len(item[1]), item[0])):
        numbers = (
            len(listed),
            sum(file.state == "read" for file in listed),
            sum(file.documents for file in listed),
            sum(file.kept for file in listed),
            sum(file.left_out_characters for file in listed),
        )
        rows.append([suffix or "(no suffix)", *(f"{number:,}" for number in numbers)])
    shown = 60  # a folder of arbitrary files may have thousands of suffixes
    note = f"and {len(rows) - 1 - shown:,} more formats" if len(rows) - 1 > shown else ""
    return Table("", rows[: shown + 1], note)
