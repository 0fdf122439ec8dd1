"""Lines of their own and lines of wrapped prose, by the shape of a paragraph."""

import pytest

from data.text.lines import starts_of_lines
from data.text.sentences import sentence_spans

ALONE = {
    "api card": "domain: Pressing\nfunctionality: works gears of bronze up to 80 mm\ncall: press.fit(part='gear')",
    "no space": "host:press.local\nport:8080\nuser:ada",
    "settings": "width = 80\nlevel = 3\n# a remark\nmode = fast",
    "json": '{\n  "name": "press",\n  "force": 12,\n  "oil": true\n}',
    "form": "Opening hours: 8 to 17\nTelephone: 12 34 56\n**Fee:** 4 crowns",
    "chinese": "机器：压床\n领域：冲压\n用途：加工青铜齿轮",
    "log": "2026-11-02 10:04:11 INFO press: started\n2026-11-02 10:04:12 WARN oil is low\n  at press.fit (press.py:12)",
    "syslog": "Dec  1 13:54:16 host press[1]: started\nDec  1 13:54:17 host press[1]: oil is low",
    "columns": "Gate A   8 to 17   open\nGate B   9 to 12   shut\nGate C   all day   open",
    "tabs": "name\tprice\nrope\t12\nnails\t3",
    "contents": "Chapter One ...... 5\nChapter Two ...... 19",
    "semicolons": "rope;12;yes\nnails;3;no\ntar;40;no",
    "commas": "name,price,stock\nrope,12,yes\nnails,3,no",
    "code": "for gear in gears:\n    press.fit(gear)\n    print(gear);\nreturn {",
    "names": "Jonas Reik\nUna Moe of the harbour office\nIvo Ness\nRolf Dahl",
}
WRAPPED = {
    "prose": "The keeper lights the\nlamp at dusk. It burns\nuntil dawn.",
    "colon": "The mill has three parts that\nmatter: the wheel, the stones\nand the sluice, which is old.",
    "capitals": "Der Müller und der Wirt wohnten am\nHafen, wo die Boote der Fischer\nliegen, bis der Winter kommt.",
    "dates": "It opened in the spring of\n1931. A storm of\n1950 took its roof away.",
    "code words": "In `job.yaml`, set `active: true` at the schedule of the job, and its name in\n`parameters:`.",
    "chinese": "这座磨坊由李明于一八七四年建\n造，位于河边，博物馆每个星期日\n开放，门票四元",
    "verse": "Full fathom five thy father lies,\nOf his bones are coral made,\nThose are pearls that were his eyes",
}


@pytest.mark.parametrize("kind", ALONE)
def test_records_logs_columns_and_listings_are_lines_of_their_own(kind):
    lines = ALONE[kind].split("\n")
    assert starts_of_lines(lines) == [True] * len(lines)
    text = f"Some prose before it.\n\n{ALONE[kind]}\n\nAnd after."
    spans = [text[start:end] for start, end in sentence_spans(text)]
    assert spans == ["Some prose before it.", *map(str.strip, lines), "And after."]


@pytest.mark.parametrize("kind", WRAPPED)
def test_prose_that_is_wrapped_stays_joined(kind):
    lines = WRAPPED[kind].split("\n")
    assert starts_of_lines(lines) == [True] + [False] * (len(lines) - 1)


def test_a_value_may_go_on_below_its_key():
    lines = [
        "name: press",
        "use: works gears of bronze and of steel with a width",
        "up to 80 mm, and plates",
        "note: see the",
        "  manual",
        "example:",
        "  press.open()",
        "  press.close()",
    ]
    assert starts_of_lines(lines) == [True, True, False, True, False, True, True, True]


def test_list_items_always_begin():
    assert starts_of_lines(["- one that is", "  wrapped", "- two", "12. three"]) == [True, False, True, True]


@pytest.mark.parametrize("text", ["." * 200_000, "a " * 100_000, "(" * 200_000, "a,  " * 50_000, "=" * 200_000])
def test_two_very_long_lines_take_no_time(text):
    assert len(starts_of_lines([f"x{text}", f"y{text}", "z"])) == 3
