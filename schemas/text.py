"""From the raw bytes of one line to the text that everything else sees, or the reason why not.

The cleaned text is what gets an id, is segmented and is shown to the teacher, so a change here is a
change of every id: `CLEANING` is part of each table's fingerprint.
"""

import enum
import hashlib
import re
import unicodedata

CLEANING = "nfc-1"
MAX_CHARACTERS = 2048  # jieba is quadratic on long runs: 200,000 equal characters took 107 s
MAX_LINE_BYTES = 65_536

# C0 and C1 controls, zero-width space, direction marks, word joiner, BOM. White space controls are
# not here (they become a space), nor the zero-width joiner, which holds emoji together.
_INVISIBLE = re.compile(
    "[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Reason(enum.StrEnum):
    """Why a line is not a sentence."""

    BLANK = "blank"
    INVALID_UTF8 = "invalid_utf8"
    MALFORMED = "malformed"
    NUL = "nul"
    TOO_LONG = "too_long"
    NO_TOKENS = "no_tokens"


def clean(raw: str) -> str:
    r"""Compose to NFC, drop invisible characters, and reduce white space to single spaces.

    Simplified and traditional script, full-width forms, case and emoji stay as they are.

    >>> clean("\ufeff 今天\u3000天气\t怎么样？\r\n")
    '今天 天气 怎么样？'
    """
    text = _INVISIBLE.sub("", raw)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def read_line(raw: bytes) -> tuple[str, Reason | None]:
    r"""Decode and clean one line.

    Returns:
        The text and None, or an empty text and the reason for rejecting the line.

    >>> read_line("你好。\r\n".encode())
    ('你好。', None)
    >>> read_line(b"\xff\xfe")
    ('', <Reason.INVALID_UTF8: 'invalid_utf8'>)
    """
    if len(raw) > MAX_LINE_BYTES:
        return "", Reason.TOO_LONG
    try:
        return admit(raw.decode())
    except UnicodeDecodeError:
        return "", Reason.INVALID_UTF8


def admit(raw: str) -> tuple[str, Reason | None]:
    """Clean a string that is already decoded (JSON, Parquet); returns as `read_line`."""
    if "\0" in raw:
        return "", Reason.NUL
    if _SURROGATE.search(raw):
        return "", Reason.INVALID_UTF8
    text = clean(raw)
    if not text:
        return "", Reason.BLANK
    if len(text) > MAX_CHARACTERS:
        return "", Reason.TOO_LONG
    return text, None


def sentence_id(text: str) -> str:
    """Name a cleaned text by its content: 128 bits of BLAKE2b as 32 hexadecimal digits.

    >>> sentence_id("你好")
    '7a1609d4239c3f99b54c41fc87bd9f91'
    """
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
