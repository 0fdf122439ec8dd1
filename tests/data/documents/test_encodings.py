"""Encodings: marks, declarations as browsers read them, UTF-8 with a few bad bytes, and guesses in many languages."""

import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Unreadable
from data.documents.readers.html import read_html
from data.documents.readers.text import decode, read_text
from testing.readings import one

DEFAULT = DocumentSettings()
GERMAN = "Der Müller mahlt jeden Tag für die Genossenschaft, außer wenn das Wasser zu niedrig steht. " * 5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_not_guessed(encoding):
    decoded = decode("Größe, 尺寸, מידה.".encode(encoding), None)
    assert (decoded.text, decoded.detected) == ("Größe, 尺寸, מידה.", False)


def test_marked_big_endian():
    assert decode("\ufeffGröße".encode("utf-16-be"), None).text == "Größe"


def test_an_encoding_that_nothing_declares_is_detected_and_told():
    item = one(read_text(GERMAN.encode("cp1252"), DEFAULT))
    assert item.text == GERMAN
    assert item.counts == {"detected_encodings": 1}
    assert "no encoding is declared, cp1252 was detected" in item.remarks[0]
    declared = one(read_text(GERMAN.encode("cp1252"), DocumentSettings(encoding="cp1252")))
    assert (declared.text, declared.counts, declared.remarks) == (GERMAN, {}, ())


def test_utf_16_without_a_mark_is_detected():
    decoded = decode("A mill by the river.".encode("utf-16-le"), None)
    assert (decoded.text, decoded.encoding, decoded.detected) == ("A mill by the river.", "utf-16-le", True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GIF89a\0\0\1", r"binary file \(NUL byte at offset 6\)"),
        (b"\xff\xfeA\0\0\xd8", "not utf-16-le"),
        (b"\xff\xfe\0\0", "no encoding|binary|not utf-32"),
        (bytes(range(1, 256)) * 3, "no other encoding was detected"),
    ],
)
def test_what_is_no_text_is_refused(raw, reason):
    if raw == b"\xff\xfe\0\0":
        assert decode(raw, None).text == ""  # UTF-32's mark alone: an empty file, told later
        return
    with pytest.raises(Unreadable, match=reason):
        decode(raw, None)


def test_an_unknown_encoding_is_no_setting():
    with pytest.raises(ValueError, match="unknown encoding"):
        DocumentSettings(encoding="klingon")


WESTERN = {
    "French": "Le pont a été bâti en 1790 près de l'église. Où mène-t-il ? À Sète ; ça coûte 3 € – « très cher ».",
    "French, short": "Élèves à l’école",
    "French, capitals": "L’ÉTÉ DE LA FORÊT À NÎMES",
    "Portuguese": "A ponte foi construída em 1790 pelo irmão do capitão João. As crianças não pagam à entrada.",
    "Danish": "Broen blev bygget i 1790 af Jørgen Ærø. Små børn går gratis over åen, og færgen sejler om søndagen.",
    "Swedish": "Bron byggdes år 1790 av Åsa Söderberg. Små barn får gå över ån gratis, men häst kostar tre öre.",
    "Italian": "Il ponte è stato costruito nel 1790 perché la città lo voleva; così è più facile andare di là.",
    "Norwegian": "Broen ble bygget i 1790 av Håkon Sørli. Små barn får gå gratis over elva, men hest må betale.",
    "Finnish": "Silta rakennettiin vuonna 1790. Lapset pääsevät yli ilmaiseksi, mutta hevosesta täytyy maksaa äyri.",
    "German": "Die Brücke wurde 1790 erbaut; für Füße ist sie frei, Schüler zahlen „nichts“, große Wagen 5 €.",
    "Spanish": "El puente lo construyó en 1790 el señor Núñez. ¿Cuánto cuesta? ¡Nada! Los niños cruzan gratis también.",
    "Dutch": "De brug werd in 1790 gebouwd door Noë van Driël; één overtocht kost € 3 en de ideeën zijn geïllustreerd.",
    "Icelandic": "Brúin var byggð árið 1790. Börn fá ókeypis aðgang, en þeir fullorðnu verða að greiða þrjár krónur.",
    "English": "The ferryman’s rule – “no dogs on Fridays” – costs €3 to break… it’s a cliché.",
    "English, a price": "A ticket is £5 (£3 for two), at 20 °C ± 2.",
    "English, a name": "Nora Müller of Málaga met Zoë at the café.",
    "a word": "naïve",
}


@pytest.mark.parametrize("language", WESTERN)
def test_western_text_is_windows_1252(language):
    for text in (WESTERN[language], f"{WESTERN[language]}\n" * 40):
        decoded = decode(text.encode("cp1252"), None)
        assert (decoded.text, decoded.detected) == (text, True)


