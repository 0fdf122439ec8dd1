"""The critic over real text with the real embedder: each filter rejects what it is for, and keeps the rest."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from data.critic.critique import FilterCount, filter_questions
from data.critic.settings import CriticSettings, check_critic
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.questions.questions import QuestionSettings, RawQuestion
from data.retrieval.index import ChunkIndex

MILL = make_document(
    "mill.md",
    "# The tidal mill\n\nThe mill on Ousel was begun in 1927. It was finished in 1929, after\ntwo wet winters. "
    "The miller may keep “one scoop” in seventeen.\n\nGoats are not allowed inside. The mast of the mill is 48 metres "
    "tall. The mast of the boat is 46 metres tall. The mill was painted red by Hesk Dellacorn.\n",
)
SHOP = make_document("shop.txt", "The shop of Brannoch sells rope and lamp oil. A goat lives behind the shop.\n")
FABRIK = make_document(
    "fabrik.txt",
    "Die Industrielle Revolution begann in England und breitete sich danach über ganz Europa aus. Die Arbeiter zogen "
    "in die Städte, und die Fabriken brauchten immer mehr Kohle.\n",
)
GONGYE = make_document("gongye.txt", "工业革命首先在英国开始，然后传播到欧洲大陆。工厂需要越来越多的煤炭和工人。\n")
DOCUMENTS = [MILL, SHOP, FABRIK, GONGYE]
GOOD = (
    RawQuestion("When was the mill on Ousel begun?", "1927", document="mill.md", written=True),
    RawQuestion("Who painted the mill on Ousel red?", "Hesk Dellacorn", document="mill.md", written=True),
    RawQuestion("What does the shop of Brannoch sell?", "rope and lamp oil", document="shop.txt", written=True),
    RawQuestion("Wo begann die Industrielle Revolution?", "in England", document="fabrik.txt", written=True),
    RawQuestion("工业革命首先在哪里开始？", "英国", document="gongye.txt", written=True),
)


@pytest.fixture(scope="module")
def judge(embedder):
    chunks = chunk_documents(DOCUMENTS, lambda texts: [len(text.split()) for text in texts], ChunkSettings())
    index = ChunkIndex.build(embedder.embed([c.search_text for c in chunks]), [c.id for c in chunks], embedder.digest)

    vectors = {}

    def embed(texts):
        """Each text once: most tests ask about the same."""
        fresh = [text for text in dict.fromkeys(texts) if text not in vectors]
        vectors.update(zip(fresh, embedder.embed(fresh), strict=True))
        return np.stack([vectors[text] for text in texts]) if texts else embedder.embed(texts)

    def search(texts, k):
        return index.search(embed(texts), k)[1]

    def run(*raws, **settings):
        return filter_questions(raws, DOCUMENTS, chunks, QuestionSettings(), CriticSettings(**settings), embed, search)

    return run


def written(question, answer, *quotes, document="mill.md"):
    return RawQuestion(question, answer, quotes, document, source="here", written=True)


def reasons(judged):
    return [rejected.reason for rejected in judged.rejected]


def test_good_questions_in_three_languages_pass_every_filter(judge):
    judged = judge(*GOOD)
    assert not judged.rejected and len(judged.questions) == 5
    filters = ["length", "self-contained", "grounding", "language", "support", "numbers", "near-duplicates"]
    assert judged.funnel == [FilterCount(name, 5, 0) for name in filters]


# (reason, question that has the fault, settings that reject it, settings that do not)
BAD = [
    (
        "length of the question",
        written("Why is the mill on Ousel red, and who had the idea?", "Dellacorn"),
        {"question_length": (4, 45)},
        {},
    ),
    (
        "length of the answer",
        written("How was the mill painted, and by whom?", "red by Hesk Dellacorn"),
        {"answer_length": (1, 20)},
        {},
    ),
    ("not self-contained", written("According to the passage, who painted it?", "Hesk"), {}, {"self_contained": False}),
    ("another language", written("Warum dürfen denn keine Ziegen hinein gehen?", "Goats"), {}, {"languages": ()}),
    (
        "answer not supported",
        written("Who sails the boat?", "Ida Noakley", "Goats are not allowed inside."),
        {},
        {"answer_recall": None},
    ),
    (
        "number not in the oracle",
        written("What is not allowed in the mill?", "goats, all 17 inside", "Goats are not allowed inside."),
        {},
        {"strict_numbers": False},
    ),
    (
        "near-duplicate question",
        written("when was the mill on Ousel begun, then?", "1927"),
        {"near_duplicate": 0.9},
        {"near_duplicate": None},
    ),
]


@pytest.mark.parametrize(("reason", "bad", "on", "off"), BAD, ids=[reason for reason, *_ in BAD])
def test_each_filter_rejects_its_kind_and_can_be_switched_off(judge, reason, bad, on, off):
    judged = judge(*GOOD, bad, **on)
    (rejected,) = judged.rejected
    assert (rejected.question, rejected.reason, rejected.source) == (bad.question, reason, "here") and rejected.detail
    assert judged.funnel[-1].kept == len(judged.questions) == 5 and sum(row.rejected for row in judged.funnel) == 1
    assert not judge(*GOOD, bad, **off).rejected


def test_given_questions_are_judged_on_request_only(judge):
    bad = [bad for _, bad, *_ in BAD]
    given = [replace(raw, written=False) for raw in (*GOOD, *bad)]
    assert judge(*given).funnel == [FilterCount("grounding", 12, 0)]
    assert judge(*GOOD, *bad, judge="none").funnel == [FilterCount("grounding", 12, 0)]
    assert reasons(judge(*given, judge="all")) == reasons(judge(*GOOD, *bad))
    assert len(judge(*given, judge="all").rejected) == 5


def test_a_quote_with_slips_becomes_the_documents_own_words(judge):
    quote = 'The miler may keep "one scoop" in seventeen.'
    judged = judge(written("How much may the miller of Ousel keep?", "one scoop", quote))
    (question,) = judged.questions
    assert question.quotes == ("The miller may keep “one scoop” in seventeen.",) and question.quote_source == "given"
    (repaired,) = judged.repaired
    assert (repaired.given, repaired.repaired, repaired.edits) == (quote, question.quotes[0], 1)
    assert reasons(judge(written("How much?", "one scoop", quote), repair_edits=0)) == ["quote not in document"]


def test_a_quote_is_not_repaired_where_it_would_change_the_answer_or_could_mean_two_places(judge):
    off = written("When was the mill of Ousel finished?", "1928", "It was finished in 1928, after two wet winters.")
    assert reasons(judge(off)) == ["quote differs at the answer"]
    either = written("How tall is the mast of Ousel?", "metres", "The mast of the moal is 47 metres tall.")
    assert reasons(judge(either, repair_edits=4)) == ["ambiguous quote"]
    made_up = written("What do goats eat on Ousel?", "rope", "Goats eat rope and lamp oil.")
    assert reasons(judge(made_up)) == ["quote not in document"]


def test_without_a_document_a_quote_with_slips_finds_it(judge):
    raw = RawQuestion("What does the shop sell?", "lamp oil", ("The shop of Branoch sells rope and lamp oil.",))
    judged = judge(raw)
    assert [q.document_id for q in judged.questions] == [SHOP.id] and len(judged.repaired) == 1


def test_an_answer_in_other_words_is_supported_by_meaning(judge):
    quote = "Goats are not allowed inside."
    free = written("May animals enter the mill on Ousel?", "Animals with horns may not go in", quote)
    assert reasons(judge(free)) == ["answer not supported"]
    assert not judge(free, answer_cosine=0.3).rejected
    assert reasons(judge(free, answer_cosine=0.95)) == ["answer not supported"]
    assert reasons(judge(free, answer_recall=None, answer_cosine=0.95)) == ["answer not supported"]


def test_of_near_duplicates_the_one_with_the_given_quote_is_kept_and_numbers_tell_apart(judge):
    first = written("When was the mill on Ousel begun?", "1927")
    quoted = written("When was the mill at Ousel begun?", "1927", "The mill on Ousel was begun in 1927.")
    for pair in ((first, quoted), (quoted, first)):
        judged = judge(*pair)
        assert [q.question for q in judged.questions] == [quoted.question]
        assert "When was the mill at Ousel begun?" in judged.rejected[0].detail
    apart = [written(f"Who painted the mill red in {year}?", "Hesk Dellacorn") for year in (1950, 1951)]
    assert not judge(*apart).rejected
    when = written("When was the mill on Ousel painted red?", "in 1950", "The mill was painted red by Hesk Dellacorn.")
    assert not judge(
        written("Who painted the mill on Ousel red?", "Hesk Dellacorn"),
        when,
        near_duplicate=0.5,
        strict_numbers=False,
        answer_recall=None,
    ).rejected, "answered in other words"
    person = RawQuestion(first.question, first.answer, document="mill.md")
    assert [q.question for q in judge(quoted, person).questions] == [person.question], "what a person gave stays"


def test_same_questions_same_verdicts(judge):
    raws = [*GOOD, *(bad for _, bad, *_ in BAD)]
    assert judge(*raws) == judge(*raws)


def test_settings_are_checked():
    for wrong in ({"question_length": (9, 3)}, {"languages": ("English",)}, {"repair_edits": 5}, {"answer_recall": 0}):
        with pytest.raises(ValidationError):
            CriticSettings(**wrong)
    check_critic(CriticSettings(languages=("en", "document")))
    with pytest.raises(ValueError, match=r"critic.languages: 'qq' cannot be detected. Supported: ace, af"):
        check_critic(CriticSettings(languages=("qq",)))
