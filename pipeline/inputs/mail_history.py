"""What of a mail's text is not its writer's: the mail that it answers, and signatures.

Of a text alone that can only be guessed, and a guess that is wrong loses what a customer wrote. So
text goes only where three things say the same: the mail is a reply (and not a forward, whose point
is what it carries), what follows looks as clients write history, and something is left before it.
Answers between quoted lines, or "see below", keep all. Every rule looks at lines, each a bounded
number of times.
"""

import re
from collections.abc import Sequence

_REPLY = re.compile(r"(?:re|aw|antw|antwort|sv|vs|r|rif|odp|ref|res|ynt|ответ|回复|答复|返信|回覆)"
                    r"\s*(?:\[\d+\])?\s*[:：]", re.IGNORECASE)  # fmt: skip
_FORWARD = re.compile(r"(?:fwd?|wg|tr|rv|enc|i|pd|doorst|vb|vl|пересл|转发|轉寄|転送)\s*[:：]",
                      re.IGNORECASE)  # fmt: skip
_FROM = "from|von|de|da|van|od|från|fra|lähettäjä|от|kimden|发件人|寄件者|差出人|보낸 사람"
_SENT = (
    "sent|date|gesendet|datum|envoyé|date|enviado|fecha|enviada em|data|inviato|verzonden|wysłano|"
    "skickat|sendt|dato|lähetetty|отправлено|дата|gönderildi|tarih|"
    "发送时间|日期|送信日時|日付|보낸 날짜"
)
_SUBJECT = (
    "subject|betreff|objet|asunto|assunto|oggetto|onderwerp|temat|ämne|emne|aihe|тема|konu|"
    "主题|主旨|件名|제목"
)
_HEADER = r"^[>\s]*\*?(?:{})\s*\*?\s*[:：]\*?\s*\S"
_FROM_LINE, _SENT_LINE, _SUBJECT_LINE = (
    re.compile(_HEADER.format(names), re.IGNORECASE) for names in (_FROM, _SENT, _SUBJECT)
)
_HEADER_LINES = 8
"""Of which a block that begins with a sender has the other two, if it is one."""
_RULE = re.compile(r"^\s*[_-]{5,}\s*$")
_TITLED_RULE = re.compile(r"^\s*-{2,}\s*(?P<title>[^\s-].{0,60}?)\s*-{2,}\s*$")
_ORIGINAL = re.compile(
    r"origin|ursprüng|oorspronkelijk|ursprunglig|oprindelig|alkuperäinen|исходное|原始|元のメッセージ",
    re.IGNORECASE,
)
_DATE, _TIME = r"(?:\d{4}|\d{1,2}[./-]\d{1,2}[./-]\d{2})", r"\d{1,2}[:.h]\d{2}"
_ATTRIBUTION = re.compile(rf"@|{_DATE}\b.*{_TIME}|{_TIME}.*{_DATE}", re.DOTALL)
_ATTRIBUTION_OPENS = re.compile(
    r"(?:on|am|le|el|il|op|em|den|dnia|w dniu)\s(?=.*\d{4})(?!.*[:：]\s*$)", re.IGNORECASE
)
_ATTRIBUTION_LINES = 3
_LONGEST_LINE = 500
_SEE_BELOW = re.compile(
    r"\b(?:below|inline|in-line|in red|in blue|unten|in rot|ci-dessous|en rouge|abajo|abaixo|sotto|"
    r"in rosso|hieronder|nedan|nedenfor|poniżej)\b|下記|以下|下面",
    re.IGNORECASE,
)
_SIGNATURE_LINES = 15
_SENT_FROM = re.compile(
    r"^\W{0,3}(?:sent from (?:my|mail for|outlook|yahoo|proton)|sent with|get outlook for|"
    r"gesendet (?:mit|von)|von meinem .{1,30} gesendet|envoyé (?:de|depuis|à partir)|"
    r"enviado (?:desde|do|a partir)|inviato da|verzonden (?:vanaf|met|via)|skickat från|"
    r"sendt fra|wysłano z|отправлено с|發自|发自|iphoneから送信)",
    re.IGNORECASE,
)
_LONGEST_SENT_FROM = 80


