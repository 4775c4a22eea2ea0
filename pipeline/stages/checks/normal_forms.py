"""Forms in which values are compared with a text, however either of them is written.

All of this is linear in its input: characters are folded one by one, so that no run of combining
marks can make it slow, and what is nearly the same is looked for at a bounded number of places.
"""

import re
import unicodedata
from collections.abc import Sequence

_NOT_WORD = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LETTERS_NFKD_LEAVES = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d",
                        "þ": "th", "ı": "i"}  # fmt: skip
PLACEHOLDERS = frozenset(
    {
        "", "n/a", "n.a", "na", "nil", "null", "none", "nan", "unknown", "undefined", "tbd", "tba",
        "not specified", "not stated", "not given", "not provided", "not available", "not found",
        "not applicable", "not present", "not mentioned", "not shown", "not printed", "not visible",
        "not legible", "illegible", "unspecified", "unavailable", "missing", "empty", "blank",
        "no date", "no number", "no value", "not in document", "not in the document", "redacted",
        "not in text", "not in the text", "not known", "not readable", "unreadable", "smudged",
        "k.a", "k. a", "keine angabe", "keine angaben", "ohne angabe", "nicht angegeben",
        "nicht vorhanden", "nicht verfügbar", "nicht bekannt", "unbekannt", "unleserlich",
        "nicht lesbar", "entfällt", "keine", "fehlt", "leer",
        "non spécifié", "non précisé", "non renseigné", "non indiqué", "non disponible", "inconnu",
        "néant", "aucun", "aucune", "sans objet", "s/o", "n/d", "n.d", "illisible",
        "no especificado", "no indicado", "no disponible", "desconocido", "ninguno", "no consta",
        "sin especificar", "no aplica", "ilegible",
        "non specificato", "non indicato", "non disponibile", "sconosciuto", "nessuno",
        "não especificado", "não informado", "não indicado", "não disponível", "desconhecido",
        "nenhum", "não consta", "não aplicável",
        "niet opgegeven", "niet vermeld", "niet beschikbaar", "onbekend", "n.v.t", "nvt", "geen",
        "nie podano", "brak", "brak danych", "nieznany", "nieznane", "neuvedeno", "neznámý",
        "ej angivet", "okänt", "saknas", "ikke angitt", "ikke oplyst", "ukjent", "ukendt",
        "ei ilmoitettu", "tuntematon", "nincs megadva", "ismeretlen", "nespecificat", "necunoscut",
        "belirtilmemiş", "bilinmiyor", "yok", "не указано", "не указан", "неизвестно", "нет данных",
        "нет", "н/д", "не вказано", "невідомо", "άγνωστο", "δεν αναφέρεται",
        "غير محدد", "غير معروف", "غير متوفر", "لا يوجد", "לא ידוע", "לא צוין", "نامشخص",
        "अज्ञात", "उपलब्ध नहीं", "निर्दिष्ट नहीं", "ไม่ระบุ", "ไม่ทราบ", "không rõ", "không có",
        "tidak diketahui", "tidak ada", "tidak disebutkan",
        "不明", "記載なし", "なし", "無し", "該当なし", "未記載", "未定", "未知", "未提供",
        "未注明", "未说明", "未說明", "无", "無", "没有", "沒有", "不详", "不詳", "알 수 없음",
        "미상", "없음", "해당 없음", "미기재",
        "to be determined", "unclear", "not clear", "as above", "see above", "same as above",
        "ditto", "placeholder", "unnamed", "s/n", "n/r", "б/н",
        "nicht erkennbar", "nicht ersichtlich", "nicht genannt", "nicht erwähnt", "siehe oben",
        "unbekannter lieferant", "unbekannter kunde", "ohne nummer", "ohne datum",
        "non fourni", "non fournie", "non applicable", "non mentionné", "non visible", "inconnue",
        "sin dato", "sin datos", "sin número", "sin fecha", "no especifica", "no aparece",
        "no figura", "no se indica", "no encontrado", "no visible", "no proporcionado",
        "senza numero", "non presente", "non visibile", "non fornito", "non applicabile",
        "sem número", "não há", "não encontrado", "não aparece", "não fornecido",
        "niet van toepassing", "niet gevonden", "nie dotyczy", "nie określono", "není uvedeno",
        "není k dispozici", "nem szerepel", "nincs", "nu este specificat", "nu este cazul",
        "framgår ej", "finns inte", "ikke oppgitt", "ikke angivet", "ei saatavilla",
        "mevcut değil", "yoktur", "не указана", "отсутствует", "не применимо", "нет номера",
        "відсутній", "немає", "غير مذكور", "غير متاح", "لا ينطبق", "لم يذكر", "לא זמין", "אין",
        "ไม่มี", "ไม่พบ", "ไม่มีข้อมูล", "không", "không áp dụng", "tidak tersedia", "tiada",
        "未記入", "記載無し", "空欄", "見当たらない", "未标明", "未显示", "无法识别", "不适用",
        "沒有提供",
        "해당없음", "불명", "확인 불가", "명시되지 않음",
    }
)  # fmt: skip
"""What models write where they were asked to write nothing; without case and outer punctuation."""
_LONGEST_SENTENCE = 100
_STATED = (
    "given|provided|stated|specified|available|found|shown|present|listed|mentioned|determined"
    "|visible|legible|applicable|indicated|known|readable|printed|included|supplied|identified"
)
_NOTHING_STATED = re.compile(
    rf"(?:[a-z]+ ){{0,3}}(?:not|none|cannot be|could not be)(?: [a-z]+ly)? (?:{_STATED})"
    r"(?: (?:in|on|here|by|from|to|for)\b.{0,40})?"
    rf"|(?:no|missing|unknown) (?:[a-z]+ ){{0,2}}(?:number|date|name|value|information|data|vendor"
    rf"|supplier|seller|buyer|customer|recipient|currency)(?: (?:{_STATED}))?"
    r"|x{4,}"
)
"""The same as sentences, such as "due date not stated in the document"."""
_LEGAL_FORMS = frozenset(
    """
    ab ag aktiengesellschaft aps as asa bhd bv co company corp corporation cv doo dba ek eirl eurl
    ev ewiv gbr ges gesellschaft gmbh haftung inc incorporated kft kg kgaa kk limited llc llp lp
    ltd ltda mbh nv nyrt ohg oy oyj partg plc pllc pte pty pvt sa sab sarl sas sca sci scs sdn se
    sl slu sm sndbhd snc spa spzoo srl sro tic ug zrt zoo ооо зао оао пао ип ат тов
    股份有限公司 有限公司 株式会社 有限会社 合同会社 주식회사
    """.split()  # noqa: SIM905 - a list of words is easier to check than a list of strings
)
_FORM_LETTERS = frozenset("abcegiklmnoprsuvyz")
"""Of forms that are written with full stops: s. r. o., z o. o., e. K."""
_UNUSUAL = 0x10000
_LETTERS_A_MISREADING = 6
_MOST_MISREADINGS = 3
_MOST_PLACES = 16
_SHORTEST_PIECE = 3


