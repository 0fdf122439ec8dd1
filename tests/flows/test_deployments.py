"""The deployments, for real: a server, a process worker, deploy/set_up.py, runs of deployments on the samples.

Runs are killed and cancelled, and heal; a schedule gets its runs; templates for Docker and Kubernetes are taken.
"""

import http.server
import importlib.util
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from flows.pipeline.turns import turn
from tasks.store.store import Store
from testing.box import ROOT, Box
from testing.small_runs import SMALL, as_parameters, small_sources
from testing.waiting import wait_for

UPDATES = 60


KINDS = [kind for kind in ("docker", "kubernetes") if importlib.util.find_spec(f"prefect_{kind}")]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A server of this file's own, set up, with a worker on the pool."""
    box = Box(tmp_path_factory.mktemp("box"), PREFECT_LOGGING_TO_API_ENABLED="true")
    box.environment.pop("XLA_FLAGS", None)
    try:
        box.start_server()
        box.environment["JORA_IMAGE"] = "somewhere/jora-raft"
        box.command("deploy/set_up.py", "process", *KINDS)
        box.start_worker()
        yield box
    finally:
        box.stop()


@pytest.fixture(scope="module")
def given(box: Box) -> dict[str, Any]:
    """Parameters of a run that takes seconds, in one work directory for all."""
    return as_parameters(small_sources(box.folder), SMALL)