def is_reply(subject: str, *, answers: bool) -> bool:
    """Whether a mail is a reply; `answers` is whether its headers name a mail that it answers."""
    start = subject.lstrip()[:40]
    return not _FORWARD.match(start) and (answers or _REPLY.match(start) is not None)


def own_text(text: str, *, is_reply: bool, is_html: bool = False) -> str:
    """A mail's text without quoted history, if it is a reply, and without its signature.

    Of HTML (`is_html`), quoted lines begin with `>` and blanks at the end of lines are lost. Where
    nothing would be left the text stays as it is.
    """
    lines: Sequence[str] = text.splitlines()
    if is_reply:
        lines = _without_header_block(_without_quotes(lines))
    kept = "\n".join(_without_signature(lines, {"-- ", "--"} if is_html else {"-- "})).strip()
    return kept or text.strip()


def _is_quoted(line: str) -> bool:
    return line.lstrip()[:1] == ">"


def _without_quotes(lines: Sequence[str]) -> Sequence[str]:
    """Without quoted lines at the end, and the line that says whose they are."""
    end = len(_without_signature(lines, {"-- "}))
    while end and (not lines[end - 1].strip() or _is_quoted(lines[end - 1])):
        end -= 1
    if any(map(_is_quoted, lines[:end])) or not any(map(_is_quoted, lines[end:])):
        return lines
    return _unless_blank(lines[: _attribution(lines[:end])], lines)


def _attribution(lines: Sequence[str]) -> int:
    """Where the line begins that ends these and says whose quotation follows; else their number."""
    end = len(lines)
    for begin in range(end - 1, max(-1, end - 1 - _ATTRIBUTION_LINES), -1):
        said = " ".join(line[:_LONGEST_LINE].strip() for line in lines[begin:])
        if not said.endswith((":", "：")):
            return end
        if _ATTRIBUTION.search(said):
            # Clients break it where it is long.
            is_broken = begin and _ATTRIBUTION_OPENS.match(lines[begin - 1][:_LONGEST_LINE])
            return begin - 1 if is_broken else begin
    return end


def _without_header_block(lines: Sequence[str]) -> Sequence[str]:
    """Without what begins with the sender, date and subject of the mail that is answered."""
    for at, line in enumerate(lines):
        if not _FROM_LINE.match(line[:_LONGEST_LINE]):
            continue
        block = [each[:_LONGEST_LINE] for each in lines[at + 1 : at + _HEADER_LINES]]
        if not (any(map(_SENT_LINE.match, block)) and any(map(_SUBJECT_LINE.match, block))):
            continue
        begin = at
        while begin and not lines[begin - 1].strip():
            begin -= 1
        before = lines[begin - 1][:_LONGEST_LINE] if begin else ""
        titled = _TITLED_RULE.match(before)
        is_forward = (
            before.rstrip().endswith((":", "：")) if titled is None
            else _ORIGINAL.search(titled["title"]) is None
        )  # fmt: skip
        if is_forward:
            return lines
        if titled or _RULE.match(before):
            begin -= 1
        kept = lines[:begin]
        sees_below = any(_SEE_BELOW.search(each) for each in kept)
        return lines if sees_below else _unless_blank(kept, lines)
    return lines


def _without_signature(lines: Sequence[str], delimiters: set[str]) -> Sequence[str]:
    begin = max(0, len(lines) - _SIGNATURE_LINES - 1)
    for at in range(len(lines) - 1, begin - 1, -1):
        if lines[at] in delimiters:
            return _unless_blank(lines[:at], lines)
    last = next((at for at in reversed(range(len(lines))) if lines[at].strip()), 0)
    is_short = bool(lines) and len(lines[last]) <= _LONGEST_SENT_FROM
    is_added = is_short and _SENT_FROM.match(lines[last].strip())
    return _unless_blank(lines[:last], lines) if is_added else lines


def _unless_blank(kept: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    return kept if any(line.strip() for line in kept) else lines
