"""`jora sweep`: what values have in common is built once, nothing is built twice, and one line names a bad value."""

import csv
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.pipeline.dry_run import look_at_sweep
from flows.settings.config import RunConfig, load_config
from flows.settings.sweep_values import read_values, with_value
from flows.sweep import SweepResults, ValueRun, raft_sweep
from tasks.records.records import list_runs
from testing.command_line import jora, start_jora
from testing.jobs_here import run_jobs_here
from testing.small_runs import SMALL, small_sources

SNAPSHOTS = {"snapshot-documents", "snapshot-questions", "snapshot-base", "snapshot-embedder"}
SETTINGS = (*SMALL, "training.max_updates=3")


@dataclass(frozen=True)
class Shop:
    """A small corpus with a tiny base model, and the settings of a sweep over them, also as a file."""

    config: RunConfig
    file: Path

    @property
    def work_dir(self) -> Path:
        return Path(self.config.work_dir)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        config = load_config(None, small_sources(folder), SETTINGS)
        (folder / "raft.yaml").write_text(config.model_dump_json())  # JSON is YAML
        yield Shop(config, folder / "raft.yaml")


@pytest.fixture(scope="module")
def ranks(shop: Shop) -> SweepResults:
    """A sweep over ranks 2 and 4, of which 2 was run before, as by a sweep that was killed then."""
    raft_sweep("rank", ("2",), shop.config)
    return raft_sweep("rank", ("2", "4"), shop.config)


def built(run: ValueRun) -> list[str]:
    return [outcome.stage for outcome in run.outcomes if not outcome.cached and outcome.stage not in SNAPSHOTS]


def test_a_value_builds_only_what_no_value_has_built(ranks: SweepResults) -> None:
    assert [run.value for run in ranks.runs] == ["2", "4"]
    assert built(ranks.runs[0]) == []
    assert built(ranks.runs[1]) == ["train-adapter", "generate-answers", "score-answers"]


def test_the_record_of_a_sweep_has_the_stages_of_its_values(ranks: SweepResults, shop: Shop) -> None:
    recorded = list_runs(shop.work_dir)[1].stages
    assert [stage.artifact for stage in recorded[:-1]] == [o.artifact for run in ranks.runs for o in run.outcomes]
    assert recorded[-1].artifact.kind == "sweep"


