"""`jora run` as a process, twice on one work directory: with a tiny random model, and (slow) with SmolLM2.

Then what README promises of the result: the adapter loads in PEFT by its six lines, the merged model in transformers.
"""

import json
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.records.models import Registry
from tasks.records.records import list_runs
from testing.command_line import ROOT, start_jora
from testing.small_runs import SMALL, as_options, small_sources

SETTINGS = (
    "chunking.max_tokens=128",
    "raft.context_chunks=2",
    "raft.max_tokens=512",
    "training.row_length=512",
    "training.examples_per_update=4",
    "training.max_updates=1",
    "generation.max_new_tokens=8",
    "evaluation.top_k=1",
    "evaluation.max_questions=2",
)
# No process of a run, its jobs included, may unpickle (Prefect's server does, what it wrote itself) or talk to others.
GUARDED = ROOT / "testing" / "guarded"
# Sources are looked at every time; everything else is kept.
SNAPSHOTS = {"snapshot-documents", "snapshot-questions", "snapshot-base", "snapshot-embedder"}
STAGES = {
    *SNAPSHOTS,
    "import-base",
    "chunk-documents",
    "index-chunks",
    "ground-questions",
    "measure-retrieval",
    "build-dataset",
    "package-dataset",
    "train-adapter",
    "build-prompts",
    "generate-answers",
    "score-answers",
    "export-model",
    "compare-models",
}


@dataclass(frozen=True)
class Run:
    """A work directory, the server's URL, the stages, and what the first and the second run printed."""

    work_dir: Path
    server: str
    stages: set[str]
    first: str
    second: str


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import pickle; pickle.loads(pickle.dumps([]))", b"something was unpickled"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", b"something is sent to 192.0.2.1"),
        (
            "import contextlib, urllib.request\nwith contextlib.suppress(BaseException):\n"
            "    urllib.request.urlopen('http://example.invalid')",
            b"something is sent to example.invalid",
        ),
    ],
)
def test_the_guard_guards(code: str, says: bytes) -> None:
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(GUARDED)}, capture_output=True)
    assert says in done.stderr


