"""Plain text and logs with their true text: encodings of many languages, line ends, wrapped lines, columns."""

import textwrap
from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

# Language -> the encoding in which its file is written, which nothing declares.
_ENCODINGS = {
    "french": "cp1252",
    "german": "cp1252",
    "portuguese": "cp1252",
    "danish": "cp1252",
    "swedish": "cp1252",
    "norwegian": "cp1252",
    "finnish": "cp1252",
    "italian": "cp1252",
    "spanish": "cp1252",
    "dutch": "cp1252",
    "icelandic": "cp1252",
    "catalan": "cp1252",
    "faroese": "cp1252",
    "estonian": "cp1252",
    "latvian": "cp1257",
    "croatian": "cp1250",
    "bulgarian": "cp1251",
    "thai": "cp874",
    "english_curly": "cp1252",
    "turkish": "cp1254",
    "polish": "cp1250",
    "czech": "cp1250",
    "hungarian": "cp1250",
    "lithuanian": "cp1257",
    "russian": "cp1251",
    "ukrainian": "cp1251",
    "greek": "cp1253",
    "hebrew": "cp1255",
    "arabic": "cp1256",
    "japanese": "shift_jis",
    "chinese": "gb18030",
    "chinese_traditional": "big5",
    "korean": "euc_kr",
}
# One sentence or two, as a note has: there is little to tell the encoding by.
_SHORT = {
    "short-french": "Le café ferme à huit heures.",
    "short-german": "Schlüssel bei Frau Müller.",
    "short-danish": "Køb brød og mælk på vej hjem.",
    "short-swedish": "Mötet flyttas till torsdag på ängen.",
    "short-english": "It’s the keeper’s day off – don’t ring.",
    "short-portuguese": "Não há pão amanhã.",
    "short-price": "Price per night: 45 € – breakfast included.",
}
# The same in other encodings, which a liking for cp1252 must not hide.
_SHORT_ELSEWHERE = {
    "short-polish": ("cp1250", "Proszę zamknąć bramę o szóstej, bo pies ucieknie."),
    "short-hungarian": ("cp1250", "Őrizze a kulcsot, és fűtsön be reggel hétkor."),
    "short-russian": ("cp1251", "Касса закрыта до понедельника."),
    "short-greek": ("cp1253", "Το γραφείο είναι κλειστό την Παρασκευή."),
}


