"""Characters of the fonts Symbol, Wingdings and Webdings, whose codes are in Unicode's private use or plain letters."""

from __future__ import annotations

# Symbol's codes 0x21 to 0xFE by Adobe's encoding; a space for those that no text needs.
_SYMBOL_LOW = "!∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_SYMBOL_HIGH = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐―↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\u0020〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"
_WINGDINGS = {
    0x21: "✏", 0x22: "✂", 0x28: "☎", 0x29: "✆", 0x2A: "✉", 0x36: "⌛", 0x41: "✌", 0x46: "☞", 0x4A: "☺", 0x4C: "☹",
    0x4E: "☠", 0x52: "☼", 0x54: "❄", 0x6C: "●", 0x6D: "❍", 0x6E: "■", 0x6F: "□", 0x70: "❐", 0x71: "❑", 0x72: "❒",
    0x73: "⬧", 0x74: "⧫", 0x75: "◆", 0x76: "❖", 0x77: "⬥", 0x9F: "•", 0xA0: "▪", 0xA1: "○", 0xA7: "▪", 0xA8: "□",
    0xAB: "★", 0xB0: "⌖", 0xB7: "•", 0xC3: "◂", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑", 0xE2: "↓", 0xE8: "➔",
    0xEF: "⇦", 0xF0: "⇨", 0xF1: "⇧", 0xF2: "⇩", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
    **{0x80 + digit: "⓪①②③④⑤⑥⑦⑧⑨⑩"[digit] for digit in range(11)},
}  # fmt: skip


def symbol(font: str, code: int) -> str | None:
    """The character that a symbol font shows for a code; None if it is not known.

    Args:
        font: its name; a font that is not known is read as Symbol where the code is that of a bullet.
        code: the font's own code (0x20 to 0xFF), or that code in private use (0xF020 to 0xF0FF).
    """
    if 0xF000 <= code <= 0xF0FF:
        code -= 0xF000
    if not 0x20 <= code <= 0xFF:
        return None
    name = font.casefold()
    if code == 0x20:
        return " "
    if "wingdings" in name or "webdings" in name:
        return _WINGDINGS.get(code)
    if "symbol" in name:
        return _symbol(code)
    return {0xB7: "•", 0xA7: "▪", 0xD8: "➢", 0xFC: "✓", 0x6F: "□", 0x6E: "■", 0x76: "❖"}.get(code)


def _symbol(code: int) -> str | None:
    if 0x21 <= code <= 0x7E:
        return _SYMBOL_LOW[code - 0x21]
    return _SYMBOL_HIGH[code - 0xA0] if 0xA0 <= code < 0xA0 + len(_SYMBOL_HIGH) else None
