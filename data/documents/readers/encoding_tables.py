"""What texts of each encoding are made of: the letters of languages, and the frequent letters of scripts."""

from __future__ import annotations

# Letters that are not ASCII, by language (ISO 639), in lower case.
_WESTERN = {
    "fr": "àâæçéèêëîïôœùûüÿ",
    "de": "äöüß",
    "es": "áéíóúüñºª",
    "pt": "áàâãçéêíóôõúüºª",
    "it": "àèéìíîòóù",
    "nl": "éëïóöüáèêà",
    "da": "æøåéèêóòôüä",
    "no": "æøåéèêóòôüä",
    "nb": "æøåéèêóòôüä",
    "nn": "æøåéèêóòôüä",
    "sv": "åäöéàü",
    "fi": "åäöšž",
    "is": "áðéíóúýþæö",
    "fo": "áðíóúýæø",
    "ca": "àçèéíïóòúü",
    "gl": "áéíóúñü",
    "eu": "ñçü",
    "ga": "áéíóú",
    "en": "éèêëçïñöüäáíóôàâ",
    "et": "äöõüšž",
    "sq": "çë",
    "lb": "äëéöü",
    "af": "êëéèôîïûáöü",
    "oc": "àáçèéíïòóú",
    "br": "êñùâü",
    "cy": "âêîôûŵŷ",
}
_CENTRAL = {
    "pl": "ąćęłńóśźż",
    "cs": "áčďéěíňóřšťúůýž",
    "sk": "áäčďéíĺľňóôŕšťúýž",
    "hu": "áéíóöőúüű",
    "sl": "čšžćđ",
    "hr": "čćđšž",
    "bs": "čćđšž",
    "ro": "ăâîşţșț",
    "de": "äöüß",
}
_TURKISH = {"tr": "çğıöşüâîûi̇"}
_BALTIC = {"lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūž", "et": "äöõüšž"}
#: Latin encodings: (languages with their letters, log of how rare the encoding is). Most likely first.
LATIN: dict[str, tuple[dict[str, str], float]] = {
    "cp1252": (_WESTERN, 0.0),
    "cp1250": (_CENTRAL, -1.5),
    "cp1254": (_TURKISH, -1.5),
    "cp1257": (_BALTIC, -2.0),
    "iso8859_2": (_CENTRAL, -3.0),
    "cp850": (_WESTERN, -6.0),
    "mac_roman": (_WESTERN, -6.0),
    "cp852": (_CENTRAL, -7.0),
    "iso8859_15": (_WESTERN, -7.0),
    "mac_latin2": (_CENTRAL, -9.0),
    "cp857": (_TURKISH, -8.0),
}

_CYRILLIC = "оеаинтсрвлкмдпуіяыьгзбчйхжшюцщэфёъїєґђјљњћџўқңұ"
_GREEK = "αοιετσνηυρπκμλςωγδχθφβξζψάίόέήύώϊϋΐΰ"
_HEBREW = "יוהלאתרבשםמנעדקחכפןגזטסצךףץ"
_ARABIC = "المينرتوبةعدسفهكقحجأطشخىضصذزغءئظؤآإپچژگ"
_THAI = "านรอกเงมยลวดทสตะปบคหแจพชขใไโ่้ัีิืุู์็ำถธณศษผฟญภฉซฝฮฐฏฎฒฑฌฬๆฯฺ๊๋"
#: Encodings of other scripts with one byte a letter: (letters, the frequent ones first, log of how rare it is).
SCRIPTS: dict[str, tuple[str, float]] = {
    "cp1251": (_CYRILLIC, -1.0),
    "koi8_r": (_CYRILLIC, -2.0),
    "koi8_u": (_CYRILLIC, -2.5),
    "cp866": (_CYRILLIC, -3.0),
    "iso8859_5": (_CYRILLIC, -3.0),
    "mac_cyrillic": (_CYRILLIC, -5.0),
    "cp1253": (_GREEK, -1.0),
    "iso8859_7": (_GREEK, -2.0),
    "cp1255": (_HEBREW, -1.0),
    "iso8859_8": (_HEBREW, -2.0),
    "cp1256": (_ARABIC, -1.0),
    "iso8859_6": (_ARABIC, -2.0),
    "cp874": (_THAI, -1.0),
}
#: Thai marks that stand above or below the letter before them.
THAI_MARKS = frozenset("ัิีึืฺุู็่้๊๋์ํ๎")

SIMPLIFIED = (
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好"
    "都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长关电话价格市区分月号间点前请产品"
)
TRADITIONAL = (
    "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可她裡後小麼心多天而能好"
    "都然沒日於起還發成事只作當想看文無開手十用主行方又如前所本見經頭面公同三已老從動兩長關電話價格市區分月號間點請產品"
)
HIRAGANA = "のにはたをがでとしているなれかもうすりこまさっくらきよわけあじどえだつ"
HANGUL = (
    "이다는에의을가고하은를지로한사기도리나어자아서시인해대그라정만스있었습니까들일전제상오주수보원부장구과여공조안성경"
)
CJK_POINTS = frozenset("，。、：；？！“”‘’《》（）「」『』・ー…—　～【】")
#: Encodings of East Asia, and the log of how rare each is.
EAST_ASIAN: dict[str, float] = {
    "cp932": -1.0,
    "euc_jp": -1.5,
    "gb18030": -1.0,
    "big5hkscs": -1.5,
    "cp949": -1.0,
}

#: The encodings that browsers take for others' names (encoding.spec.whatwg.org), by Python's names.
AS_BROWSERS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "johab": "cp949",
}
#: Names that pages use and Python does not know.
LABELS = {
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-gbk": "gb18030",
    "ks_c_5601-1989": "cp949",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "x-mac-roman": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-ukrainian": "mac_cyrillic",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "dos-874": "cp874",
    "x-x-big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "x-euc-jp": "euc_jp",
    "unicode-1-1-utf-8": "utf-8",
    "x-unicode20utf8": "utf-8",
    "ansi": "cp1252",
}
