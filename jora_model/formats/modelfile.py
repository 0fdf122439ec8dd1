"""An Ollama Modelfile: which file, what stands around a person's text, and greedy answers without penalties."""

# Ollama's own default would cut the documents of a longer prompt without a word.
_MOST_CONTEXT = 8192


def modelfile(gguf: str, before: str, after: str, end: str, max_positions: int, bos: str | None, system: str) -> str:
    """The text of a Modelfile.

    Args:
        gguf: name of the file beside it.
        before, after: what stands around a person's text in a prompt.
        end: the text of the token that ends an answer.
        bos: the text that llama.cpp puts before every prompt by itself, if any.
        system: the instruction where it stands in `before` as `{{ .System }}`; may be empty.

    Raises:
        UserError: a template that a Modelfile cannot hold.
    """
    if bos is not None:
        before = before.removeprefix(bos)
    for part in (before.replace("{{ .System }}", ""), after):
        if '"""' in part or "{{" in part:
            raise UserError('a prompt template with """ or {{ in it cannot stand in a Modelfile; set export.gguf=none')
    lines = [
        f"FROM ./{gguf}",
        f'TEMPLATE """{before}{{{{ .Prompt }}}}{after}"""',
        *([f'SYSTEM """{system}"""'] if system else []),
        f'PARAMETER stop "{end}"',
        "PARAMETER temperature 0",
        # A penalty on what was said before would keep the model from quoting the documents.
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {min(max_positions, _MOST_CONTEXT)}",
    ]
    return "\n".join(lines) + "\n"