@pytest.fixture(scope="module", params=["tiny", pytest.param("smollm2", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest, prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, real = tmp_path_factory.mktemp("run"), request.param == "smollm2"
    sources = small_sources(folder, 6 if real else 2)
    if real:
        del sources["base_model"]
    options = as_options(sources, SETTINGS if real else (*SMALL, "evaluation.max_questions=2"))
    printed = []
    for name in ("first", "second"):
        log = folder / f"{name}.log"
        with start_jora("run", *options, prefect=prefect_server, log=log, PYTHONPATH=str(GUARDED)) as process:
            code = process.wait()
        printed.append(log.read_text())
        assert code == 0, printed[-1]
    return Run(folder / "work", prefect_server, STAGES if real else STAGES - {"import-base"}, *printed)


def ask(server: str, path: str) -> list[dict]:
    """What a server has of a kind."""
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{server}/{path}", b"{}", headers)) as answer:
        return json.load(answer)


def stages(printed: str, what: str) -> set[str]:
    return set(re.findall(rf"^\[ *\d+ s\] ([\w-]+): {what}", printed, re.MULTILINE))


def test_every_stage_is_built_once_then_there_is_nothing_to_do(run: Run) -> None:
    assert stages(run.first, "built") == run.stages
    count = len(run.stages) + 2  # prompts and answers are built twice: for the base model and for the tuned one
    assert f"{count} stages: 0 cached, {count} built" in run.first
    # The comparison with a champion is no stage of the way; what it would say has been said.
    assert run.second.count(f"nothing to do: all {count - 1} stages are as the last run left them") == 2
    assert not stages(run.second, "built")
    records = list_runs(run.work_dir)
    assert [record.state for record in records] == ["completed", "nothing to do"]
    assert [len(record.stages) for record in records] == [count, count - 1]
    assert all(stage.peak_bytes for stage in records[0].stages)
    found = {(item["name"], item["state_name"]) for item in ask(run.server, "flow_runs/filter")}
    assert {"jax", "prefect"} <= set(records[0].packages)
    dataset = records[0].artifacts["dataset"].digest[:8]
    pages = {item["key"] for item in ask(run.server, "artifacts/filter")}
    assert {"run", "data", "evaluation", "report", "training", "answers"} <= pages
    name = f"raft-finetune documents {'embedded' if 'import-base' in run.stages else 'base'} {dataset}"
    assert {(name, "Completed"), (name, "NothingToDo")} <= found


def test_the_ladder_and_the_results_are_shown(run: Run) -> None:
    for printed in (run.first, run.second):
        for rung in ("base closed-book", "base + retrieval", "tuned + retrieval", "tuned + oracle"):
            assert re.search(rf"^\| {re.escape(rung)} +\| 2 ", printed, re.MULTILINE)
        for name in ("dataset", "package", "training", "evaluation", "adapter", "merged"):
            assert re.search(rf"^{name} +{re.escape(str(run.work_dir))}/latest/{name}$", printed, re.MULTILINE)
            assert (run.work_dir / "latest" / name).is_dir()


def test_the_run_leaves_a_report_and_the_next_one_points_to_it(run: Run) -> None:
    report = run.work_dir / "latest" / "report.html"
    for printed in (run.first, run.second):
        assert re.search(rf"^report +{re.escape(str(report))}$", printed, re.MULTILINE)
        assert "no report" not in printed
    first, second = (run.work_dir / "runs" / record.name / "report.html" for record in list_runs(run.work_dir))
    assert report.resolve() == first
    page = first.read_text(encoding="utf-8")
    parts = ("asked", "data", "ladder", "training", "retriever", "examples", "champion", "cost", "again")
    assert all(f'<h2 id="{part}">' in page for part in parts)
    assert "cannot be shown" not in page
    assert f'href="../{first.parent.name}/report.html"' in second.read_text(encoding="utf-8")


def test_the_model_is_registered_and_judged_once(run: Run) -> None:
    (model,) = Registry(run.work_dir).all()
    told = "promotion.min_questions is 30"
    assert model.questions == 2 and model.run.startswith("raft-finetune") and told in model.decision.reason
    # Once in the log, as Prefect's has it, and once with the results.
    assert len(re.findall(rf"model {model.name}: not promoted: .*{told}", run.first)) == 2
    assert (run.work_dir / "models" / model.name / "merged" / "config.json").is_file()


def test_the_adapter_loads_by_the_lines_of_the_readme(run: Run) -> None:
    """As they stand there; only where the base and the adapter lie is another place, since there is no network."""
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (base,) = {path for path in (run.work_dir / "artifacts" / "base-model").iterdir() if path.is_dir()}
    for there, here in (
        ("HuggingFaceTB/SmolLM2-135M-Instruct", base),
        (".jora/latest/adapter", run.work_dir / "latest" / "adapter"),
    ):
        assert there in snippet
        snippet = snippet.replace(there, str(here))
    import torch

    names: dict = {}
    exec(snippet, names)
    tokens = names["tokenizer"]("Who keeps the keys?", return_tensors="pt").input_ids
    with torch.no_grad():
        tuned = names["model"](tokens).logits
        with names["model"].disable_adapter():
            plain = names["model"](tokens).logits
    assert tuned.isfinite().all()
    assert (tuned != plain).any(), "one update has changed the adapter"


@pytest.mark.parametrize("run", [pytest.param("smollm2", marks=pytest.mark.slow)], indirect=True)
def test_the_merged_model_loads_in_transformers(run: Run) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run.work_dir / "latest" / "merged"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    chat = [{"role": "user", "content": "What is the capital of France? Answer briefly."}]
    tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    answer = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, tokens.shape[1] :])
