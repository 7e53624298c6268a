"""A teacher's tokenizer -> one that does by itself all that our code does around it.

Any reader of tokenizer.json then gets a student's tokens from bare text: `schemas.text.clean` and
the cuts are in the file, special tokens are not.
"""

import tokenizers
from tokenizers import Regex, normalizers

from schemas.text import MAX_CHARACTERS

# What `schemas.text.clean` says in Python; a test compares all characters.
_INVISIBLE = (
    "[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_SPACE = "[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
_TOO_MUCH = rf"\A[\s\S]{{{MAX_CHARACTERS}}}\K[\s\S]+"


def cleaning() -> list[normalizers.Normalizer]:
    r"""The steps of `schemas.text.clean`, and first the cut of `distill_jobs.encoder`.

    >>> normalizers.Sequence(cleaning()).normalize_str("\ufeff 今天\u3000天气\t怎么样？\r\n")
    '今天 天气 怎么样？'
    """
    return [
        normalizers.Replace(Regex(_TOO_MUCH), ""),
        normalizers.Replace(Regex(_INVISIBLE), ""),
        normalizers.NFC(),
        normalizers.Replace(Regex(_SPACE), " "),
        normalizers.Strip(),
    ]


def content_tokens(tokenizer_json: str, max_tokens: int) -> int:
    """How many tokens of a sentence remain.

    Args:
        tokenizer_json: the teacher's.
        max_tokens: special tokens included.
    """
    special = tokenizers.Tokenizer.from_str(tokenizer_json).num_special_tokens_to_add(False)
    return max_tokens - int(special)


def plain_tokenizer(tokenizer_json: str, max_tokens: int) -> str:
    """Write cleaning and cutting into a tokenizer, and take its special tokens out.

    A special token spelt out in a sentence stays one, as in our own preparers. Only one that is
    spelt with invisible characters inside does not: the library looks for them before it cleans.

    Args:
        tokenizer_json: the text of a Hugging Face ``tokenizer.json``, the teacher's.
        max_tokens: special tokens included; longer sentences are cut.

    Returns:
        The text of another ``tokenizer.json``.
    """
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
    own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
    tokenizer.normalizer = normalizers.Sequence([*cleaning(), *own])
    tokenizer.post_processor = None
    tokenizer.no_padding()
    tokenizer.enable_truncation(content_tokens(tokenizer_json, max_tokens))
    text: str = tokenizer.to_str()
    return text
