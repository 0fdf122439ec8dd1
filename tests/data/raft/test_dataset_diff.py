from dataclasses import replace

from data.documents.documents import make_document
from data.raft.alpaca import AlpacaRecord
from data.raft.dataset_diff import compare_datasets


def record(name: str, text: str = "x") -> AlpacaRecord:
    return AlpacaRecord(name, "Answer.", text, "y", name, "g", (), (), False)


def test_what_changed():
    old = [make_document(f"{name}.md", name) for name in "abc"]
    new = [old[0], make_document("b.md", "another b"), make_document("d|e.md", "d")]
    diff = compare_datasets(
        (old, new),
        (
            {"train": [record("1"), record("2"), record("3")]},
            {"train": [record("1"), replace(record("2"), input="z"), record("4")], "validation": [record("3")]},
        ),
    )
    assert diff.documents_added == ("d|e.md",)
    assert diff.documents_changed == ("b.md",)
    assert diff.documents_removed == ("c.md",)
    assert diff.examples_new == ("train/4", "validation/3")
    assert diff.examples_gone == ("train/3",)
    assert diff.examples_kept == 2 and diff.examples_rewritten == ("train/2",)
    assert diff.line() == (
        "documents: 1 added, 1 changed, 1 removed, 1 as before; "
        "examples: 2 new, 1 gone, 2 kept (1 of them over another context)"
    )
    assert "| documents added | 1 | `d\\|e.md` |" in diff.table() and "| examples kept | 2 |  |" in diff.table()
    assert diff.as_json()["examples_gone"] == ("train/3",)


def test_nothing_changed_and_many_names():
    documents = [make_document("a.md", "a")]
    examples = {"train": [record(str(n)) for n in range(12)]}
    same = compare_datasets((documents, documents), (examples, examples))
    assert same.counts["documents_kept"] == 1 and same.counts["examples_kept"] == 12
    assert sum(same.counts.values()) == 13
    assert ", and 2 more |" in compare_datasets((documents, documents), ({}, examples)).table()
