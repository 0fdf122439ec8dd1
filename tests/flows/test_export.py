"""`jora export --to`: a model that is there already, as a folder; what is in the way stays."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from flows.settings.config import load_config
from tasks.records.models import Registry, describe_model
from tasks.records.runs import read_latest
from testing.command_line import jora
from testing.jobs_here import run_jobs_here
from testing.small_runs import SMALL, run_here, small_sources


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A finished run without an evaluation, whose model is registered."""
    sources = small_sources(tmp_path_factory.mktemp("run"), 3)
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        store = run_here(load_config(None, sources, (*SMALL, "export.data_license=cc-by-4.0")), "export")
    artifacts, settings = read_latest(store.work_dir)
    Registry(store.work_dir).register(store, describe_model(store, artifacts, settings, run=None))
    return store.work_dir


@pytest.fixture(autouse=True)
def _jobs_here(monkeypatch, prefect_server):
    run_jobs_here(monkeypatch)


GGUF_ADAPTER = ("--set", "export.gguf_lora=f16")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_last_run_then_another_export_in_its_place(monkeypatch, capsys, tmp_path, work):
    to = tmp_path / "new" / "model"
    options = ("export", "--work-dir", work, "--to", to)
    code, _ = jora(
        monkeypatch, capsys, *options, "--gguf", "q8_0", "--dtype", "bf16", "--shard-size", "0.2MB", *GGUF_ADAPTER
    )
    assert code == 0
    shards = sorted(to.glob("merged/*.safetensors"))
    assert len(shards) > 2 and all(path.stat().st_size < 700_000 for path in shards)
    assert {str(tensor.dtype) for path in shards for tensor in load_file(path).values()} == {"bfloat16"}
    assert json.loads((to / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    assert {"gguf/model-q8_0.gguf", "gguf/Modelfile", "gguf/README.md", "adapter/adapter_config.json"} <= names(to)
    assert "llama-cli -m base.gguf --lora adapter-f16.gguf" in (to / "gguf-adapter" / "README.md").read_text()
    assert (to / "gguf-adapter" / "adapter-f16.gguf").read_bytes().startswith(b"GGUF")
    mark = json.loads((to / "jora-export.json").read_text())
    assert set(mark["files"]) == names(to) - {"jora-export.json"}
    probe = mark["checked"]["probe"]
    assert probe["adapter"]["share"] <= 1e-5 and 0 < probe["merged"]["share"] < 0.05
    assert 0 < mark["checked"]["gguf_difference"] < 0.01
    card = (to / "merged" / "README.md").read_text()
    for told in (
        "vllm serve path/to/this/folder --served-model-name tuned --max-model-len 1024",
        "<s>[INST] Answer the question from the documents.",
        "[1] Title of the first document\nThe text of the first document.",
        "##Answer: the answer </s>",
        "Of the documents: cc-by-4.0",
        "| dataset (sha256) | ",
    ):
        assert told in card, told
    told = (to / "gguf" / "Modelfile").read_text()
    assert 'TEMPLATE """[INST] {{ .Prompt }} [/INST]"""' in told and 'PARAMETER stop "</s>"' in told
    # Another one in its place, by the name of the model.
    (model,) = Registry(work).all()
    code, _ = jora(monkeypatch, capsys, *options, "--model", model.name[:6], "--set", "export.merged=false")
    assert code == 0
    assert not (to / "merged").exists() and not (to / "gguf").exists() and (to / "adapter" / "README.md").is_file()
    assert sorted(path.name for path in to.parent.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "{full}"], "is neither empty nor an earlier export; give another folder: --to DIR"),
        (["--to", "{full}/mine.txt"], "is a file; give a folder"),
        (["--to", "{added}"], "is an earlier export with an extra file, adapter/mine.txt"),
        (["--to", "{new}", "--model", "nobody"], "there is no model 'nobody'"),
        (["--to", "{new}", "--model", "champion"], "no champion in"),
        (["--to", "{new}", "--gguf", "q2"], "export.gguf: Input should be 'none', 'f16', 'bf16' or 'q8_0'"),
        (["--to", "{new}", "--shard-size", "2TB"], "export.shard_size: write it as 24GB"),
        (["--to", "{new}", "--set", "lora.rank=2"], "only settings of export.* apply"),
        (["--to", "{new}", "--corpus", "x"], "--to exports an existing model"),
        (["--model", "latest"], "--model latest: say where to export it: --to DIR"),
    ],
)
def test_refused(monkeypatch, capsys, tmp_path, work, arguments, message):
    full, added = tmp_path / "full", tmp_path / "added"
    for folder in (full, added / "adapter"):
        folder.mkdir(parents=True)
        (folder / "mine.txt").write_text("mine")
    (added / "jora-export.json").write_text('{"files": {"adapter/README.md": ""}}')
    places = {"full": full, "added": added, "new": tmp_path / "new"}
    given = [argument.format(**places) for argument in arguments]
    code, line = jora(monkeypatch, capsys, "export", "--work-dir", work, *given)
    assert code == 2
    assert message in line
    assert (full / "mine.txt").read_text() == (added / "adapter" / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "new").exists()
