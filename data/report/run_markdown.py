"""The report on a run as Markdown, for Prefect's artifacts and for terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from data.report.run_facts import QUOTED, RunFacts, ShownQuestion, Table, comparison_rows, told_bytes, told_seconds
from data.report.run_page import CAUSES, run_parts

# Markdown syntax anywhere in a line, and at its start.
_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|^[#+=>-]")
_MAX_CHARACTERS = 400  # of one text; the page shows more


def run_markdown(run: RunFacts) -> str:
    """The report as Markdown, a function of the facts alone. Texts of documents and answers are escaped."""
    parts = run_parts(run)
    lines = [f"# {escaped(run.name)}", "", f"**{run.state}** {escaped(run.about)}"]
    lines += [f"\n**{escaped(run.error)}**"] if run.error else []
    if run.repeats:
        lines += ["", f"Nothing to do: the results are those of `{run.repeats}`; see its report."]
    summary = [run.headline, run.decision.text if run.decision else ""]
    lines += [f"\n{escaped(line)}" for line in filter(None, summary)]
    lines += [f"\n{escaped(line)}" for line in run.missing]
    if run.tiles:
        lines += _table([["", ""], *([name, number] for name, number in run.tiles.items())])
    if "asked" in parts:
        lines += [*_head(parts["asked"]), *_words(run.asked)]
        lines += ["", "Settings that differ from the defaults:", *_words(run.changed)] if run.changed else []
    if "data" in parts:
        lines += [*_head(parts["data"]), *_words(run.data), *(_table(run.filters.rows) if run.filters else ())]
    if "ladder" in parts:
        lines += [*_head(parts["ladder"]), *_noted(run.ladder())]
        if leading := run.leading():
            lines += ["", f"Differences in {run.label(leading[0].metric)}, in points, with 95% intervals:"]
            lines += _table(comparison_rows(leading).rows)
        for table in (*filter(None, [run.judge]), *run.breakdown):
            lines += ["", f"**{escaped(table.title)}**", *_noted(table)]
    if run.sweep:
        lines += [*_head(parts["sweep"]), *_noted(run.sweep)]
    if "training" in parts:
        lines += [*_head(parts["training"]), escaped(run.curves_note)]
        for figure in run.curves:
            for series in figure.series:
                first, last = series.y[0], series.y[-1]
                lines.append(f"\n- {escaped(series.name)}: {first:.4g} first, {last:.4g} last")
    for figure in run.robustness:
        lines += _head(figure.title)
        rows = [[figure.x_label, *(series.name for series in figure.series)]]
        for x in dict.fromkeys(x for series in figure.series for x in series.x):
            values = (
                {str(a): f"{b:.1f}" for a, b in zip(s.x, s.y, strict=True)}.get(str(x), "-") for s in figure.series
            )
            rows.append([str(x), *values])
        lines += _table(rows)
    if run.retriever:
        lines += [*_head(parts["retriever"]), *_noted(run.retriever)]
    if "examples" in parts:
        lines += [*_head(parts["examples"]), escaped(run.examples_note)]
        lines += [line for item in run.examples for line in _shown(item)]
    if "failures" in parts:
        lines += [*_head(parts["failures"]), escaped(run.failures_note)]
        rows = [[group.cause, str(group.count), CAUSES.get(group.cause, "")] for group in run.failures]
        lines += _table([["cause", "answers", ""], *rows])
    if run.decision and run.decision.table:
        lines += [*_head(parts["champion"]), *_noted(run.decision.table)]
    if "cost" in parts:
        lines += [*_head(parts["cost"]), *_costs(run)]
    if "again" in parts:
        lines += _head(parts["again"])
        # Longer than any run of backticks in the command, which could otherwise close the fence.
        fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", run.command))])
        lines += [f"{fence}sh\n{run.command}\n{fence}"] if run.command else []
        lines += _words(run.digests)
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """The text on one line, truncated, with Markdown and HTML escaped."""
    line = " ".join(text.split())
    line = line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]} …"
    line = re.sub(r"^(\d+)([.)])", r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", line))  # 1. would start a list
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _head(title: str) -> list[str]:
    return ["", f"## {escaped(title)}", ""]


def _noted(table: Table) -> list[str]:
    return [*_table(table.rows), *(["", escaped(table.note)] if table.note else [])]


def _words(rows: Iterable[tuple[str, str]]) -> list[str]:
    return _table([["", ""], *([name, text] for name, text in rows)])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = [[escaped(cell) for cell in row] for row in rows]
    if not rest:
        return []
    return ["", f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rest)]


def _shown(item: ShownQuestion) -> list[str]:
    lines = ["", f"**{escaped(item.question)}** expected: {escaped(item.expected)}", ""]
    for said in item.answers:
        lines.append(f"- {'✓' if said.right else '✗'} {escaped(said.rung)}: {escaped(said.text) or '(empty)'}")
        for quote in said.quotes:
            source = f"verbatim in {escaped(quote.place)}" if quote.place else "not in any document shown"
            lines.append(f"    - “{escaped(quote.text)}” ({source})")
    for passage in item.passages:
        kind = "oracle" if passage.oracle else "distractor"
        pieces = (f"**{escaped(text)}**" if mark == QUOTED else escaped(text) for text, mark in passage.pieces)
        lines.append(f"- {kind} {escaped(passage.place)}: {' '.join(filter(None, pieces))}")
    return lines


def _costs(run: RunFacts) -> list[str]:
    rows = [["stage", "calls", "time", "peak memory"]]
    for stage in run.stages:
        all_cached = stage.calls == stage.cached
        memory = told_bytes(stage.peak_bytes) if stage.peak_bytes else "-"
        spent = ["cached", ""] if all_cached else [told_seconds(stage.seconds), memory]
        rows.append([stage.stage, str(stage.calls), *spent])
    return [*_table(rows), *_words(run.tokens)]
