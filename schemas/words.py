"""From text to words, with jieba as the reference and jieba-rs where it gives the same.

rjieba is 16 times as fast as jieba. It differs where ASCII pieces are joined by punctuation
(``LTD-BERT``, ``1.2.3``), on Han characters outside U+4E00-9FD5, and on near ties of the model
(`near_ties`); lines with such pieces go to jieba. With this guard the word counts of 3.28 million
real lines are equal (tests/bench/idf_reference.py), and so are fuzzed lines (tests/test_words.py).
"""

import functools
import hashlib
import re
from pathlib import Path

import jieba
import rjieba

from schemas.near_ties import near_ties

_UNSAFE = re.compile(
    r"[a-zA-Z0-9][._%+#&\-]|[._%+#&\-][a-zA-Z0-9]"
    "|[\u3400-\u4dbf\u9fd6-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Segmenter:
    """Splits a sentence into words; the words joined give the sentence back."""

    def __init__(self, user_dictionary: Path | None = None) -> None:
        """Load jieba's dictionary and, if given, the user's: lines of ``word [frequency] [tag]``.

        With a user dictionary every line goes to jieba, since jieba-rs cannot load one.

        Raises:
            FileNotFoundError: if the user dictionary does not exist.
        """
        jieba.setLogLevel("WARNING")
        self.user_dictionary = user_dictionary
        self._jieba = jieba.Tokenizer()
        self._fast = None if user_dictionary else rjieba.Jieba()
        ties = near_ties()
        self._ties = re.compile("|".join(ties))
        self._tie_starts = frozenset(pair[0] for pair in ties)
        dictionary = Path(jieba.__file__).with_name("dict.txt")
        self.name = f"jieba-{jieba.__version__} hmm dictionary:{_digest(dictionary)}"
        if user_dictionary:
            self._jieba.load_userdict(str(user_dictionary))
            self.name += f" user:{_digest(user_dictionary)}"

    def words(self, text: str) -> list[str]:
        """Segment one cleaned sentence.

        >>> Segmenter().words("我来到北京清华大学")
        ['我', '来到', '北京', '清华大学']
        """
        if self._fast is None or self._is_unsafe(text):
            return list(self._jieba.lcut(text))
        return list(self._fast.cut(text, True))

    def _is_unsafe(self, text: str) -> bool:
        # Looking for the pairs' first characters alone costs a tenth of looking for the pairs.
        if not self._tie_starts.isdisjoint(text) and self._ties.search(text):
            return True
        return _UNSAFE.search(text) is not None


@functools.lru_cache(maxsize=4)
def segmenter(user_dictionary: Path | None = None) -> Segmenter:
    """The segmenter of this process: loading one takes half a second, so workers share it."""
    return Segmenter(user_dictionary)


def _digest(path: Path) -> str:
    """First 16 hexadecimal digits of a file's sha256: enough to tell dictionaries apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