@pytest.fixture(scope="module")
def silent(box: Box) -> str:
    """A run whose machine went down a while ago: it is Running, and there will be no other heartbeat.

    Of a deployment on a pool without a worker, so that nothing runs when it is started again. Asked for by the first
    test and looked at by the last: the server takes its time meanwhile.
    """
    box.ask("POST", "work_pools/", {"name": "nobody", "type": "process"})
    run = box.run(idle_deployment(box, "silent", tags=["raft"]), {})
    for state in ("PENDING", "RUNNING"):
        box.ask("POST", f"flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
    beat = {
        "id": str(uuid4()),
        "event": "prefect.flow-run.heartbeat",
        "occurred": (datetime.now(UTC) - timedelta(seconds=45)).isoformat(),
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [{"prefect.resource.id": "prefect.tag.raft", "prefect.resource.role": "tag"}],
    }
    box.ask("POST", "events", [beat])
    return run


def idle_deployment(box: Box, name: str, **more: Any) -> str:
    """FLOW/DEPLOYMENT of a new deployment on the pool without a worker."""
    flow = box.ask("POST", "flows/", {"name": "idle"})["id"]
    box.ask("POST", "deployments/", {"name": name, "flow_id": flow, "work_pool_name": "nobody", **more})
    return f"idle/{name}"


def materialized(box: Box) -> dict[str, set[str]]:
    """Assets of which the server has heard, with those that they are made of."""
    only = {"filter": {"event": {"name": ["prefect.asset.materialization.succeeded"]}}, "limit": 50}
    return {
        event["resource"]["prefect.resource.id"]: {
            item["prefect.resource.id"] for item in event["related"] if item["prefect.resource.role"] == "asset"
        }
        for event in box.ask("POST", "events/filter", only)["events"]
    }


@pytest.mark.slow
def test_the_weekly_deployment_runs_on_the_samples(box: Box, given: dict[str, Any], silent: str) -> None:
    """All but the ladder, which is most of the time of a run this short, and has its own tests."""
    listed = {line["name"] for line in json.loads(box.command("prefect", "deployment", "ls", "-o", "json"))}
    assert listed >= {"weekly", "on-demand"}
    printed = box.command(
        "prefect", "deployment", "run", "raft-finetune/weekly", "--watch",
        "--params", json.dumps({**given, "until": "export"}),
    )  # fmt: skip
    assert "Completed" in printed
    for name in ("dataset", "training", "adapter", "merged"):
        assert (Path(given["work_dir"]) / "latest" / name).is_dir()
    work = f"jora://work-{(Path(given['work_dir']) / 'asset-id').read_text().strip()}"
    wait_for(lambda: f"{work}/export" in materialized(box), 60, "events of assets", pause=0.5)
    made = materialized(box)
    assert made[f"{work}/adapter"] == {f"{work}/dataset"}
    assert made[f"{work}/export"] >= {f"{work}/adapter"}
    assert made[f"{work}/chunks"] == {f"{work}/documents"}
    runs = box.ask("POST", "flow_runs/filter", {})
    (run,) = (run["id"] for run in runs if run["name"].startswith("raft-finetune documents"))
    logged = box.ask("POST", "logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200})
    assert any(line["message"].startswith("attention: ") for line in logged), "the log of the job is there too"


@pytest.mark.slow
def test_a_killed_run_heals_and_a_cancelled_one_can_go_on(box: Box, given: dict[str, Any]) -> None:
    long = {"max_updates": UPDATES, "epochs": 30, "checkpoint_every": 1}
    parameters = {**given, "training": {**given["training"], **long}}
    del parameters["evaluation"]
    run = box.run("train-adapter/on-demand", parameters)
    await_updates(box, given, 3)
    box.kill("flow")
    wait_for(lambda: not box.pids("trainer"), 20, "the trainer to end with its flow")
    # It may be in that state for less than a second: the worker takes it up at once.
    wait_for(lambda: "AwaitingRetry" in [state["name"] for state in box.states(run)], 60, "the run to be healed", 0.3)

    before = updates(given)
    await_updates(box, given, before + 3)
    assert box.state(run) == "Running"
    box.command("prefect", "flow-run", "cancel", run)
    start = time.monotonic()
    wait_for(lambda: not box.pids("trainer"), 20, "the trainer to end with its run")
    assert time.monotonic() - start < 15
    box.wait(run, "Cancelled", seconds=30)
    names = [state["name"] for state in box.states(run)]
    assert names.count("Crashed") == 1, names
    assert names.count("Running") == 2, names

    again = box.run("train-adapter/on-demand", parameters)
    box.wait(again, "Completed", "Failed", "Crashed")
    assert box.state(again) == "Completed"
    summary = json.loads((Path(given["work_dir"]) / "latest" / "training" / "training.json").read_text())
    assert summary["updates_in_this_process"] < summary["updates"] == UPDATES


@pytest.mark.slow
def test_a_run_is_cancelled_where_another_trains(box: Box, given: dict[str, Any]) -> None:
    with turn(Store(given["work_dir"]), "adapter", "wait", logging.getLogger(__name__)):
        run = box.run("evaluate-model/on-demand", {**given, "when_busy": "cancel"})
        box.wait(run, "Completed", "Failed", "Crashed", "Cancelled")
    assert box.states(run)[-1]["name"] == "Cancelled"
    assert "another run trains in" in box.states(run)[-1]["message"]


@pytest.fixture
def chat() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a chat, and what it is told."""
    told: list[dict[str, Any]] = []

    class Chat(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


@pytest.mark.slow
def test_bad_values_are_one_line_and_a_chat_is_told(box: Box, given: dict[str, Any], chat: Any) -> None:
    """What the form's schema knows is refused when a run is asked for; the rest is the state of the run."""
    address, told = chat
    box.environment["JORA_WEBHOOK_URL"] = address
    box.command("deploy/notify.py")
    params = json.dumps({**given, "raft": {"oracle_share": 1}})
    refused = box.command("prefect", "deployment", "run", "raft-finetune/weekly", "--params", params, check=False)
    assert "oracle_share" in refused
    run = box.run("raft-finetune/weekly", {**given, "lora": {"target_modules": ["query"]}})
    box.wait(run, "Failed", "Completed", "Crashed")
    message = box.states(run)[-1]["message"]
    assert "query match no layer; allowed are attention" in message
    assert "\n" not in message
    wait_for(lambda: bool(told), 30, "the chat to be told")
    assert told[0]["text"].endswith(f"failed: {message}")


@pytest.mark.slow
def test_a_minutely_schedule_gets_its_runs(box: Box, silent: str) -> None:
    """With some versions of SQLAlchemy it never does, and nobody says so."""
    schedule = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    idle_deployment(box, "minutely", schedules=[schedule])
    chosen = {
        "deployments": {"name": {"any_": ["minutely"]}},
        "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}},
    }
    wait_for(lambda: len(box.ask("POST", "flow_runs/filter", chosen)) >= 3, 90, "scheduled runs")


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
@pytest.mark.slow
def test_templates_are_taken(box: Box, kind: str) -> None:
    if kind not in KINDS:
        pytest.skip(f"prefect-{kind} is not installed")
    listed = json.loads(box.command("prefect", "deployment", "ls", "-o", "json"))
    assert sum(line["name"] == kind for line in listed) == 5
    pool = box.ask("GET", f"work_pools/jora-{kind}")
    assert pool["concurrency_limit"] == 1
    variables = box.ask("GET", f"deployments/name/train-adapter/{kind}")["job_variables"]
    assert variables["image"].endswith("jora-raft")
    assert set(variables) <= set(pool["base_job_template"]["variables"]["properties"])


@pytest.mark.parametrize("name", ["kubernetes-job", "training-job"])
def test_manifests_have_no_unknown_field(name: str) -> None:
    """Kubernetes drops what it does not know, and says so to nobody who reads it."""
    client = pytest.importorskip("kubernetes_asyncio.client")
    documents = list(yaml.safe_load_all((ROOT / "deploy" / f"{name}.yaml").read_text()))
    for manifest in [documents[0]["job_manifest"]] if name == "kubernetes-job" else documents:
        assert known(client, manifest) == manifest


def known(client: Any, manifest: dict[str, Any]) -> Any:
    """What of a manifest the classes of the Kubernetes client have a place for."""

    def keep(value: Any, kind: str) -> Any:
        if kind.startswith("list["):
            return [keep(item, kind[5:-1]) for item in value] if isinstance(value, list) else value
        model = getattr(client.models, kind, None)
        if model is None or not isinstance(value, dict):
            return value
        names = {there: ours for ours, there in model.attribute_map.items()}
        return {key: keep(item, model.openapi_types[names[key]]) for key, item in value.items() if key in names}

    return keep(manifest, {"Job": "V1Job", "Service": "V1Service"}[manifest["kind"]])


@pytest.mark.slow
def test_a_run_that_fell_silent_is_crashed_then_started_again(box: Box, silent: str) -> None:
    wait_for(lambda: "AwaitingRetry" in states(box, silent), 150, "the automations")
    assert states(box, silent).count("Crashed") == 1


def states(box: Box, run: str) -> list[str]:
    return [state["name"] for state in box.states(run)]


def updates(given: dict[str, Any]) -> int:
    files = Path(given["work_dir"]).glob("scratch/*/output/metrics.jsonl")
    return sum(path.read_text().count("\n") for path in files)


def await_updates(box: Box, given: dict[str, Any], count: int) -> None:
    wait_for(lambda: bool(box.pids("trainer")) and updates(given) >= count, 120, f"update {count}")
