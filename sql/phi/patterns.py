"""Patterns of text that may identify a patient or a member of staff: dates, names, numbers, addresses, host names.

Patterns do not know people: a name that is written like any other word is not found. Information that must not enter
the lake at all is removed where files are read (``gliolake.ingest.readers.dicom``,
``gliolake.features.preprocessing.volumes.pack``), not here. Separators of file names count as separators: ``_``, ``-``,
and the border between letters and digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from gliolake.sql.phi.people import MONTHS, login_in, person_in
from gliolake.text_shape import shape_of

DATE, NAME, UID, NUMBER, MAIL = "date", "person's name", "DICOM UID", "patient's or accession number", "e-mail address"
USER_PATH, HOST, TEXT = "path with a user's name", "host name", "text that gliolake does not write"
ADDRESS, PHONE = "postal address", "telephone number"


def _any(*forms: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(forms), flags)


_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_MONTH_, _DAY_ = r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_NTH = rf"{_DAY_}(?:st|nd|rd|th|er|ª|º)?"
_NAMED = f"(?:{'|'.join(sorted(MONTHS, key=len, reverse=True))})"

_DATE = _any(
    rf"(?<!\d)(?<!\d\.){_YEAR}(?P<by>[-/_ ]?){_MONTH}(?P=by){_DAY}(?:\d{{4}}|\d{{6}})?(?!\d)",
    rf"(?<!\d){_YEAR}\.{_MONTH}\.{_DAY}(?![\d.])",
    rf"(?<!\d){_YEAR}(?P<of>[-/_]){_MONTH_}(?P=of){_DAY_}(?!\d)",
    rf"(?<!\d){_DAY}{_MONTH}{_YEAR}(?!\d)",
    rf"(?<![\d.]){_DAY_}(?P<sep>[./_ |-]) ?{_MONTH_}(?P=sep) ?{_YEAR}(?![\d.])",
    rf"(?<![\d.]){_MONTH_}(?P<usa>[/-]){_DAY_}(?P=usa){_YEAR}(?![\d.])",
    rf"(?<![\d./-])(?:{_DAY_}/{_MONTH_}|{_MONTH_}/{_DAY_})/\d\d(?![\d/])",
    rf"(?<![\d.-])(?:{_DAY}-{_MONTH}|{_MONTH}-{_DAY})-\d\d(?![\d-])",
    rf"(?<![\d.-])\d\d-{_MONTH}-{_DAY}(?![\d-])",
    rf"(?<![\d.]){_DAY}\.{_MONTH}\.\d\d(?![\d.])",
    rf"(?<!\d){_NTH}\.?[ _-]*(?:of |de )?{_NAMED}[., _-]*(?:de )?(?:{_YEAR}|\d\d(?!\d))",
    rf"(?<!\d){_NTH}\.? ?(?:of |de )?{_NAMED}(?![^\W_])",
    rf"(?<![^\W\d_]){_NAMED}[. _-]*{_NTH}[, _-]+{_YEAR}(?!\d)",
    rf"(?<![^\W\d_]){_NAMED}\.?[ _-]?{_YEAR}(?!\d)",
    rf"(?<!\d){_YEAR}[ _-]?{_NAMED}(?![^\W_])",
    r"(?:(?<!\d)\d{4}|(?:昭和|平成|令和|大正|民國)\d{1,2}) ?[年년] ?\d{1,2} ?[月월]",
    rf"(?<![^\W_]){_DAY_}(?P<roman>[./ -])(?:I{{1,3}}|I?V|VI{{1,3}}|I?X|XI{{1,2}})(?P=roman){_YEAR}(?!\d)",
)
_TITLE = (
    "Dr|Prof|Mr|Mrs|Ms|Miss|Mx|Sir|Lady|Rev|Sgt|Capt|Lt|Col|Sr|Sra|Srta|Señora?|Do[nñ]a|Herrn?|Hr|Frau|Fr|Mme|Mlle"
    "|Monsieur|Madame|Signora?|Sig|Dott|Dottoressa|Senhora?|Mw|Mevr|Mevrouw|Dhr|Fru|Frk|Frøken|Pan|Pani|Paní|Shri|Smt|Bay"
)
_NAME = _any(
    r"[^\W\d_][^\W\d_' -]{1,60}\^{1,5}[^\W\d_]",
    rf"\b(?:{_TITLE})\.?[ _](?:[^\W\d_]\. ?|(?:de|van|von|der|den|di|da) ){{0,2}}[^\W\d_a-zß-ÿ][^\W\d_]",
    flags=0,
)
_UID = _any(
    r"(?<![\d.])2\.25\.\d{8}",
    r"(?<![\d.])(?=[\d.]{15})(?=[\d.]{0,60}\d{3})[012](?:\.(?:0|[1-9]\d{0,38})){4,20}(?!\d)",
)
_NO = r"(?:id|no|nr|num(?:ber|mer)?)"
_RECORD = (
    rf"m\.?r\.?n\.?|med(?:ical)?[ _-]?rec(?:ord)?s?|acc(?:ession)?|acsn|a/n|pat(?:ient)?s?[ _.'-]{{0,2}}{_NO}|pid"
    r"|ssn|sin|nhs|nhi|chi|medicare|kvnr|ipp|nip|nir|cpr|bsn|pesel|cpf|dni|nie|ahv|avs|ur|hn|rut|curp|aadhaar"
    r"|codice[ _]fiscale|personnummer|fødselsn(?:umme)?r|steuer-?id"
    rf"|(?:hosp|hospital|case|insurance|policy|chart|encounter|visit|fall|patienten|versicherten)[ _-]?{_NO}"
    r"|(?:aufnahme|kranken|fall|akten|auftrags?|untersuchungs|pasient|journal)-?(?:nummer|nr)"
)
_BIRTH = r"(?:date of )?birth[ _-]?(?:date|day)?|dob|d\.o\.b|born|geb(?:oren|urtsdatum|urtsjahr|\.)?|n[ée]e? le"
_NUMBER = _any(
    rf"(?<![^\W_])(?:{_RECORD})(?:[ _.]?{_NO})?[\W_]{{0,3}}[A-Z]{{0,3}}[-_]?\d{{3}}",
    rf"(?<![^\W\d_])(?:accession[ _-]?{_NO}?|patient[ _']?s?[ _-]?{_NO})(?![^\W\d_])"
    r"[\W_]{1,3}(?=[A-Z]{0,4}-?\d{2})[A-Z\d]",
    rf"(?-i:(?<=[a-z])(?:Accession|Patient){_NO})(?![^\W\d_])[\W_]{{0,3}}(?=[A-Z]{{0,4}}-?\d)[A-Z\d]",
    r"(?<![^\W\d_])patient[ _']?s?[ _]?name[ _]?[:=]\W{0,2}[^\W_]",
    rf"(?<![^\W\d_])(?:{_BIRTH})(?![^\W\d_])[\W_]{{0,3}}(?:am |on |in )?\d",
    r"(?<![\d-])(?!9|000|666)\d{3}-(?!00)\d{2}-\d{4}(?![\d-])",
    rf"(?<![\d-]){_DAY}{_MONTH}\d\d[-+]\d{{4}}(?![\d-])",
    rf"(?<![\d-])(?:19|20)?\d\d{_MONTH}{_DAY}[-+]\d{{4}}(?![\d-])",
    r"\b[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]\b",
    r"(?<![\d.])\d{3}\.\d{3}\.\d{3}-\d\d(?!\d)",
    r"(?<![\w])[12] \d\d (?:0[1-9]|1[0-2]) \w\d \d{3} \d{3}(?!\d)",
    r"(?<![\d.])756\.\d{4}\.\d{4}\.\d\d(?!\d)",
)
_MAIL = _any(
    r"[\w.+-]{1,64} ?(?:@|\(at\)|\[at\]|(?<= )at(?= [\w-]{1,63}\.[a-z])) ?[\w-]{1,63}(?:\.[\w-]{1,63})+",
    r"(?<![\w.])[a-z][\w.]{1,40}@[a-z][\w-]{2,63}",
)
_PHONE = _any(
    r"(?<![\w.])\+\d{1,3}[ ./-]?\(?\d[\d ()./-]{5,20}\d",
    r"(?<!\w)\(\d{3,5}\) ?\d{3,9}[ -]?\d{2}",
    r"(?<![\w.-])\d{3}[-. ]\d{3}[-. ]\d{4}(?![\w.-])",
    r"(?<![\w.])0\d{2,4}(?: ?/ ?| )\d{3,9}(?:[- ]\d{2,6})?(?!\w)",
    r"(?<![\w.])0\d{2,4}-\d{2}(?:\d{4,6}|-\d{4,7})(?!\w)",
    r"(?<![\w.])00[1-9]\d{0,2} \d{2,4} ?\d{5}",
    r"\b(?:t[eé]l|phone|fax|mobile|telefono?|telefoon|tlf|puh|handy)\b\W{0,3}\+?\d[\d ()/-]{4}",
)
_CAPITAL = r"[^\W\d_a-zß-ÿ][\w'’]{1,30}"
_STREET = "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Boulevard|Blvd|Court|Square|Place|Crescent|Terrace|Highway"
_STRASSE = (
    r"(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|damm|ufer|chaussee|straat|laan|gracht|plein|kade|gatan|v[äa]gen|gade"
    r"| Stra(?:ß|ss)e| Allee| Platz| Weg| Damm)"
)
_ADDRESS = _any(
    rf"(?<!\w)\d{{1,5}}[A-Za-z]?,? (?:[NSEW]\.? )?(?:{_CAPITAL} ){{1,3}}(?:{_STREET})\b",
    rf"(?<!\w)[^\W\d_]{{3,40}}?{_STRASSE} ?\d{{1,4}}\b",
    r"(?<!\w)\d{1,4}(?: bis| ter)?,? ?(?:rue|avenue|boulevard|chemin|all[ée]e|impasse|quai) [^\W\d_]{2}",
    rf"\b(?:Calle|Avenida|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua) (?:{_CAPITAL},? |d[a-z]{{1,4}} ){{1,4}}\d",
    r"\bP\.? ?O\.? ?Box \d",
    r"\b[A-Z]{2},? \d{5}(?:-\d{4})?(?!\d)",
    r"\b[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b",
    rf"(?<!\w)[A-Z]{{1,2}}-\d{{4,5}} {_CAPITAL}",
    rf"(?<![\w.,/])\d{{5}} {_CAPITAL}(?:$|[,;.])",
    flags=0,
)
_USERS = "homes?|users?|benutzer|utilisateurs|usuarios|utenti|people|staff|personal|gebruikers|brukere"
_USER_PATH = _any(
    rf"[/\\](?:{_USERS})[/\\]{{1,4}}(?!shared\b|public\b)[^/\\\s\"']",
    r"[/\\]nfs[/\\]{1,4}users?\b",
    rf"[A-Za-z]:[\\/]{{1,4}}(?:{_USERS}|Documents and Settings|Dokumente und Einstellungen)[\\/]{{1,4}}[^\\/\s]",
    r"(?<![\w/])~\w{1,40}/",
)
_SEGMENT = re.compile(r"(?<=[/\\])[a-z._]{6,20}(?=[/\\]|$)", re.IGNORECASE)
_TOP = "com|org|net|edu|gov|info|io|cloud|eu|de|at|ch|uk|fr|it|es|nl|be|se|no|dk|fi|pl|us|ca|au|jp|cn|in|br"
_PRIVATE = "local|lan|localdomain|internal|intranet|intern|corp|home|hospital|clinic|private|priv"
_PUBLIC = (
    "github|gitlab|python|readthedocs|cancer|cancerimagingarchive|physionet|doi|arxiv|nature|synapse|kaggle|zenodo|wikipedia|nih|amazonaws"
    "|huggingface|pytorch|nema|med-decathlon|rsna|sciencedirect|springer|wiley|osf|docker|debian|anaconda|apache|google"
    "|googleapis|dask|openvinotoolkit|w3"
)
"""Names of sites that everybody knows: they say nothing of where a scan was made."""

_LABEL = r"[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?"
_OCTET = r"(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])"
_HOST = _any(
    rf"(?<![\w@.-])(?!www\.)(?!(?:{_LABEL}\.){{0,4}}(?:{_PUBLIC})\.)"
    rf"(?:(?:{_LABEL}\.){{2,6}}(?:{_TOP})|(?:{_LABEL}\.){{1,6}}(?:{_PRIVATE}))(?![\w.-])",
    r"(?<!\\)\\\\[\w.-]{1,200}\\",
    r"\b(?:smb|nfs|cifs|ssh|sftp|ftp)://[\w.-]",
    rf"(?<![\w.])(?!127\.)(?=[1-9]\d){_OCTET}(?:\.{_OCTET}){{3}}(?![\w.])",
    r"(?<![\w:])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:])",
    r"(?<![\w:])(?=(?:[0-9a-f]{0,4}:){3})(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4}(?![\w:])",
)
_DIGEST = re.compile(
    r"(?<![^\W_])(?=\d{0,200}[a-f])(?=[a-f]{0,200}\d)[0-9a-f]{10,}(?![^\W_])|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""Digests and UUIDs: by chance, their digits make dates and numbers."""


