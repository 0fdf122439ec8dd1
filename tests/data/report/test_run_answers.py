"""Which answers are shown side by side, on which passages they rest, and what of a chunk is shown."""

from data.documents.chunks import Chunk
from data.report.run_answers import GivenAnswer, choose_examples, excerpt, group_failures, read_answer, show_question
from data.report.run_facts import PLAIN, PROOF, QUOTED

LONG = "Before it there is much to read. " * 30


def chunk(id: str, text: str) -> Chunk:
    return Chunk(id, f"document {id}", f"{id}.md", 0, len(text), ("Title", "Heading"), text)


CHUNKS = {
    "oracle": chunk("oracle", f"{LONG}It opened\nin 1931. {LONG}"),
    "other": chunk("other", "It closed in 1950. The end."),
}
PROOFS = {f"q{n}": ("It opened\nin 1931.",) for n in range(40)}


def given(number: int, rung: str, right: bool, cause: str = "", quotes: tuple[str, ...] = ()) -> GivenAnswer:
    return GivenAnswer(
        rung, f"q{number}", "When?", "1931", "1950", quotes, ("other",), ("oracle",), right, cause, "when", 0
    )


def test_examples_are_of_each_kind_by_their_share() -> None:
    """30 that only the tuned one answers right, 9 that neither does, 1 that only the base one does."""
    answers = [given(n, "base", n == 39) for n in range(40)] + [given(n, "tuned", n < 30) for n in range(40)]
    examples, told = choose_examples(answers, "base", "tuned", CHUNKS, PROOFS)
    kinds = [tuple(said.right for said in item.answers) for item in examples]
    assert len(kinds) == 10
    assert {kind: kinds.count(kind) for kind in kinds} == {(False, True): 7, (False, False): 2, (True, False): 1}
    assert told == (
        "10 of 40 questions, spread evenly over each group: 30 that only tuned answers right, 9 that neither answers "
        "right, 1 that only base answers right."
    )
    assert choose_examples(answers, "base", "tuned", CHUNKS, PROOFS)[0] == examples, "nothing is drawn by chance"
    assert len(choose_examples(answers[:3] + answers[40:43], "base", "tuned", CHUNKS, PROOFS)[0]) == 3
    assert choose_examples([], "base", "tuned", CHUNKS, PROOFS)[0] == []
    alone, _ = choose_examples(answers, "tuned", "tuned", CHUNKS, PROOFS)
    assert all(len(item.answers) == 1 for item in alone)


def test_the_quote_is_marked_in_its_context_whatever_the_white_space() -> None:
    shown = show_question([given(1, "tuned", True, quotes=("It opened in 1931.",))], CHUNKS, PROOFS)
    (passage,) = shown.passages
    assert passage.oracle and not passage.retrieved
    assert [text for text, kind in passage.pieces if kind == QUOTED] == ["It opened\nin 1931."]
    around = sum(len(text) for text, kind in passage.pieces if kind == PLAIN)
    assert 300 < around < 500, "so much that a person sees where it stands"
    (quote,) = shown.answers[0].quotes
    assert quote.place == "", "the oracle was not among the chunks shown"


def test_what_should_have_been_quoted_is_marked_otherwise_and_the_believed_distractor_is_shown() -> None:
    shown = show_question([given(1, "tuned", False, quotes=("It closed in 1950.", ""))], CHUNKS, PROOFS)
    oracle, distractor = shown.passages
    assert [text for text, kind in oracle.pieces if kind == PROOF] == ["It opened\nin 1931."]
    assert distractor.place == "other.md > Heading"
    assert distractor.pieces == (("It closed in 1950.", QUOTED), (" The end.", PLAIN))
    assert shown.answers[0].quotes[0].place == "other.md"


def test_chunks_that_are_gone_are_left_out() -> None:
    assert show_question([given(1, "tuned", False, quotes=("x",))], {}, {}).passages == []


def test_failures_come_by_their_cause_the_commonest_first() -> None:
    answers = [given(n, "tuned", False, "wrong" if n % 3 else "not retrieved") for n in range(12)]
    answers += [given(20, "tuned", True), given(1, "base", False, "wrong")]
    groups = group_failures(answers, "tuned", CHUNKS, PROOFS)
    assert [(group.cause, group.count) for group in groups] == [("wrong", 8), ("not retrieved", 4)]


def test_an_excerpt_ends_at_words() -> None:
    ((text, _),) = excerpt([(LONG, PLAIN)])
    assert text.endswith(" …") and LONG.startswith(text.removesuffix(" …")) and LONG[len(text) - 2] == " "
    before, mark, after = excerpt([(LONG, PLAIN), ("x" * 5000, QUOTED), (LONG, PLAIN)])
    assert before[0].startswith("… ") and LONG.endswith(before[0].removeprefix("… "))
    assert len(mark[0]) < 1300
    assert after[0].endswith(" …")
    assert len(excerpt([("語" * 5000, PLAIN)])[0][0]) < 500, "a language without spaces"


def test_an_evaluation_from_before_causes_were_told_is_read() -> None:
    line = {
        "rung": "r",
        "question_id": "q",
        "question": "?",
        "expected": "1931",
        "output": "##Reason: no answer",
        "answer": "",
        "quotes": [],
        "context_ids": [],
        "oracle_ids": [],
        "exact_match": 1.0,
    }
    old = read_answer(line)
    assert old.right
    assert old.text == "##Reason: no answer", "what is not in the format is shown as it came"
    assert (old.cause, old.kind, old.output_tokens) == ("", "", 0)
    new = read_answer({**line, "exact_match": 0.0, "cause": None})
    assert new.right, "an abstention that is right matches no words"
