"""Texts for files whose true text is known: many topics, many languages, written for this purpose."""

# ruff: noqa: E501  a paragraph is a line

from collections.abc import Iterator
from itertools import cycle

_ENGLISH = """
The night shift at the cold store begins at ten. Two people walk the aisles together, because the doors of chamber four lock from outside, and neither leaves before the other has signed the sheet.
A bearing that hums at 1,450 revolutions a minute is worn; one that clicks has a broken cage. Replace both within eight days, and note the serial number of the new part in the blue ledger.
Members who were away for more than half a year pay no fee for that time, but they keep their vote. The treasurer, not the chair, decides in cases of doubt.
The reservoir holds 3.2 million cubic metres when full. In the dry summer of 2018 it fell to 19 percent, and the old bridge at Weir Farm stood above the water for seven weeks.
Mix two parts of lime with five parts of sharp sand, add water until the mortar holds the mark of a thumb, and use it within three hours. Frost in the first four nights ruins the joint.
Parcels heavier than 31.5 kg go by freight. The driver asks for a signature, waits four minutes at the door, and leaves a card with a number that is valid for ten days.
Our choir rehearses on Tuesdays in the chapel of St Anne's. Newcomers sing a scale and a hymn of their own choice; nobody has been turned away since 1997.
The library lends tools as well as books: a hedge trimmer for three days, a carpet cleaner for one, and a set of chimney brushes for as long as the chimney needs.
Rabies vaccine is kept between 2 and 8 degrees. If the log shows more than 12 degrees for over forty minutes, the batch is discarded and the district office is told the same day.
The tram to Hollow Lane runs every twelve minutes until nine in the evening, then every half hour. Dogs ride free; bicycles need a child's ticket outside the morning rush.
Whoever finds a door unlocked after hours calls the porter on extension 4471 and stays there until he comes. It does not matter whose fault it was.
In the third week the starter smells of apples and doubles in five hours. Then it is strong enough for rye, which asks for sixty percent of it and twelve hours of patience.
The committee met on 9 March and approved the purchase of a second-hand loader for 18,400 euros, with two votes against. Delivery is expected before the harvest.
Salt marsh grows about four millimetres a year, a little faster than the sea rises here. Where sheep graze it, the growth is half of that, as the plots behind the old dyke show.
The warranty covers faults of material for thirty months. It does not cover the seals, which are worn by use, nor damage by water that was harder than 21 degrees.
Pilots report the height of the cloud base in hundreds of feet. Below 600 feet the field is closed to visitors, and the wind sock alone is no substitute for a call to the tower.
She kept the recipe in a tin: forty grams of dried ceps, a litre of stock, one stale roll, no cream. It won the village prize four times and was never written down before.
The kiln reaches cone six in nine hours and needs fourteen to cool. Opening it above 120 degrees has cost us eleven plates and one eyebrow.
Applications arrive by 30 June. Each is read by two people who do not know the name of the writer, and the sum of their marks decides; in a tie the older application wins.
Turn the valve a quarter to the left, wait until the gauge shows 1.8 bar, then close the bypass. If the needle trembles, air is in the line, and the pump must rest for ten minutes.
A beekeeper's year begins in August, when the colonies that will winter are chosen. Each gets fourteen kilos of syrup in portions, so that the queen keeps room to lay.
Passengers with a cabin board from six o'clock at gate B. The restaurant on deck seven serves until the ship has left the sound, which takes an hour and ten minutes.
The survey of 1764 gives the parish 212 hearths, three smithies and a windmill without sails. Whoever drew the map could not count the islands, for he shows nine of fourteen.
Put the sample in the left chamber and the blank in the right. The lamp needs twenty minutes to settle; readings taken earlier drift by up to five percent.
Volunteers who train the young team hold a first-aid card that is not older than two years. The club pays for the course and for the train.
The orchard loses a tenth of its blossom in a normal April. Below minus 2.4 degrees at dawn the sprinklers run until the ice has melted by itself.
Interest is paid on the last banking day of each quarter. Accounts below 250 euros earn none, and accounts that were closed earn it until the day before.
The lighthouse was dark for three nights in the winter of 1941, and two coasters ran onto the Maidens. Since then the keeper's log is written in ink and in two copies.
Children under six swim with an adult within reach. The bath closes its outdoor pool when lightning is counted at less than thirty seconds from the thunder.
Refills of the blue gas bottle cost 23 euros, of the grey one 31. Empty bottles of other brands are taken back but not paid for.
The archive opens its reading room on Wednesdays. Pencils only, no coats, and the boxes are brought at ten, at noon and at half past two.
Every third row of beans is left for seed. The pods hang until they rattle, are threshed by hand on a dry day, and rest in paper bags above the stove.
If the elevator stops between floors, do not force the door. Press the yellow button for three seconds; a person answers in less than a minute and stays on the line.
The grant covers travel, a bed and the fee, but no meals. Receipts are handed in within six weeks, on paper, sorted by date.
Sand from the northern pit is too fine for concrete and too sharp for the playground. It goes to the brickworks, eleven lorries a week, except in the holidays.
The clock in the market hall strikes the quarters on two bells. The larger one was cast in 1588, cracked in 1740, and has been silent on Sundays ever since.
The second edition corrects the table on page 44, where the densities of oil and brine had been exchanged. Readers of the first edition may ask for a printed slip.
A member of staff may work from abroad for twenty days a year, in weeks of at least two days, and tells the office a fortnight before leaving.
The ferry carries nineteen cars at low water and twenty-four at springs. Lorries above seven tonnes wait for the evening crossing, when the ramp lies almost level.
No one has climbed the north face in January. The rescue post at the saddle is manned from May, and its telephone works on days without fog.
"""
ENGLISH = tuple(line.strip() for line in _ENGLISH.strip().splitlines())