class _Folding(dict[int, str]):
    """A table for `str.translate`, which fills itself: at most the 65,536 most usual characters."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if code < _UNUSUAL:
            self[code] = folded
        return folded


_FOLDING = _Folding()


def is_placeholder(text: str) -> bool:
    """Whether a value only says that there is none."""
    plain = " ".join(text.casefold().split()).strip(".-–—_*?/[](){}<>'\"“”„ ")
    return (
        plain in PLACEHOLDERS
        or f"{plain}." in PLACEHOLDERS
        or (len(plain) <= _LONGEST_SENTENCE and _NOTHING_STATED.fullmatch(plain) is not None)
    )


def fold(text: str) -> str:
    """A text without case, diacritics and width, its digits as 0 to 9.

    A character at a time, so that it takes no longer for hostile text than for any other.
    """
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def spaceless(folded: str) -> str:
    """What is left of a folded text without blanks and punctuation."""
    return _NOT_WORD.sub("", folded)


def words_of(folded: str) -> list[str]:
    """The words and numbers of a folded text."""
    return _WORD.findall(folded)


def name_core(words: Sequence[str]) -> list[str]:
    """The words of a name without its legal form; all of them where nothing else is there."""
    core = [word for word in words if word not in _LEGAL_FORMS]
    while len(core) > 1 and core[-1] in _FORM_LETTERS:
        core.pop()
    return core or list(words)


def is_close(needle: str, haystack: str) -> bool:
    """Whether letters occur but for a few that were misread: one in six, at most three.

    Digits are never misread here: a number with another digit is another number.
    """
    allowed = min(_MOST_MISREADINGS, len(needle) // _LETTERS_A_MISREADING)
    if needle in haystack:
        return True
    if allowed == 0 or any(char.isdigit() for char in needle):
        return False
    # One of its pieces is free of misreadings, and so found as it is.
    size = len(needle) // (allowed + 1)
    pieces = [(at, needle[at : at + size]) for at in range(0, size * (allowed + 1), size)]
    return size >= _SHORTEST_PIECE and any(
        _within(needle, haystack[max(0, place - at - allowed) :][: len(needle) + 2 * allowed])
        <= allowed
        for at, piece in pieces
        for place in _places(piece, haystack)
    )


def _places(piece: str, haystack: str) -> list[int]:
    places: list[int] = []
    place = haystack.find(piece)
    while place >= 0 and len(places) < _MOST_PLACES:
        places.append(place)
        place = haystack.find(piece, place + 1)
    return places


def _within(needle: str, window: str) -> int:
    """The least number of edits that make the needle a part of the window."""
    row = [0] * (len(window) + 1)
    for count, wanted in enumerate(needle, start=1):
        above, row[0] = row[0], count
        for at, char in enumerate(window, start=1):
            above, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, above + (char != wanted))
    return min(row)


def _fold(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    decomposed = unicodedata.normalize("NFKD", char.casefold())
    kept = "".join(part for part in decomposed if unicodedata.category(part) not in {"Mn", "Cf"})
    plain = "".join(_LETTERS_NFKD_LEAVES.get(part, part) for part in kept.casefold())
    # What is one character again, such as a syllable of Hangul, is compared as one.
    return unicodedata.normalize("NFC", plain)