def plain_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Text files and logs."""
    for language, encoding in _ENCODINGS.items():
        texts = FOREIGN[language]
        yield TrueFile(
            f"{language}.txt", "\r\n\r\n".join(texts).encode(encoding), texts, hard=f"{encoding}, undeclared"
        )
    for name, text in _SHORT.items():
        yield TrueFile(f"{name}.txt", text.encode("cp1252"), (text,), hard="one sentence in cp1252")
    for name, (encoding, text) in _SHORT_ELSEWHERE.items():
        yield TrueFile(f"{name}.txt", text.encode(encoding), (text,), hard=f"one sentence in {encoding}")
    for language in ("hindi", "thai", "vietnamese", "japanese", "romanian"):
        texts = FOREIGN[language]
        yield TrueFile(f"utf8-{language}.txt", "\n\n".join(texts).encode(), texts)
    texts = FOREIGN["japanese"]
    yield TrueFile("euc-jp.txt", "\n\n".join(texts).encode("euc_jp"), texts, hard="euc-jp, undeclared")
    yield TrueFile("mail-jp.txt", "\n\n".join(texts).encode("iso2022_jp"), texts, hard="iso-2022-jp, ASCII bytes only")
    texts = FOREIGN["german"]
    yield TrueFile("marked-utf8.txt", b"\xef\xbb\xbf" + "\n\n".join(texts).encode(), texts, hard="a byte order mark")
    texts = FOREIGN["russian"][:1]
    yield TrueFile("koi8.txt", texts[0].encode("koi8_r"), texts, hard="koi8-r, undeclared")
    texts = tuple(paragraphs.take(2))
    yield TrueFile("utf16.txt", "\n\n".join(texts).encode("utf-16"), texts, hard="UTF-16 with a mark")
    yield TrueFile("utf16-greek.txt", b"\xfe\xff" + FOREIGN["greek"][0].encode("utf-16-be"), FOREIGN["greek"][:1])
    texts = tuple(paragraphs.take(2))
    yield TrueFile("unmarked-utf16.txt", "\n\n".join(texts).encode("utf-16-le"), texts, hard="UTF-16, unmarked")
    german = FOREIGN["german"]
    broken = "\n\n".join((german[0], german[1])).encode()
    at = broken.index(b"\n\n")
    yield TrueFile(
        "one-bad-byte.txt", broken[:at] + b" \x93" + broken[at:], german, ("\ufffd", "“"), "UTF-8 with one bad byte"
    )
    yield TrueFile(
        "cut-utf8.txt", (FOREIGN["french"][0] + " é").encode()[:-1], FOREIGN["french"][:1], ("\ufffd", "Ã"), "cut UTF-8"
    )
    mostly = "\n\n".join((*paragraphs.take(3), FOREIGN["french"][1]))
    yield TrueFile(
        "mostly-ascii.txt", mostly.encode("cp1252"), tuple(mostly.split("\n\n")), hard="cp1252, three letters of it"
    )
    texts = tuple(paragraphs.take(3))
    wrapped = "\n\n".join(textwrap.fill(text, 68) for text in texts)
    yield TrueFile("wrapped.txt", wrapped.encode(), texts, hard="lines wrapped at 68 characters")
    texts = tuple(paragraphs.take(2))
    yield TrueFile("old-mac.txt", "\r\r".join(texts).encode(), texts, hard="line ends of old Macs")
    texts = tuple(paragraphs.take(2))
    paged = "\f".join(f"Page {number} of 2\n\n{text}" for number, text in enumerate(texts, start=1))
    yield TrueFile("form-feeds.txt", paged.encode(), ("Page 1 of 2", texts[0], "Page 2 of 2", texts[1]))
    rows = [("Part", "Stock", "Price"), ("gasket 12 mm", "40", "0.35"), ("split pin", "1,200", "0.02")]
    columns = "\n".join(f"{a:<16}{b:>8}{c:>8}" for a, b, c in rows)
    yield TrueFile("columns.txt", columns.encode(), tuple(" ".join(row) for row in rows), hard="columns of a table")
    literal = (
        "Comments in our pages look so: <!-- this is shown --> and nobody minds.",
        "Write a*b*c for the product, snake_case for names, and # 7 for the seventh berth.",
        "if x < 3 and y > 4: print('<b>kept</b>')",
    )
    yield TrueFile("markup-in-text.txt", "\n\n".join(literal).encode(), literal, hard="markup that is text")
    log = (
        "2026-03-09T04:11:07Z INFO  pump-2 started, 1.8 bar",
        "2026-03-09T04:12:40Z WARN  needle trembles; resting 600 s",
        "2026-03-09T04:22:41Z ERROR pump-2: TimeoutError: no answer from valve 17 (attempt 3/3)",
        "    at Pump.start (/opt/water/pump.py:88)",
    )
    yield TrueFile("pump.log", "\n".join(log).encode(), log)
    coloured = "\x1b[32mok\x1b[0m   gate 4 opened\n\x1b[1;31mfail\x1b[0m gate 7: motor hot, 91 degrees\n"
    yield TrueFile(
        "coloured.log", coloured.encode(), ("ok gate 4 opened", "fail gate 7: motor hot, 91 degrees"), hard="colours"
    )
    messages = tuple(f"{hour:02}:15 gate {hour % 7}: {text}" for hour, text in enumerate(paragraphs.take(4)))
    yield TrueFile("gates.log", "\n".join(messages).encode("cp1252"), messages)
