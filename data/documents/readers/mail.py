"""E-mail (EML): the headers that a reader sees, and the body; attachments are named in a remark, and not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, first_line
from data.documents.readers.html import Page, html_page
from data.documents.readers.text import decode

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_DEEPEST = 20  # messages within messages
_FULLER = 2  # times as long as the plain body, from which the HTML body is the real one


def read_eml(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """A message as lines of its headers and its body, messages within it below.

    Raises:
        Unreadable: no message, or one within too many others.
    """
    message = message_from_bytes(raw, policy=policy.default)
    if not any(header in message for header in ("From", "Subject", "Date", "Received", "MIME-Version")):
        raise Unreadable("not an e-mail (it has no headers): save it as text")
    left_out: Counter[str] = Counter()
    attachments: list[str] = []
    text = "\n\n".join(_blocks(message, settings, left_out, attachments, 0))
    remarks = (f"attachments are not read, save them as files: {', '.join(attachments)}",) if attachments else ()
    yield Extracted(text, _header(message, "Subject") or None, remarks=remarks, left_out=dict(left_out))


def _blocks(
    message: EmailMessage, settings: DocumentSettings, left_out: Counter[str], attachments: list[str], depth: int
) -> Iterator[str]:
    if depth > _DEEPEST:
        raise Unreadable(f"more than {_DEEPEST} messages within one another: save the inner ones apart")
    shown = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    if shown:
        yield "\n".join(shown)
    plain: list[str] = []
    pages: list[Page] = []
    inner: list[EmailMessage] = []
    for part in _parts(message):
        if part.get_content_type() == "message/rfc822":
            inner += [each for each in part.iter_parts() if isinstance(each, EmailMessage)]
        elif part.get_content_type() == "text/plain" and not part.is_attachment():
            plain.append(_text(part, settings).strip())
        elif part.get_content_type() == "text/html" and not part.is_attachment():
            pages.append(html_page(_text(part, settings) or "<p>"))
        else:
            attachments.append(" ".join(str(part.get_filename() or part.get_content_type()).split()))
    if sum(len(page.text) for page in pages) > _FULLER * sum(map(len, plain)):
        plain = [page.text for page in pages]
        for page in pages:
            left_out.update(page.left_out)
    yield from filter(None, plain)
    for each in inner:
        yield from _blocks(each, settings, left_out, attachments, depth + 1)


def _parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold something, in their order; an inner message is one part."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting += reversed([cast(EmailMessage, each) for each in part.iter_parts()])
        else:
            yield part


def _text(part: EmailMessage, settings: DocumentSettings) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    charset = part.get_content_charset()
    return decode(content, charset or settings.encoding, sure=charset is None).text.replace("\r\n", "\n")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name) or "").split())
    except Exception as error:  # the library stumbles over some broken headers
        return f"({first_line(error)})"
