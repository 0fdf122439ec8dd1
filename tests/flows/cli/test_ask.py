"""`jora ask` on a finished run: an answer, and one clear line for whatever is not there or damaged."""

import io
import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from data.documents.chunks import Chunk
from data.prompting.prompts import BEGIN_QUOTE, REASON, raft_output
from flows.cli import main as cli
from flows.cli.ask import _Printer
from flows.serving.opening import open_last_run
from jora_model.formats.lora import fresh_adapter, write_adapter
from jora_model.generation.guide import Grammars, Guide
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import GenerationSettings, LoraSettings
from tasks.answering.answering import PreparedQuestion, answer_together
from tasks.answering.asked_models import AskedModel
from tasks.records.models import Registry
from tasks.store.artifacts import Artifact
from testing.command_line import jora
from testing.small_runs import foreign_adapter
from testing.small_tokenizers import smollm2


@pytest.fixture
def work(finished_copy: Path) -> Path:
    """The work directory of a run that built a dataset and nothing after it, moved."""
    path = finished_copy / "latest" / "run.json"
    record = json.loads(path.read_text())
    for name in ("adapter", "evaluation", "export"):
        del record["artifacts"][name]
    path.write_text(json.dumps(record))
    return finished_copy


def test_base_answers_from_a_moved_work_directory(monkeypatch, capsys, work):
    code, line = jora(monkeypatch, capsys, "ask", "Who broke a collarbone?", "--work-dir", work, "--base")
    assert (code, line) == (0, "")


def test_no_adapter_yet(monkeypatch, capsys, work):
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work)
    assert code == 2
    assert f"trained no adapter; run: jora train --work-dir {work}" in line


def test_a_quote_is_shown_with_its_page_as_it_is_written(capsys):
    chunk = Chunk("c", "d", "handbook.pdf", 0, 20, ("The mill",), "It rests in March.", pages=(3, 4))
    base, tuned = (Artifact(kind=kind, digest=digit * 32, bytes=1) for kind, digit in (("base", "b"), ("a", "a")))
    model = AskedModel("m", base, tuned, "chat")
    asked = PreparedQuestion("When?", model, (chunk,), np.zeros(1, np.int32), smollm2(), None)
    answer, printer = asked.answer(), _Printer(asked)
    tokens = smollm2().encode(raft_output("in March", ["It rests in March.", "It never rests."]))
    shown = []
    for token in tokens:
        printer.show(answer.feed(token))
        shown.append(capsys.readouterr().out)
    printer.show(answer.finish())
    printer.end(answer)
    assert sum(map(bool, shown)) > 8, "token by token"
    assert "".join(shown) + capsys.readouterr().out == (
        '  "It rests in March."\n  handbook.pdf, pages 3 to 4, The mill\n'
        '  "It never rests."\n  (not verbatim in the retrieved documents: do not rely on it)\n'
        "\nin March\n"
    )


