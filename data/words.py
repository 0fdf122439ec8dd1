"""Words and letters in scripts with and without spaces between words."""

import re

# Thai, Lao, Burmese, Khmer, kana, Han, Hangul: a word has no visible border, or endings grow on it.
_UNSPACED = "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff"

#: A word, or a letter of a script without spaces.
WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
#: A letter of a script with spaces.
LETTER = re.compile(rf"[^\W{_UNSPACED}]")