def test_a_point_for_each_value(ranks: SweepResults, shop: Shop) -> None:
    with (ranks.folder / "sweep.csv").open() as file:
        points = list(csv.DictReader(file))
    assert [point["rank"] for point in points] == ["2", "4"]
    assert 2 * int(points[0]["parameters"]) == int(points[1]["parameters"])
    assert [float(point["scale"]) for point in points] == [16, 8]
    for point in points:
        adapter = shop.work_dir / point["adapter"] / "adapter_model.safetensors"
        assert adapter.stat().st_size == int(point["adapter_bytes"])
        assert (shop.work_dir / point["evaluation"] / "answers.jsonl").is_file()
        assert float(point["step_seconds"]) > 0
        assert int(point["updates"]) == int(point["questions"]) == 3
        assert float(point["token_f1_low"]) <= float(point["token_f1"]) <= float(point["token_f1_high"])
    assert (ranks.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert not (shop.work_dir / "latest").exists(), "a sweep leaves the last run as it was"


@pytest.mark.slow
def test_again_from_the_command_line_nothing_is_built(
    ranks: SweepResults, shop: Shop, prefect_server: str, tmp_path: Path
) -> None:
    log, plot = tmp_path / "log", tmp_path / "plot.png"
    command = ("sweep", "rank", "--values", "4,2", "--config", shop.file, "--plot", plot)
    with start_jora(*command, prefect=prefect_server, log=log) as process:
        assert process.wait() == 0, log.read_text()
    printed = log.read_text()
    assert set(re.findall(r"\] ([\w-]+): built", printed)) == SNAPSHOTS
    assert printed.index("rank=2 (1 of 2)") < printed.index("rank=4 (2 of 2)")
    assert (ranks.folder / "sweep.md").read_text() in printed
    assert plot.read_bytes() == (ranks.folder / "sweep.png").read_bytes()


@pytest.mark.usefixtures("ranks")
def test_distractors_change_the_dataset_and_not_what_is_asked(shop: Shop) -> None:
    none, one = raft_sweep("distractors", ("0", "1"), shop.config).runs
    assert built(none) == ["build-dataset", "train-adapter", "generate-answers", "score-answers"]
    assert built(one) == [], "with one distractor it is the run of rank 4"
    assert none.artifacts["dataset"] != one.artifacts["dataset"]


@pytest.mark.usefixtures("ranks")
def test_dry_run_counts_a_shared_stage_once(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    look_at_sweep(shop.config, "oracle-fraction", ("0.5", "1.0"))
    look_at_sweep(load_config(shop.file, {}, ["chunking.max_tokens=64"]), "rank", ("2", "4"))
    look_at_sweep(shop.config, "rank", ("2", "4"))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "would run" in line]
    tuned = "train-adapter, generate-answers, score-answers"
    assert lines[:2] == [f"would run 4 of 15 stages: build-dataset, {tuned}"] * 2
    assert lines[2].startswith("would run 11 of 15 stages: chunk-documents, index-chunks, ")
    assert lines[3] == f"would run 3 of 15 stages: {tuned}"
    assert lines[4:] == ["would run 0 of 15 stages"] * 2


@pytest.mark.usefixtures("ranks")
def test_a_value_that_fails_is_named(shop: Shop) -> None:
    config = load_config(shop.file, {}, ["training.learning_rate=1e38"])
    with pytest.raises(ValueError, match=r"^rank=2: loss .* not finite; lower training\.learning_rate"):
        raft_sweep("rank", ("2",), config)


@pytest.mark.usefixtures("ranks")
def test_documents_that_change_meanwhile(shop: Shop) -> None:
    """The values would have been trained and asked on different things."""
    document = min(Path(shop.config.corpus).iterdir())
    text = document.read_text()

    class Edit(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "rank=4 (2 of 2)":
                document.write_text(text + "\nOne more sentence.\n")

    logger, handler = logging.getLogger("prefect.flow_runs"), Edit()
    logger.addHandler(handler)
    try:
        with pytest.raises(ValueError, match=r"^rank=4: not the same questions as for rank=2, so the two"):
            raft_sweep("rank", ("2", "4"), shop.config)
    finally:
        logger.removeHandler(handler)
        document.write_text(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ranks"], "a sweep over 'ranks' is not known; allowed are rank, targets, oracle-fraction, distractors"),
        (["rank", "--values", "0,4"], "rank=0: lora.rank: Input should be greater than or equal to 1 (given: 0)"),
        (["rank", "--values", "4,x"], "--values '4,x': for rank write whole numbers, such as 4,16,64"),
        (["rank", "--values", "4,,8"], "--values '4,,8': write whole numbers"),
        (["rank", "--values", "8,4,8"], "8 and 8 are the same lora.rank; give it once"),
        (
            ["targets", "--values", "qv,query"],
            "targets=query: lora.target_modules: target_modules query match no layer",
        ),
        (["targets", "--values", "qv,v_proj+q_proj"], "qv and v_proj+q_proj are the same lora.target_modules"),
        (["oracle-fraction", "--values", "0.5,1.5"], "oracle-fraction=1.5: raft.oracle_fraction: Input should be less"),
        (["oracle-fraction", "--values", "nan"], "oracle-fraction=nan: raft.oracle_fraction: "),
        (["distractors", "--values", "70"], "distractors=70: raft.context_chunks: Input should be less than or equal"),
        (["rank", "--set", "lora.rank=8"], "--set lora.rank=8: a sweep over rank sets lora.rank itself; use --values"),
        (
            ["rank", "--plot", "nowhere/plot.png"],
            "a file that ends in .png, in an existing folder",
        ),
        (["rank", "--plot", "plot.jpg"], "--plot plot.jpg: give a file that ends in .png"),
        (["rank", "--corpus", "nowhere"], "no documents at nowhere"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_refusals(monkeypatch, capsys, tmp_path, arguments, message, dry):
    work = ["--work-dir", tmp_path / "work"]
    code, line = jora(monkeypatch, capsys, "sweep", *arguments, *work, *(["--dry-run"] if dry else []))
    assert code == 2
    assert message in line


def test_values_are_read_in_one_form_and_cheapest_first():
    assert read_values("rank", "64, 4,016") == ("4", "16", "64")
    assert read_values("oracle-fraction", "1,.8") == ("0.8", "1.0")
    assert read_values("targets", "qv, all-linear,v_proj+o_proj") == ("qv", "all-linear", "v_proj+o_proj")


def test_targets_are_names_that_every_architecture_has():
    """Phi-3 has no q_proj; its queries and values are in `qkv_proj`."""
    given = {"corpus": "-", "questions": "-", "base_model": "-", "work_dir": "-"}
    config = load_config(None, given, ())
    for value in ("qv", "attention", "mlp", "all-linear"):
        assert with_value(config, "targets", value).lora.target_modules == (value,)
    assert with_value(config, "targets", "o_proj+mlp").lora.target_modules == ("mlp", "o_proj")