def test_only_a_tuned_model_that_is_to_quote_verbatim_is_held() -> None:
    chunk = Chunk("c", "d", "handbook.pdf", 0, 20, ("The mill",), "It rests in March.")
    base = Artifact(kind="base", digest="b" * 32, bytes=1)
    tokenizer = smollm2()
    backend = tokenizer._tokenizer
    grammars = Grammars(Path(backend.name_or_path), len(backend), (tokenizer.end_id("chat"),))

    def guide(adapter: Artifact | None, quotes: str) -> Guide | None:
        model = AskedModel("m", base, adapter, "chat")
        asked = PreparedQuestion("When?", model, (chunk,), np.zeros(1, np.int32), tokenizer, grammars)
        return asked.request(GenerationSettings(quotes=quotes)).guide

    tuned = Artifact(kind="a", digest="a" * 32, bytes=1)
    assert guide(None, "verbatim") is None and guide(tuned, "free") is None
    held = guide(tuned, "verbatim")
    for token in tokenizer.encode(f"{REASON} {BEGIN_QUOTE}"):
        held.take(token, token)
    (it,), (she,) = tokenizer.encode("It"), tokenizer.encode("She")
    assert [bool(held.allowed[token // 8] >> (token % 8) & 1) for token in (it, she)] == [True, False]


def run(monkeypatch, capfd, *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["jora", "ask", *map(str, arguments)])
    with suppress(SystemExit):
        cli.main()
    return capfd.readouterr().out


def test_the_tuned_model_answers(monkeypatch, capfd, finished):
    question = "Who broke a collarbone?"
    printed = {name: run(monkeypatch, capfd, question, "--work-dir", finished, *given) for name, given in GIVEN.items()}
    assert "retrieved: " in printed["latest"]
    assert printed["latest"] == printed["champion"] == printed["name"] != printed["base"]
    assert printed["both"].count("│") > 2 and "base" in printed["both"]


GIVEN = {
    "latest": (),
    "champion": ("--model", "champion"),
    "name": ("--model", "latest"),
    "base": ("--base", "--model", "champion"),
    "both": ("--compare",),
}


def test_an_adapter_from_elsewhere_answers(monkeypatch, capfd, finished, tmp_path):
    """As `jora_model` computes it: the same adapter by its folder and by its name, and another one."""
    question = ("Who broke a collarbone?", "--work-dir", finished)
    latest = run(monkeypatch, capfd, *question)
    assert latest == run(monkeypatch, capfd, *question, "--model", finished / "latest" / "adapter")
    config = ModelConfig.read(finished.parent / "base")
    assert latest != run(monkeypatch, capfd, *question, "--model", foreign_adapter(tmp_path / "adapter", config))
    other = run(monkeypatch, capfd, *question, "--compare", "--model", tmp_path / "adapter")
    assert other.count("│") > 2
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    code, line = jora(monkeypatch, capfd, "ask", *question, "--model", tmp_path / "adapter")
    assert code == 2 and "a pickle, which may run any code" in line


def test_a_model_with_a_head_of_its_own_answers_alone(monkeypatch, capfd, finished, tmp_path):
    """It cannot share the base's with others; DoRA can."""
    question = ("Who broke a collarbone?", "--work-dir", finished)
    config, lora = ModelConfig.read(finished.parent / "base"), LoraSettings(rank=2)
    factors = fresh_adapter(config, lora, 0)
    head = np.random.default_rng(0).normal(0, 0.1, (config.vocab_size, config.hidden_size)).astype(np.float32)
    write_adapter(tmp_path / "own", factors, lora, "base", whole={"lm_head.weight": head})
    lengths = {name: np.ones(b.shape[:2], np.float32) for name, (_, b) in factors.items()}
    write_adapter(tmp_path / "dora", factors, lora, "base", lengths)
    base = run(monkeypatch, capfd, *question, "--base")
    assert base != run(monkeypatch, capfd, *question, "--model", tmp_path / "own")
    code, line = jora(monkeypatch, capfd, "ask", *question, "--compare", "--model", tmp_path / "own")
    assert (
        code == 2 and "(lm_head.weight), which models that are served together share: ask or serve this model" in line
    )
    assert run(monkeypatch, capfd, *question, "--compare", "--model", tmp_path / "dora").count("│") > 2


def test_questions_line_by_line(monkeypatch, capfd, finished):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Who broke a collarbone?\n\n" + "Why? " * 2000 + "\nWho else?\n"))
    printed = run(monkeypatch, capfd, "--work-dir", finished)
    assert printed.count("retrieved: ") == 2, "and the one that is too long does not end it"


def test_base_beside_tuned_is_what_each_says_alone(finished):
    opened, config = open_last_run(str(finished), ["base", "latest"], slots=2)
    asked = [opened.ask("Who broke a collarbone?", opened.find(name)) for name in ("base", "latest")]

    def answers(*together: PreparedQuestion) -> list[str]:
        found = {place: answer for place, _, answer in answer_together(opened.engine, together, config.generation)}
        return [found[place].parsed.answer for place in range(len(together))]

    assert answers(*asked) == answers(asked[0]) + answers(asked[1])
    assert opened.engine.idle
    name = Registry(finished).all()[0].name
    assert opened.find("latest").name == name and opened.names == ("latest", "base", name)
    with pytest.raises(ValueError, match="no model 'nobody' here; there are: latest, base, "):
        opened.find("nobody")


def test_base_and_compare(monkeypatch, capsys, tmp_path):
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--base", "--compare")
    assert code == 2 and "leave --base out" in line


@pytest.mark.parametrize("question", ["", "  \n"])
def test_empty_question(monkeypatch, capsys, work, question):
    code, line = jora(monkeypatch, capsys, "ask", question, "--work-dir", work)
    assert code == 2
    assert "the question is empty" in line


def test_corrupt_index(monkeypatch, capsys, work):
    (index,) = (work / "artifacts" / "index").glob("*/index.faiss")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work, "--base")
    assert code == 2
    assert "index.faiss has other content than was written; run the flow again" in line


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\x80", b'{"artifacts": {"base": 1}, "settings": {}}'])
def test_damaged_record_of_the_run(monkeypatch, capsys, work, content):
    (work / "latest" / "run.json").write_bytes(content)
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work, "--base")
    assert code == 2
    assert "run.json is damaged" in line


def test_settings_of_another_version(monkeypatch, capsys, work):
    record = json.loads((work / "latest" / "run.json").read_text())
    record["settings"]["evaluation"]["rungs"] = 7
    (work / "latest" / "run.json").write_text(json.dumps(record))
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work, "--base")
    assert code == 2
    assert "settings unknown to this version (evaluation.rungs:" in line


@pytest.mark.parametrize("name", ["folder", "file", "nowhere"])
def test_no_run_there(monkeypatch, capsys, tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", tmp_path / name)
    assert code == 2
    assert "no finished run in" in line
    assert not list((tmp_path / "folder").iterdir()), "a question leaves nothing in somebody's folder"
