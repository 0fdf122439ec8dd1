"""Questions that cannot be understood without the text that they were written from.

A retriever sees the question alone: "What does the author say about it?" retrieves nothing useful. Two kinds are
detected, each by patterns: references to the text itself ("according to the passage"), in several languages, and
English pronouns without an antecedent ("What did he do?"). Questions in languages without patterns always pass.
"""

from __future__ import annotations

import re

# Words for the text, and words that may also name a thing in the corpus: "the document that Luther nailed to a door".
# "The text editor" and "the context switch" are such things as well.
_TEXT = (
    r"(?:text(?!\s+(?:editor|file|message|box|field|column|area|encoder|decoder|model|layer|string|node|format|mode))|passage|paragraph|excerpt|snippet|extract"
    r"|context(?=\W*$|[,.?]|\s+(?:above|below|given|provided|explain|say|state|mention|describe)))s?"
)
_THING = r"(?:document|article|section|chapter|report|story|page|essay|author|writer|narrator|source|chunk|material)s?"
# Not followed by words that say which one is meant.
_UNNAMED = r"(?!['’]?\w|[ -](?:of|that|which|who|whose|on|about|by|for|from|to|called|named|titled|entitled|[A-Z\d]))"
_SHOWN = r"(?:above|below|following|given|provided|preceding|previous|present|accompanying|quoted)"
_SAYS = (
    r"(?:says?|states?|mentions?|describes?|argues?|claims?|suggests?|explains?|believes?|thinks?|means?|implies|imply|"
    r"discuss(?:es)?|refers?|notes?|writes?|conclude[sd]?|mentioned|described|stated)"
)

_REFERENCES = tuple(
    re.compile(pattern)
    for pattern in (
        # in the text, according to the passage above, from this excerpt
        rf"(?i:\b(?:in|from|to|on|by|of|per|within)\s+(?:the|this|these)\s+{_TEXT}\b){_UNNAMED}",
        rf"(?i:\b(?:according to|based on|per)\s+the\s+{_THING}\b){_UNNAMED}",
        rf"(?i:\b(?:this|these|the {_SHOWN}|the same)\s+(?:{_TEXT}|document|article|section|chapter|excerpt|essay)\b)",
        rf"(?i:\bthe\s+(?:{_TEXT}|document|article|section|chapter|author|writer|narrator)\s+{_SAYS}\b)",
        rf"(?i:\b(?:do|does|did|has|have)\s+the\s+(?:author|writer|narrator)\b){_UNNAMED}",
        rf"(?i:\b(?:do|does|did|has|have)\s+(?:the|this|these)\s+(?:{_TEXT}|document|article)\s+(?:also\s+|not\s+)?{_SAYS}\b)",
        rf"(?i:\bthe\s+(?:{_TEXT}|document|article|report|author|list|table)\s+(?:above|below)\b)",
        # mentioned above, the above-mentioned, as described earlier
        r"(?i:\b(?:mentioned|described|listed|stated|discussed|shown|quoted|named|given)\s+(?:above|below|earlier|here)\b)",
        r"(?i:\b(?:above|afore|before)-?mentioned\b|\bthe above\b)",
        r"(?i:\bwhich(?: one)?\s+of\s+(?:the following|these|those)\b(?!\s+\w+\s+of\b)|\bof the following\b)",
        r"(?i:\b(?:in|does|from|see)\s+(?:figure|table|diagram|chart)\s+\d)",
        # German, French, Spanish
        r"(?i:\b(?:laut|gemäß|nach|aus|in)\s+(?:dem|diesem|der|dieser)\s+(?:(?:obigen|vorliegenden|folgenden)\s+)?"
        r"(?:text|abschnitt|absatz|textabschnitt|passage|auszug|textstelle)\b|\bim\s+(?:obigen\s+)?text\b"
        r"|\blaut\s+(?:dem\s+|der\s+)?(?:text|dokument|artikel|autor(?:in)?)\b)",
        r"(?i:\b(?:selon|d['’]après)\s+(?:le|la|l['’]|ce|cet|cette)\s*(?:texte|passage|extrait|paragraphe|document|article"
        r"|auteure?)\b(?!\s+\d)|\b(?:dans|de)\s+(?:le|ce)\s+(?:texte|passage|paragraphe)\b)",
        r"(?i:\bsegún\s+(?:el|la|este|esta)\s+(?:texto|pasaje|fragmento|párrafo|documento|autora?)\b"
        r"|\ben\s+(?:el|este)\s+(?:texto|pasaje|fragmento|párrafo)\b)",
        # Chinese, Japanese
        r"根据(?:上文|本文|文中|这段|文章|上述|短文)|(?:这段|这篇)(?:话|文字|文章)|(?:^|(?<=[，。、：\s在从据按]))文中(?!心)|上文|この(?:文章|段落|文書)|"
        r"本文(?:によると|では|中|に)|上記の",
    )
)

_ASK = r"(?i:what|which|who|whom|whose|when|where|why|how)"
_BE_OR_DO = (
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must)(?:n['’]t| not)?"
)
# "What do they call ...": everybody does. "Which school has its origins ...": its own.
_NOT_OWN = r"(?<!\bha[sd] )(?<!\bhave )"
_PERSONAL = rf"(?:he|she|they(?!\s+(?:call|say)\b)|him|them|this|these|those|{_NOT_OWN}(?:his|her|their))"
# "How long does it take to ...", "Is it true that ...": this "it" refers to nothing.
_NOT_EXPLETIVE = r"(?!(?:\s+[\w'’-]+){0,4}\s+(?:to|that|when|if|for|like|since|from|until|because)\b|\s+takes?\s+\w)"
_IT = rf"(?:it{_NOT_EXPLETIVE}|{_NOT_OWN}its)"
_PRONOUNS = tuple(
    re.compile(pattern)
    for pattern in (
        # Lower case up to the pronoun: a name before it would be its antecedent.
        rf"^\W*(?i:(?:and|but|so|then|in|on|at|by|for|from|to|with|of)\s+)?{_ASK}"
        rf"(?:\s+(?!to\b)[a-z'’-]+){{0,3}}?\s+{_BE_OR_DO}\s+(?:{_PERSONAL}|{_IT})\b",
        rf"^\W*(?i:{_BE_OR_DO})\s+(?:{_PERSONAL}|{_IT})\b",
        r"^\W*(?:He|She|They|His|Her|Their)\b",
        r"(?i:^\W*(?:how many|how much|which|what|who)(?: one)?\s+of\s+(?:them|it|these|those)\b(?!\s+\w+))",
    )
)


def outside_reference(question: str) -> str | None:
    """The words of a question that refer outside it ("according to the passage"), or None if there are none."""
    for pattern in (*_REFERENCES, *_PRONOUNS):
        if match := pattern.search(question):
            return match[0].strip()
    return None
