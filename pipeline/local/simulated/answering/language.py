"""Which language a text is in, by its stop words and letters."""

from collections import Counter

from pipeline.local.simulated.answering.words import STOP_WORDS, words

NAMES = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian",
    "pt": "portuguese", "nl": "dutch", "ja": "japanese", "zh": "chinese", "ko": "korean",
    "ru": "russian", "ar": "arabic", "el": "greek", "he": "hebrew", "hi": "hindi", "th": "thai",
}  # fmt: skip
_SCRIPTS = (
    ("ja", 0x3040, 0x30FF), ("ko", 0xAC00, 0xD7AF), ("zh", 0x4E00, 0x9FFF), ("ru", 0x0400, 0x04FF),
    ("ar", 0x0600, 0x06FF), ("el", 0x0370, 0x03FF), ("he", 0x0590, 0x05FF), ("hi", 0x0900, 0x097F),
    ("th", 0x0E00, 0x0E7F),
)  # fmt: skip
_LETTERS = {"de": "äöüß", "fr": "çêèàùœ", "es": "ñ¿¡", "pt": "ãõ"}


def _languages_of() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for language, stops in STOP_WORDS.items():
        for word in stops:
            found[word] = (*found.get(word, ()), language)
    return found


_LANGUAGES_OF = _languages_of()


def detect_language(text: str) -> tuple[str | None, float]:
    """The ISO 639-1 code of a text's language and how sure that is; None where there is no word."""
    sample = text[:5000]
    if scripted := _by_script(sample):
        return scripted, 1.0
    found = words(sample)
    if not found:
        return None, 0.0
    scores = dict.fromkeys(STOP_WORDS, 0)
    for word in found:
        for language in _LANGUAGES_OF.get(word, ()):
            scores[language] += 1
    if not sample.isascii():
        lowered = sample.lower()
        for language, letters in _LETTERS.items():
            scores[language] += sum(lowered.count(letter) for letter in letters)
    best = max(scores, key=scores.__getitem__)
    top = scores.pop(best)
    if not top:
        return "en", 0.3
    return best, min(1.0, 0.5 + (top - max(scores.values())) / top)


def _by_script(text: str) -> str | None:
    if text.isascii():
        return None
    counts: Counter[str] = Counter()
    letters = 0
    for character in text:
        if character.isalpha():
            letters += 1
            code = ord(character)
            for language, first, last in _SCRIPTS:
                if first <= code <= last:
                    counts[language] += 1
                    break
    if not counts:
        return None
    if counts["ja"] and counts["zh"]:
        counts["ja"] += counts["zh"]
    language, count = counts.most_common(1)[0]
    return language if count * 2 > letters else None
