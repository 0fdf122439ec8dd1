"""Chunks kept by document: only new documents are cut."""

from data.documents.chunk_memory import ChunkMemory
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document


def test_only_new_documents_are_cut(tmp_path):
    documents = [make_document(f"{i}.md", f"# Title {i}\n\n" + f"Text {i} goes on. " * 30) for i in range(5)]
    cut_now = []

    def cut(fresh):
        cut_now.append([document.path for document in fresh])
        return chunk_documents(fresh, lambda texts: [len(text.split()) for text in texts], ChunkSettings(max_tokens=32))

    anew = cut(documents)
    memory = ChunkMemory(tmp_path / "chunks.sqlite")
    assert memory.chunk(documents[:3], cut) == (cut(documents[:3]), 3)
    del cut_now[:]
    assert memory.chunk(documents, cut) == (anew, 2)
    assert cut_now == [["3.md", "4.md"]]
    assert memory.chunk(documents[1:4], cut) == (cut(documents[1:4]), 0)
    empty = make_document("empty.md", "-")
    assert [memory.chunk([empty], lambda _: [])[1] for _ in range(2)] == [1, 0], "a document without chunks is kept too"
