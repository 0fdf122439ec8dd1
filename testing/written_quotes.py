"""Whether a quote can be written under the grammar that holds quotes, without compiling it."""

from data.documents.chunks import Chunk
from data.prompting.quotable import quotable_runs


def can_be_written(quote: str, chunk: Chunk) -> bool:
    """Whether a quote is one or more consecutive sentences of one run of the chunk."""
    for run in quotable_runs(chunk.text):
        for first, (start, _) in enumerate(run):
            if any(chunk.text[start:end] == quote for _, end in run[first:]):
                return True
    return False
