"""Recognises names of people by Faker's lists of some 60,000 given and family names, in many scripts.

Many names are words as well (Case, Field, Green), and places and hospitals are named after people. So a name is a pair:
a given name beside a family name, written in the same way, in a text that speaks of no institution.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from itertools import pairwise
from pkgutil import iter_modules

INSTITUTION = re.compile(
    r"hospital|universit|h[oô]pital|klinik|clinic|cent(?:er|re)\b|institut|medical|college|school|foundation|ospedale|"
    r"syndrome|sarcoma|disease|tumou?r",
    re.IGNORECASE,
)
"""Where one of these stands, what looks like a person may be a place or a diagnosis that is named after one."""

_LISTS = {
    kind: frozenset(words.split())
    for kind, words in tomllib.loads(files("gliolake.sql.phi").joinpath("people.toml").read_text("utf-8")).items()
}
NO_PERSON = _LISTS["ordinary"] | _LISTS["places"]
"""Names that are words, cities or countries too, and are not taken for a person's."""

MONTHS = _LISTS["months"]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])")
_BETWEEN = re.compile(r"[\s,;._^+-]*(?:\d{1,8}[\s,;._^+-]+|[^\W\d_]\.?[\s._^-]+)?")
_HAN = r"[\u3005\u4e00-\u9fff\uac00-\ud7a3]"
_EASTERN = re.compile(rf"(?<!\w){_HAN}{{1,4}}[ \u3000]?{_HAN}{{1,3}}(?!\w)")
_FAMILY = re.compile(
    r".{2,}(?:[dklmnprtvz]ov[aá]?|sson|sen|enko|icz|(?:opoul|iad|itri|imitri)[oi]u?s?|[aeo]vi[cć]|[cń]sk[iay]|shvili|[lr]yan)"
)
"""Endings that, in most cases, make a word a family name."""

_LATIN = str.maketrans(
    dict(zip("абвгдеёзийклмнопрстуфыэії", "abvgdeeziyklmnoprstufyeii", strict=True))
    | {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ю": "yu", "я": "ya", "ъ": "", "ь": ""}
)
"""Cyrillic letters as passports write them in Latin ones."""

_SHORT = 40
"""Letters up to which a text is a cell or a file's name, and no prose."""


def person_in(text: str) -> str:
    """The first pair of words in a text that is a person's name; "" where there is none."""
    if INSTITUTION.search(text):
        return ""
    if found := next((found[0] for found in _EASTERN.finditer(text) if _is_eastern(found[0])), ""):
        return found
    spaced = _CAMEL.sub(" ", text)
    words = [*_WORD.finditer(spaced)]
    for one, two in (*pairwise(words), *pairwise(word for word in words if len(word[0]) > 1)):
        between = spaced[one.end() : two.start()]
        if _BETWEEN.fullmatch(between) and _are_person(one[0], two[0], between, len(text) <= _SHORT):
            return spaced[one.start() : two.end()]
    return ""


def _is_eastern(text: str) -> bool:
    """Whether a family name is followed by a given name, as Chinese, Japanese and Korean people are written."""
    letters = "".join(text.split())
    return any(_is_family(letters[:place]) and _is_given(letters[place:]) for place in range(1, len(letters)))


def login_in(segment: str) -> bool:
    """Whether a folder's name is made of a family name and an initial, or of both names: jsmith, smithj, john.smith."""
    letters = _plain(segment)
    if letters in NO_PERSON:
        return False
    return letters.isalpha() and len(letters) >= 6 and (_is_family(letters[1:]) or _is_family(letters[:-1]))


def _are_person(one: str, two: str, between: str, cell: bool) -> bool:
    both = (_is_given(one) and _is_family(two)) or (_is_family(one) and _is_given(two))
    if not (one[0].isupper() and two[0].isupper()):  # smith_john
        small = (one + two).islower() and min(len(one), len(two)) >= 4
        return both and small and re.search("[._-]", between) is not None
    if min(len(one), len(two)) == 1:  # J. Smith, or Smith, J
        initial_first = between.startswith(".") and len(two) >= 3 and _is_family(two)
        return initial_first or ("," in between and len(one) >= 3 and _is_family(one))
    return len(one) >= 3 and (both or (cell and one.isupper() == two.isupper() and _half_known(one, two, between)))


def _half_known(one: str, two: str, between: str) -> bool:
    """Whether one of two words is a name in its place, and the other may be one that no list has."""
    if {_plain(one), _plain(two)} & NO_PERSON:
        return False
    if re.search("[,^_]", between) and len(one) >= 4 and (_is_given(two) or _is_family(one)):
        return True
    if "," in between or min(len(one), len(two)) < 4:
        return False
    likely = _FAMILY.fullmatch(one.casefold()) and _is_given(two)
    return (two.istitle() and _is_given(one)) or likely is not None


@lru_cache(maxsize=1 << 16)
def _is_given(word: str) -> bool:
    plain = _plain(word)
    return plain in _names()[0] and plain not in NO_PERSON


@lru_cache(maxsize=1 << 16)
def _is_family(word: str) -> bool:
    plain = _plain(word)
    return len(plain) >= 2 and plain in _names()[1] and plain not in NO_PERSON


def _plain(word: str) -> str:
    """A word in small letters, without accents and apostrophes."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if letter.isalpha())


@cache
def _names() -> tuple[frozenset[str], frozenset[str]]:
    """All given and all family names, plain."""
    import faker.providers.person as people

    found: tuple[set[str], set[str]] = (set(), set())
    for module in iter_modules(people.__path__):
        provider = import_module(f"{people.__name__}.{module.name}").Provider
        for kind, names in zip(("first_name", "last_name"), found, strict=True):
            for attribute in dir(provider):
                listed = getattr(provider, attribute)
                if attribute.replace("romanized_", "").startswith(kind) and isinstance(listed, tuple | list | dict):
                    names.update(_plain(name) for name in listed if isinstance(name, str))
    given, family = (frozenset(names | {name.translate(_LATIN) for name in names}) for names in found)
    return given | _LISTS["given"], family | _LISTS["family"]
