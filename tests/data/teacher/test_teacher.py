"""What a teacher is asked, and settings that contradict one another."""

from collections import Counter

import pytest
from pydantic import ValidationError

from data.documents.chunks import Chunk
from data.teacher.plan import plan_calls
from data.teacher.settings import KindShares, TeacherSettings
from testing.raft_corpus import make_chunk

ENDPOINT = {"kind": "endpoint", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
FACTS = KindShares(fact=1, why=0, how_to=0, compare=0, unanswerable=0)


def chunks_of(document: str, count: int) -> list[Chunk]:
    return [make_chunk(f"{document}-{n}", f"Text {n} of {document}.", document, (document,)) for n in range(count)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "endpoint"}, "base_url and model"),
        (ENDPOINT | {"base_url": "localhost:8000/v1"}, "http"),
        (ENDPOINT | {"base_url": "http://me:secret@host/v1"}, "must not hold a password"),
        (ENDPOINT | {"base_url": "https://host/v1?api-key=secret"}, "must not hold a password or query"),
        (ENDPOINT | {"budget_cost": 1.0}, "price_in"),
        (ENDPOINT | {"kinds": {"fact": 0, "why": 0, "how_to": 0, "compare": 0, "unanswerable": 0}}, "share 0"),
        (ENDPOINT | {"concurrency": 0}, "concurrency"),
    ],
)
def test_settings_that_do_not_fit_together(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TeacherSettings(**fields)


def test_a_key_in_place_of_a_name_is_refused_and_not_repeated() -> None:
    from flows.settings.config import load_config

    with pytest.raises(ValueError, match="name of an environment variable") as caught:
        load_config(None, {}, ("teacher.api_key_env=sk-very-secret-1234",))
    assert "sk-very" not in str(caught.value)


def test_kinds_follow_the_shares() -> None:
    calls = plan_calls(chunks_of("a", 400), TeacherSettings(questions_per_chunk=5))
    kinds = Counter(kind for call in calls for kind in call.kinds)
    assert kinds.total() == 2000
    for kind, share in KindShares().shares.items():
        assert abs(kinds[kind] / 2000 - share / 10) < 0.04
    assert all((len(call.chunks) == 2) == ("compare" in call.kinds) for call in calls)
    assert all(len(set(call.chunks)) == len(call.chunks) for call in calls)


def test_a_comparison_stays_in_one_document() -> None:
    corpus = [*chunks_of("a", 3), *chunks_of("b", 2), *chunks_of("c", 1)]
    calls = plan_calls(corpus, TeacherSettings(kinds=KindShares(fact=0, why=1, how_to=0, compare=9, unanswerable=0)))
    assert all(len({chunk.document_id for chunk in call.chunks}) == 1 for call in calls)
    assert {kind for call in calls if call.chunks[0].document_id == "c" for kind in call.kinds} == {"why"}


def test_only_comparisons_and_nothing_to_compare() -> None:
    only = KindShares(fact=0, why=0, how_to=0, compare=1, unanswerable=0)
    with pytest.raises(ValueError, match="no document has two chunks"):
        plan_calls(chunks_of("a", 1), TeacherSettings(kinds=only))


def test_a_corpus_that_grows_asks_only_about_what_is_new() -> None:
    settings = TeacherSettings()
    first = plan_calls(chunks_of("a", 5), settings)
    more = plan_calls([*chunks_of("0", 4), *chunks_of("a", 5)], settings)
    prompts = {call.prompt for call in more}
    assert {call.prompt for call in first} <= prompts
    assert len(prompts) > len(first)


def test_a_limit_keeps_the_number_and_is_a_part_of_the_whole() -> None:
    corpus = chunks_of("a", 20)
    few, more = (plan_calls(corpus, TeacherSettings(max_questions=limit, kinds=FACTS)) for limit in (7, 15))
    assert [sum(len(call.kinds) for call in calls) for calls in (few, more)] == [7, 15]
    asked, asked_later = ({call.chunks for call in calls} for calls in (few, more))
    assert asked < asked_later
    other = plan_calls(corpus, TeacherSettings(max_questions=7, kinds=FACTS, seed=1))
    assert {call.chunks for call in other} != asked


def test_the_prompt_holds_texts_headings_and_kinds() -> None:
    call = plan_calls(chunks_of("a", 1), TeacherSettings(kinds=FACTS, questions_per_chunk=2))[0]
    message = call.prompt.message
    assert "Text 1 (a):\nText 0 of a." in message
    wanted = "fact: asks for a fact that the text states"
    assert message.endswith(f"Write 2 questions:\n1. {wanted}\n2. {wanted}")
