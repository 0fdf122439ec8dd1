"""Ollama Modelfile: the GGUF file, the prompt template, and greedy decoding without penalties."""

from user_error import UserError

# Ollama's own default silently truncates longer prompts.
_MOST_CONTEXT = 8192


def modelfile(gguf: str, before: str, after: str, end: str, max_positions: int, bos: str | None, system: str) -> str:
    """Return the text of a Modelfile.

    Args:
        gguf: file name of the GGUF, in the same folder.
        before, after: prompt template before and after the user's text.
        end: text of the token that ends an answer.
        bos: text that llama.cpp itself prepends to every prompt, if any.
        system: the instruction if `before` contains it as `{{ .System }}`, else empty.

    Raises:
        UserError: a Modelfile cannot express the template.
    """
    if bos is not None:
        before = before.removeprefix(bos)
    for part in (before.replace("{{ .System }}", ""), after):
        if '"""' in part or "{{" in part:
            raise UserError('a Modelfile cannot express a prompt template with """ or {{; set export.gguf=none')
    lines = [
        f"FROM ./{gguf}",
        f'TEMPLATE """{before}{{{{ .Prompt }}}}{after}"""',
        *([f'SYSTEM """{system}"""'] if system else []),
        f'PARAMETER stop "{end}"',
        "PARAMETER temperature 0",
        # A repetition penalty would keep the model from quoting the documents.
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {min(max_positions, _MOST_CONTEXT)}",
    ]
    return "\n".join(lines) + "\n"
