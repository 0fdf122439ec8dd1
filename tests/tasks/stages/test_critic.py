"""The round trip's stages: what is asked, and what is kept when some answers come back and others do not."""

import json

import numpy as np
import pytest

from data.critic.round_trip import RoundTrip
from data.files.jsonl import read_jsonl
from data.questions.questions import Rejected
from data.raft.sequences import read_prompts
from flows.cli.console import _show_filters
from flows.pipeline.stages import Pipeline
from flows.settings.checks import check_dataset
from flows.settings.config import load_config
from jora_model.generation.prompt_files import write_tokens
from tasks.stages.critic import ask_again, ask_server_again, keep_answered
from tasks.stages.loading import open_questions, open_tokenizer
from tasks.stages.teacher import ask_server
from tasks.store.store import Store
from testing.small_runs import SMALL, small_sources
from testing.teacher_runs import teacher_at
from testing.teacher_server import Reply, completion, serve

ENDPOINT = (
    "critic.round_trip=0.5",
    "teacher.kind=endpoint",
    "teacher.base_url=http://127.0.0.1:1/v1",
    "teacher.model=m",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Pipeline:
    """A small run as far as the dataset."""
    folder = tmp_path_factory.mktemp("run")
    config = load_config(None, small_sources(folder), (*SMALL, "critic.judge=all"))
    pipeline = Pipeline(Store(folder / "work"), config, lambda stage, *args: stage.fn(*args))
    pipeline.dataset()
    return pipeline


def asked(run):
    a, c = run.artifacts, run.config
    return ask_again.fn(
        run.store, a["raw_questions"], a["questions"], a["chunks"], a["base"], c.critic, c.raft.prompt_style
    )


def kept(run, prompts, answers, at_least):
    """The questions artifact after answers (texts, in the order of the prompts) have come back."""
    tokenizer = open_tokenizer(run.store, run.artifacts["base"])
    ids = [prompt.id for prompt in read_prompts(run.store.path(prompts))]
    with run.store.build("answers", inputs=(prompts,)) as build:
        write_tokens(build.folder, "answers", ids, [np.array(tokenizer.encode(text), np.int32) for text in answers])
    critic = run.config.critic.model_copy(update={"round_trip": at_least})
    return keep_answered.fn(
        run.store, run.artifacts["questions"], prompts, build.artifact, run.artifacts["base"], critic
    )


def test_each_question_is_asked_over_its_oracle(run):
    prompts = asked(run)
    questions = open_questions(run.store, run.artifacts["questions"], "train")
    read = read_prompts(run.store.path(prompts))
    assert [prompt.id for prompt in read] == [question.id for question in questions]
    tokenizer = open_tokenizer(run.store, run.artifacts["base"])
    for prompt, question in zip(read, questions, strict=True):
        text = " ".join(tokenizer.decode(prompt.tokens.tolist()).split())
        assert question.question in text and all(" ".join(quote.split()) in text for quote in question.quotes)


def test_what_comes_back_otherwise_is_rejected_and_counted(run):
    prompts = asked(run)
    before = {part: open_questions(run.store, run.artifacts["questions"], part) for part in ("train", "eval")}
    everything = before["train"]
    answers = [question.answer if number % 3 else "a pelican" for number, question in enumerate(everything)]
    after = kept(run, prompts, answers, 0.5)
    folder = run.store.path(after)
    left = open_questions(run.store, after, "train")
    assert open_questions(run.store, after, "eval") == before["eval"], "the base chooses no question of the evaluation"
    trips = {trip.question_id: trip for trip in read_jsonl(folder / "round_trip.jsonl", RoundTrip)}
    assert len(trips) == len(everything)
    assert left == [question for question in everything if trips[question.id].token_f1 >= 0.5]
    assert 0.5 * len(everything) < len(left) < len(everything)
    rejected = read_jsonl(folder / "rejected.jsonl", Rejected)
    assert {item.reason for item in rejected} == {"another answer on the round trip"}
    assert after.count("rejected: another answer on the round trip") == len(rejected) == len(everything) - len(left)
    row = json.loads((folder / "filters.json").read_text())[-1]
    assert row == {"filter": "round trip", "kept": len(left), "rejected": len(rejected)}
    assert kept(run, prompts, answers, 0.0).count("rejected") == 0


def answers_to(questions, wrong):
    """A server that answers these questions, some of them wrongly."""

    def script(number, body, headers):
        assert "response_format" not in body
        asked = body["messages"][0]["content"].rpartition("Question: ")[2]
        question = next(question for question in questions if " ".join(question.question.split()) == asked)
        return Reply(body=completion("quite another thing" if question.id in wrong else question.answer))

    return script


def test_a_teacher_behind_a_server_is_asked_within_its_budget(run):
    a = run.artifacts
    judged = (run.store, a["raw_questions"], a["questions"], a["chunks"], run.config.critic)
    questions = open_questions(run.store, a["questions"], "train")
    wrong = {question.id for question in questions[::4]}
    with serve(lambda number, body, headers: None) as server:
        teacher = teacher_at(server, max_tokens=20)
        written = ask_server.fn(run.store, a["chunks"], teacher)
        spent, calls = written.count("tokens"), len(server.bodies)
        server.script = answers_to(questions, wrong)
        with pytest.raises(ValueError, match=rf"budget is spent: {spent:,} tokens .* {len(questions)} calls remain"):
            ask_server_again.fn(*judged, teacher.model_copy(update={"budget_tokens": spent + 20}))
        assert len(server.bodies) == calls
        answers = ask_server_again.fn(*judged, teacher)
        assert len(server.bodies) == calls + len(questions) == calls + answers.count("calls")
        assert ask_server_again.fn(*judged, teacher) == answers
        assert len(server.bodies) == calls + len(questions), "asked again"
    ledger = (run.store.work_dir / "teacher" / "ledger.jsonl").read_text().splitlines()
    assert len(ledger) == len(server.bodies)
    critic = run.config.critic.model_copy(update={"round_trip": 0.5})
    after = keep_answered.fn(run.store, a["questions"], None, answers, None, critic)
    left = open_questions(run.store, after, "train")
    assert {question.id for question in left} == {question.id for question in questions} - wrong
    assert after.count("rejected: another answer on the round trip") == len(wrong)


def test_who_is_asked_is_a_setting(run):
    """round_trip_by, for each kind of teacher."""

    def stages(*sets):
        config = load_config(None, run.config.model_dump(mode="json", exclude_defaults=True), ENDPOINT + sets)
        check_dataset(config)
        names, models = [], []

        def note(stage, store, *args):
            names.append(stage.name)
            models.extend(arg for arg in args if arg in ("base", "teacher"))
            return stage.name

        pipeline = Pipeline(run.store, config, note)
        pipeline.artifacts = {name: name for name in ("raw_questions", "questions", "chunks", "base", "teacher")}
        pipeline._round_trip()
        return names, set(models)

    here = ["ask-again", "generate-answers", "keep-answered"]
    assert stages() == (here, {"base"})
    assert stages("critic.round_trip_by=teacher") == (["ask-teacher-again", "keep-answered"], set())
    assert stages("critic.round_trip_by=teacher", "teacher.kind=local") == (here, {"teacher"})
    with pytest.raises(ValueError, match=r"round_trip_by=teacher needs a teacher, and teacher.kind is given"):
        stages("critic.round_trip_by=teacher", "teacher.kind=given")


def test_a_round_trip_that_leaves_nothing_says_what_to_do(run):
    prompts = asked(run)
    count = len(read_prompts(run.store.path(prompts)))
    with pytest.raises(
        ValueError, match=rf"the round trip rejected all train questions \({count} of {count} in all\): lower"
    ):
        kept(run, prompts, ["a pelican"] * count, 0.9)


def test_the_filters_are_shown_at_the_end_of_a_build(run, capsys):
    questions = run.artifacts["questions"]
    _show_filters(run.store.path(questions))
    total = str(questions.count("train") + questions.count("eval"))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["questions", "kept", "rejected"]
    names = ["length", "self-contained", "grounding", "language", "support", "numbers", "near-duplicates", "split"]
    assert [line.split()[0] for line in shown[1:9]] == names
    assert all(line.split()[1:] == [total, "0"] for line in shown[1:9]), shown