OTHERS = [
    ("cp1250", "Most zbudował w 1790 roku Łukasz Żak. Dzieci przechodzą za darmo, a dorośli płacą trzy złote."),
    ("iso8859-2", "Most zbudował w 1790 roku Łukasz Żak. Dzieci przechodzą za darmo, a dorośli płacą trzy złote."),
    ("cp1250", "Most byl postaven v roce 1790. Děti přecházejí zdarma, ale dospělí musí zaplatit tři koruny."),
    (
        "cp1250",
        "A hidat 1790-ben építették. A gyerekek ingyen mehetnek át, a felnőtteknek fizetniük kell; őrzik.",
    ),
    (
        "cp1254",
        "Köprü 1790 yılında yapıldı. Çocuklar ücretsiz geçer, yetişkinler ise üç kuruş öder; ağaçlık.",
    ),
    ("cp1254", "Giriş ücreti kırk liradır."),
    (
        "cp1257",
        "Tiltas pastatytas 1790 metais prie upės. Vaikai eina nemokamai, suaugusieji moka keturiasdešimt eurų.",
    ),
    ("cp1251", "Мост построен в 1790 году. Дети переходят бесплатно, а взрослые платят три рубля."),
    ("koi8-r", "Мост построен в 1790 году. Дети переходят бесплатно, а взрослые платят три рубля."),
    ("cp866", "Мост построен в 1790 году. Дети переходят бесплатно, а взрослые платят три рубля."),
    ("cp1251", "Привет"),
    ("cp1251", "def main():  # запускает программу\n    pass"),
    ("cp1253", "Η γέφυρα χτίστηκε το 1790. Τα παιδιά περνούν δωρεάν."),
    ("cp1255", "הגשר נבנה בשנת 1790. ילדים עוברים חינם."),
    ("cp1256", "بني الجسر عام 1790. يعبر الأطفال مجانا."),
    ("cp874", "สะพานสร้างขึ้นในปี 1790 เด็กเดินข้ามฟรี"),
    ("shift_jis", "橋は1790年に建てられました。子供は無料で渡れます。"),
    ("shift_jis", "データベースのインストール方法"),
    ("euc-jp", "橋は1790年に建てられました。子供は無料で渡れます。"),
    ("iso2022_jp", "橋は1790年に建てられました。"),
    ("gb18030", "这座桥建于1790年，儿童免费通过，成人须付三元。"),
    ("gb18030", "门票四十元"),
    ("big5", "這座橋建於1790年，兒童免費通過，成人須付三元。"),
    ("euc-kr", "다리는 1790년에 지어졌습니다. 어린이는 무료로 건넙니다."),
    ("cp850", GERMAN),
    ("mac_roman", WESTERN["French"].replace("–", "-")),
]


@pytest.mark.parametrize(("encoding", "text"), OTHERS)
def test_other_encodings_are_told_from_it(encoding, text):
    for given in (text, f"{text}\n" * 40):
        decoded = decode(given.encode(encoding), None)
        assert (decoded.text, decoded.detected) == (given, True)


def test_a_page_that_says_latin_1_is_windows_1252_as_in_browsers():
    for label in ("latin1", "iso-8859-1", "ISO8859-1", "us-ascii", "windows-1252"):
        page = f'<html><meta charset="{label}"><p>“Four” – 4 € – œuvre</p></html>'
        item = one(read_html(page.encode("cp1252"), DEFAULT))
        assert (item.text, item.remarks) == ("“Four” – 4 € – œuvre", ())
    assert decode("ığş".encode("cp1254"), "iso-8859-9", sure=False).text == "ığş"
    assert decode("①".encode("cp932"), "Shift_JIS", sure=False).text == "①"
    assert decode("镕€".encode("gb18030"), "gb2312", sure=False).text == "镕€"


def test_a_page_that_says_a_wrong_or_unknown_encoding_is_guessed():
    page = '<html><meta charset="{}"><p>{}</p></html>'
    for label in ("utf-8", "klingon", "hex"):
        item = one(read_html(page.format(label, WESTERN["Danish"]).encode("cp1252"), DEFAULT))
        assert item.text == WESTERN["Danish"] and item.counts == {"detected_encodings": 1}
    japanese = "橋は1790年に建てられました。" * 3
    item = one(read_html(page.format("euc-jp", japanese).encode("cp932"), DEFAULT))
    assert item.text == japanese


def test_a_bad_byte_in_utf_8_costs_that_byte():
    raw = "Le pont a été bâti près de l'église".encode()
    for broken in (raw + b" \xe9", raw.replace("â".encode(), b"\xe2"), raw + "é".encode()[:1]):
        item = one(read_text(broken, DEFAULT))
        assert item.text.count("\ufffd") == 1 and "été" in item.text and "église" in item.text
        assert item.counts == {"bytes_replaced": 1} and "1 bytes are not utf-8" in item.remarks[0]
    own = one(read_text("a \ufffd b é".encode(), DEFAULT))  # the document's own
    assert not own.counts


def test_a_byte_that_windows_1252_lacks_does_not_cost_the_file():
    raw = (WESTERN["French"] * 3).encode("cp1252").replace(b"1790", b"17\x8190")
    for settings in (DEFAULT, DocumentSettings(encoding="cp1252")):
        item = one(read_text(raw, settings))
        assert item.text == (WESTERN["French"] * 3).replace("1790", "17\ufffd90")
        assert item.counts["bytes_replaced"] == 3


def test_a_declared_encoding_that_does_not_fit_at_all_is_refused():
    with pytest.raises(Unreadable, match="not euc_jp"):
        decode(WESTERN["French"].encode("cp1252"), "euc_jp")
