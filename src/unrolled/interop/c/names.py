"""C identifiers: the user's own names where C and C++ allow them, each of them once."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

from unrolled.errors import UserError

_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while bool true false nullptr alignas alignof thread_local typeof
    static_assert constexpr asm and and_eq bitand bitor catch class compl concept const_cast
    consteval constinit co_await co_return co_yield decltype delete dynamic_cast explicit export
    friend mutable namespace new noexcept not not_eq operator or or_eq private protected public
    reinterpret_cast requires static_cast template this throw try typeid typename using virtual
    wchar_t char8_t char16_t char32_t xor xor_eq
"""
_MACROS = """
    NAN INFINITY HUGE_VAL HUGE_VALF HUGE_VALL MATH_ERREXCEPT MATH_ERRNO math_errhandling NULL
    OVERFLOW UNDERFLOW DOMAIN SING PLOSS TLOSS MAXFLOAT errno unix linux i386 arm mips sparc vax
    main offsetof assert near far
"""
_TYPES_AND_FUNCTIONS = """
    size_t ptrdiff_t max_align_t uint16_t uint32_t uintptr_t float_t double_t memcpy memset fabsf
    sqrtf expf expm1f logf log1pf sinf cosf erff tanhf powf
"""
_HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg
    stdbool stddef stdint stdio stdlib string tgmath time wchar wctype
"""
RESERVED = frozenset((_KEYWORDS + _MACROS + _TYPES_AND_FUNCTIONS).split())
"""What no name of the user's may be: it would be read as something else."""


class Names:
    """Hands out identifiers of one scope, none twice."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*RESERVED, *taken}

    def new(self, wanted: str) -> str:
        """``wanted`` as C may have it, with a number where it is taken."""
        stem = identifier(wanted)
        if stem in self._taken:
            stem = f"{stem}_"
        name, n = stem, 1
        while name in self._taken:
            n += 1
            name = f"{stem}{n}"
        self._taken.add(name)
        return name


def identifier(text: str) -> str:
    """A text in the letters of C; without the underscores that C keeps to itself."""
    letters = "".join(map(_letter, text))
    plain = re.sub("__+", "_", re.sub(r"\W", "_", letters, flags=re.ASCII)).lstrip("_")
    return plain if plain and not plain[0].isdigit() else f"v{plain}"


def _letter(character: str) -> str:
    """A Greek letter by its name, other letters without their accents where they have some."""
    if character.isascii():
        return character
    words = unicodedata.name(character, "").split()
    if words[:1] == ["GREEK"] and "LETTER" in words:
        name = words[words.index("LETTER") + 1].lower()
        return name.capitalize() if "CAPITAL" in words else name
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or f"u{ord(character):04x}"


def checked_name(name: object) -> str:
    """``name`` if functions, macros and files can be called after it, else ``UserError``."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(
            f"the name {name!r} begins functions and macros in C: it is made of letters, digits "
            "and _, and begins with a letter"
        )
    if name in RESERVED or name in _HEADERS.split() or keyword.iskeyword(name) or "__" in name:
        raise UserError(f"the name {name!r} has a meaning in C: choose another")
    return name
