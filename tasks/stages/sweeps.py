"""Compares the runs of a sweep: a table, CSV, JSON and a plot of quality against cost."""

from dataclasses import asdict
from typing import Any

from data.evaluation.ladder import BASE, TUNED
from data.evaluation.sweep_plot import draw_sweep
from data.evaluation.sweep_points import SweepPoint, point_cells, study_points, write_points
from data.scoring.scores import aligned
from jora_model.training.costs import adapter_costs
from tasks.engine.cache import stage
from tasks.stages.json_files import read_json, write_json
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="compare-runs", version=1)
def compare_runs(
    store: Store,
    over: str,
    values: tuple[str, ...],
    datasets: tuple[Artifact, ...],
    adapters: tuple[Artifact, ...],
    evaluations: tuple[Artifact, ...],
) -> Artifact:
    """Write cost and quality of each value as sweep.md, .csv, .json and .png; for oracle-fraction also points.json."""
    points = []
    rungs: dict[str, Any] = {}
    for value, dataset, adapter, evaluation in zip(values, datasets, adapters, evaluations, strict=True):
        rungs = {rung["name"]: rung for rung in read_json(store.path(evaluation) / "summary.json")}
        counts = read_json(store.path(dataset) / "counts.json")
        costs = adapter_costs(store.path(adapter))
        points.append(
            SweepPoint(
                value=value,
                parameters=costs.parameters,
                adapter_bytes=costs.bytes,
                scale=costs.scale,
                step_seconds=costs.step_seconds,
                updates=costs.updates,
                examples=counts["examples"],
                fewer_chunks=counts["with fewer chunks"],
                token_f1=rungs[TUNED]["token_f1"],
                exact_match=rungs[TUNED]["exact_match"],
                questions=rungs[TUNED]["questions"],
                adapter=str(store.path(adapter).relative_to(store.work_dir)),
                evaluation=str(store.path(evaluation).relative_to(store.work_dir)),
            )
        )
    # The base model has the same prompts for every value, so any evaluation's rung will do.
    base = rungs[BASE]
    with store.build("sweep", settings={"over": over}, inputs=(*datasets, *adapters, *evaluations)) as build:
        (build.folder / "sweep.md").write_text(aligned(point_cells(over, points, base)), encoding="utf-8")
        write_points(build.folder / "sweep.csv", over, points)
        content = {"over": over, "points": [asdict(point) for point in points], "base": base}
        write_json(build.folder / "sweep.json", content)
        draw_sweep(over, points, base, build.folder / "sweep.png")
        if over == "oracle-fraction":
            write_json(build.folder / "points.json", [asdict(point) for point in study_points(points)])
        build.count(values=len(points))
    return build.artifact
