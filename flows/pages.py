"""What a person sees of a run in Prefect's UI: the dataset, the loss curve and the ladder, as Markdown artifacts."""

import base64

from prefect.artifacts import create_markdown_artifact

from tasks.report import describe_counts
from tasks.runs import Results
from tasks.store import Store


def show_in_prefect(store: Store, results: Results) -> None:
    """One page for the run: what each stage gave, the loss curve, the ladder, where the results lie."""
    lines = ["| stage | result | |", "|---|---|---|"]
    for outcome in store.outcomes:
        how = "cached" if outcome.cached else f"built in {outcome.seconds:.1f} s"
        lines.append(f"| {outcome.stage} | {outcome.artifact}{describe_counts(outcome.artifact)} | {how} |")
    lines += ["", *(f"- {name}: `{path}`" for name, path in results.paths.items())]
    if "evaluation" in results.paths:
        lines += ["", (results.paths["evaluation"] / "summary.md").read_text(encoding="utf-8")]
    if "training" in results.paths:
        picture = base64.b64encode((results.paths["training"] / "loss.png").read_bytes()).decode()
        lines += ["", f"![loss curve](data:image/png;base64,{picture})"]
    create_markdown_artifact("\n".join(lines), key="run", description="What this run built")
