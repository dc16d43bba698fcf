"""Patterns of a cohort's description. They match untrusted names, so their time is limited."""

from __future__ import annotations

import math
import re
from time import thread_time
from typing import TYPE_CHECKING
from unicodedata import normalize

from gliolake import limits
from gliolake.errors import InputError
from gliolake.text_shape import shape_of
from gliolake.toml_file import Wrong

if TYPE_CHECKING:
    import regex

_SECONDS = 1.0
"""Processor time that a pattern may take over all names together, beyond what they usually take."""

_USUAL = 1e-4
"""Seconds that a name may take on average: some thirty times what one takes."""


class PatternTooSlow(InputError):
    """A pattern's time is up. The text is not quoted: it may be a cell of a label file."""


class TimedPattern:
    """A regular expression that a text has to match whole, letter by letter in Unicode's normal form C.

    It may take ``_SECONDS`` beyond ``_USUAL`` for each text, whether it spends them on one text or on a million.
    """

    def __init__(self, expression: str, *, written: str) -> None:
        """``written`` is the pattern as its description gives it.

        Raises:
            regex.error: it is no regular expression.
        """
        import regex  # not among what MXNet's workers have, which read no descriptions

        self._compiled = regex.compile(normalize("NFC", expression), regex.ASCII)
        self.written = written
        self._left = _SECONDS

    @property
    def groups(self) -> frozenset[str]:
        """Names of its groups."""
        return frozenset(self._compiled.groupindex)

    def fullmatch(self, text: str) -> regex.Match[str] | None:
        """The match of a whole text, if it does match.

        Raises:
            PatternTooSlow: its time is up.
        """
        if not text.isascii():
            text = normalize("NFC", text)
        began = thread_time()
        try:
            match = self._compiled.fullmatch(text, timeout=self._left)
        except TimeoutError:
            match, self._left = None, 0.0
        self._left = min(_SECONDS, self._left + _USUAL - (thread_time() - began))
        if self._left <= 0:
            self._left = _SECONDS  # for whoever asks again
            raise PatternTooSlow(
                f"The pattern {self.written!r} takes more than {_SECONDS:g} s over names of the form {shape_of(text)}.",
                hint="Write it with fewer * between fixed parts, and without repeats within repeats, such as (a+)+.",
            )
        return match


def read_pattern(written: str) -> TimedPattern:
    """A pattern as its description gives it. Raises Wrong."""
    import regex

    if len(written) > limits.NAME:
        raise Wrong(f"has {len(written):,} letters; the limit is {limits.NAME}")
    counts = [max(int(count or 1) for count in pair) for pair in re.findall(r"\{(\d*),?(\d*)\}", written)]
    if math.prod(counts) > limits.REPEATS:  # a compiler may write out each of them
        raise Wrong(f"asks for more than {limits.REPEATS:,} repeats")
    try:
        return TimedPattern(written, written=written)
    except regex.error as error:
        raise Wrong(f"is not a regular expression: {error}") from error