#: Language -> paragraphs.
FOREIGN = {
    "french": (
        "Le marché de la vieille ville ouvre à sept heures. Les pêcheurs y vendent des huîtres, des bulots et, l’été, "
        "des crevettes grises ; on paie en espèces, car la place n’a pas de réseau.",
        "À Noël, l’école reçoit cent-vingt élèves d’ailleurs. Où dorment-ils ? Chez l’habitant, naturellement, "
        "et le goûter coûte 3 €. Le maître-nageur s’appelle François Lefèvre.",
    ),
    "german": (
        "Die Genossenschaft prüft jährlich die Bücher. Für größere Maßnahmen über 5.000 € müssen zwei Vorstände "
        "unterschreiben; kleinere Beträge löst die Geschäftsführerin allein aus.",
        "Öl und Fette gehören nicht in den Abfluss. Wer Schäden verursacht, trägt die Kosten – auch für den Kanal der "
        "Nachbarn. „Das wussten wir nicht“ gilt seit 2011 nicht mehr.",
    ),
    "portuguese": (
        "A associação não cobra inscrição às crianças até aos doze anos. Os pães saem do forno às seis, e o último "
        "autocarro para Guimarães parte às vinte e duas e quarenta, exceto em agosto.",
        "O moinho já não mói desde 1974; a mó, porém, está lá. João e Conceição guardam a chave e abrem ao domingo.",
    ),
    "danish": (
        "Færgen sejler hver halve time mellem Ærø og Svendborg. Børn under fire år rejser gratis, og cykler koster "
        "tyve kroner. Når vinden når tolv meter i sekundet, bliver bæltet lukket for små både.",
        "Østersøens måger æder også brød, men det er ikke sundt for dem. Spørg på kontoret efter en pose med frø.",
    ),
    "swedish": (
        "Båthuset är öppet från påsk till oktober. Nyckeln hänger hos Åsa på Ängsvägen 3, och årsavgiften är "
        "åttahundra kronor. Den som glömmer att släcka får städa köket två söndagar.",
        "När isen bär körs en väg över fjärden. Fordon över tre ton får inte köra där, och fönstren ska vara öppna.",
    ),
    "norwegian": (
        "Fjellstua ligger på åtte hundre meters høyde og har plass til tjueåtte gjester. Maten bæres opp på ryggen, "
        "så brødet er dyrt, men vafler får du for førti kroner. Hunder må ligge ute i gangen.",
        "Løypa er merket med røde stolper. Går du feil ved Trollbekken, så snu; brua råtnet i fjor høst.",
    ),
    "finnish": (
        "Sauna lämpiää keskiviikkoisin ja lauantaisin. Löylyä heitetään säästeliäästi, sillä kiuas on vanha, ja "
        "jäähdyttely tapahtuu järvessä. Pyyhkeitä ei säilytetä pukuhuoneessa yön yli.",
        "Hääyö vietettiin hiljaa; vasta päivällä kylä tiesi. Tästä on jäljellä kaksi kirjettä ja hätäinen piirros.",
    ),
    "italian": (
        "Il caffè della stazione apre alle cinque perché il primo treno parte alle cinque e venti. Un cappuccino costa "
        "un euro e quaranta; più tardi, dopo mezzogiorno, nessuno lo ordina. Così è, e così sarà.",
        "La città ha già pagato il restauro dell’organo. Mancano però le canne di metà registro: chissà dov’è finito "
        "il resto.",
    ),
    "spanish": (
        "El señor Núñez vende piñones y miel en la plaza. ¿Cuánto pide? Doce euros el kilo, según el año. Mañana "
        "vendrá también su cuñada con los pimientos, que ella misma asó en el patio.",
        "¡Cuidado! El pozo no está cubierto. Quien saque agua después de las diez pagará una multa de cien pesos.",
    ),
    "dutch": (
        "De sluiswachter draait vanaf acht uur. Zeilboten wachten vóór de brug, rondvaartboten erna, en wie haast "
        "heeft, betaalt niets extra. In de vorst van ’56 lag hier alles zeven weken stil.",
        "Eén ei is geen ei, zei oma, en ze brak er nog twee in de pan. Het officiële recept noemt er vier.",
    ),
    "icelandic": (
        "Þegar snjóar í maí ganga kindurnar niður að sjó. Bóndinn telur þær við réttina, og það sem vantar er sótt "
        "daginn eftir. Æðarvarpið er friðað til tíunda júlí, og hundar eru þá bundnir.",
    ),
    "english_curly": (
        "“Don’t touch the governor,” the old fitter used to say – “it’s the only part that thinks.” The mill’s owners "
        "paid him £2 10s a week… and they’d have paid more.",
        "The firm’s motto was “measure twice”; its accounts — as the receiver found in 1926 — were measured once, "
        "if at all. It cost the creditors €40,000 in today’s money.",
    ),
    "turkish": (
        "Şeftali bahçesi köyün üst yanındadır. Işıklar gece yarısı söner, çünkü jeneratör pahalıdır; isteyen, bekçiden "
        "bir fener alabilir. Çocuklar için ağaç evi ücretsizdir.",
        "Iğdır'a giden otobüs öğleden önce kalkar. Gişede kimse yoksa, şoföre ödeyin: dört yüz elli lira.",
    ),
    "polish": (
        "Młyn nad Wisłą mełł zboże z dwunastu wsi. Dziś działa tam świetlica: w środy szachy, w piątki śpiew, a w każdą "
        "niedzielę żurek z białą kiełbasą. Wstęp wolny, źródło ciepła własne.",
        "Gość niezapowiedziany też zje kolację. Kto późno przyjdzie, ten sam sobie szkodzi, mówił dziadek Józef.",
    ),
    "czech": (
        "Příští schůze se koná v úterý v šest hodin večer. Ředitelka představí účet za loňský rok; kdo nemůže přijít, "
        "ať pošle zmocnění. Žluťoučký kůň, kterého děti namalovaly, zůstane ve vstupní hale.",
    ),
    "hungarian": (
        "Az őszi vásár idején a főtéren nem lehet parkolni. Az üvegeseké a kút körüli hely, a fűszereseké a fal menti "
        "sor. Tűzifát csak előre bejelentve adunk, köbméterenként huszonkétezer forintért.",
    ),
    "romanian": (
        "Moara de pe Mureș a măcinat până în 1962. Astăzi țăranii aduc porumbul la oraș, iar clădirea veche ține loc de "
        "școală de dans. În curte crește un păr pe care nimeni nu-l culege.",
    ),
    "lithuanian": (
        "Šiaurės vėjas čia pučia šešis mėnesius per metus. Žvejai grįžta anksti, o žuvį rūko su alksnio malkomis. "
        "Už kilogramą ungurio prašoma dvidešimt aštuonių eurų.",
    ),
    "latvian": (
        "Šī ceļa malā aug vecas liepas. Mēs tās apgriežam katru otro gadu, un zāģēto malku dod skolai; bērni par to raksta "
        "paldies vēstuli ar zīmējumu.",
    ),
    "croatian": (
        "Žičara radi od ožujka do studenoga. Djeca do šest godina voze se besplatno, a đaci plaćaju pola cijene; čekaonica "
        "je grijana.",
    ),
    "catalan": (
        "L’església obre diumenge a les onze. El col·legi d’arquitectes n’ha pagat la teulada nova; l’any que ve es farà el "
        "campanar, si plou prou perquè el riu porti fusta.",
    ),
    "faroese": (
        "Áarvegur er stongdur í dag, tí brúgvin verður málað. Bátarnir kunnu sigla undir hana, men mastrar ið eru hægri enn "
        "átta metrar sleppa ikki ígjøgnum.",
    ),
    "estonian": (
        "Õunad korjatakse septembris ja mahl pressitakse külas. Üks pudel maksab kaks eurot; pühapäeviti on köök suletud, "
        "kuid möldri õde jätab ukse lahti.",
    ),
    "bulgarian": (
        "Воденицата мели само през пролетта, когато водата стига. Хлябът се пече в събота и се продава до обяд; който "
        "закъснее, получава кифла.",
    ),
    "russian": (
        "Паром отходит от северной пристани в семь утра и в четыре пополудни. Билеты продаёт капитан; дети до пяти лет "
        "едут бесплатно, а за велосипед надо заплатить сорок рублей.",
        "Объявление висело у входа всю зиму: «Подъём воды ожидается десятого апреля». Никто не поверил, и подвалы "
        "залило.",
    ),
    "ukrainian": (
        "Їжак живе під ґанком старої школи. Учні носять йому яблука, хоча він їх не їсть; сторож Григорій каже, що "
        "п’ять років тому їжаків було троє.",
    ),
    "greek": (
        "Το καΐκι φεύγει από το παλιό λιμάνι στις οκτώ το πρωί. Το εισιτήριο κοστίζει δεκαπέντε ευρώ και τα παιδιά "
        "πληρώνουν τα μισά. Όταν φυσάει βοριάς πάνω από έξι μποφόρ, δεν πηγαίνουμε πουθενά.",
        "Ο μύλος άλεθε σιτάρι για εννέα χωριά. Σήμερα στεγάζει βιβλιοθήκη, ανοιχτή κάθε Τετάρτη απόγευμα.",
    ),
    "hebrew": (
        "הטחנה על גדת הנחל נבנתה בשנת 1931 ושירתה תשעה עשר משקים. בחודש מרץ היא נחה, כי המים גבוהים מדי. המפתח נמצא אצל "
        "השכנה ממול, והכניסה חופשית לילדים.",
    ),
    "arabic": (
        "تفتح المكتبة أبوابها في التاسعة صباحا وتغلق في السادسة مساء ما عدا يوم الجمعة. يمكن استعارة خمسة كتب لمدة ثلاثة "
        "أسابيع، ومن تأخر دفع درهما عن كل يوم.",
    ),
    "japanese": (
        "水車小屋は川のそばにあり、十九の農家のために穀物をひく。三月は水位が高いので休む。鍵は向かいの家にあり、"
        "子どもは無料で入れる。",
        "始発のバスは午前六時十分に駅前を出る。運賃は二百四十円で、雪の日は二十分ほど遅れることがある。",
    ),
    "chinese": (
        "图书馆每天上午九点开门，星期一休息。每位读者最多可以借六本书，借期为三十天，逾期每天罚款两角。",
        "村口的老槐树已有四百年。一九五八年的大风折断了南面的枝干，村民用铁箍把它固定住。",
    ),
    "chinese_traditional": (
        "漁港的拍賣早上五點開始，只收現金。颱風警報發布後，所有船隻必須在六小時內回港，違者罰款三萬元。",
    ),
    "korean": (
        "등대는 천구백삼십일년에 세워졌고 지금은 작은 박물관이다. 입장료는 어른 삼천 원이며 월요일에는 쉰다. 마지막 "
        "배는 오후 다섯 시에 떠난다.",
    ),
    "hindi": (
        "पुरानी चक्की नदी के किनारे है और उन्नीस गाँवों का अनाज पीसती थी। मार्च में पानी ऊँचा रहता है, इसलिए वह बंद रहती है। बच्चों के लिए "
        "प्रवेश निःशुल्क है।",
    ),
    "thai": ("ตลาดน้ำเปิดทุกวันเสาร์ตั้งแต่เจ็ดโมงเช้าถึงบ่ายสามโมง เรือออกทุกยี่สิบนาทีและค่าโดยสารคนละสี่สิบบาท เด็กเล็กไม่ต้องจ่าย",),
    "vietnamese": (
        "Chợ nổi họp từ năm giờ sáng đến khoảng chín giờ. Khách đi thuyền trả hai mươi nghìn đồng một người; trẻ em dưới "
        "sáu tuổi được miễn phí. Mùa nước lớn, bến phía bắc đóng cửa.",
    ),
}


class Paragraphs:
    """Deals out English paragraphs one after the other, so that files differ."""

    def __init__(self) -> None:
        self._next: Iterator[str] = cycle(ENGLISH)

    def take(self, count: int = 1) -> list[str]:
        """The next paragraphs."""
        return [next(self._next) for _ in range(count)]