def _found(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def find(text: str) -> str:
        match = pattern.search(text)
        return match[0] if match else ""

    return find


def _name(text: str) -> str:
    return _found(_NAME)(text) or person_in(text)


def _user_path(text: str) -> str:
    return _found(_USER_PATH)(text) or next((part for part in _SEGMENT.findall(text) if login_in(part)), "")


KINDS: dict[str, Callable[[str], str]] = {
    DATE: _found(_DATE),
    NAME: _name,
    UID: _found(_UID),
    NUMBER: _found(_NUMBER),
    MAIL: _found(_MAIL),
    PHONE: _found(_PHONE),
    ADDRESS: _found(_ADDRESS),
    USER_PATH: _user_path,
    HOST: _found(_HOST),
}
"""By kind, what finds the first place of a text that has its form; "" where there is none."""


@lru_cache(maxsize=1 << 16)
def kinds_in(text: str) -> tuple[str, ...]:
    """The kinds of identity whose forms occur in a text, in the order of ``KINDS``."""
    told = _DIGEST.sub("#", text)
    return tuple(kind for kind, find in KINDS.items() if find(told))


def shape_in(text: str, kind: str) -> str:
    """The shape of what was found (``gliolake.text_shape.shape_of``): enough to know it by, too little to read it."""
    find = KINDS.get(kind)
    return shape_of((find(_DIGEST.sub("#", text)) if find else "") or text)
