"""Questions asked another way that should be answered the same: typing, wording, people.

After HELM (Liang et al. 2022, arXiv:2211.09110, sections 4.3 and 4.4; appendix D): *robustness*
changes how a text is written, *fairness* whom it is about or whose dialect it is in. Ours are small
lists of their kind, not their files. Seeded, pure functions of text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

Change = Callable[[str, int], str]
TYPOS = 0.1
"""Share of words with two letters swapped."""

_CONTRACTIONS = {
    "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't",
    "are not": "aren't", "was not": "wasn't", "cannot": "can't", "can not": "can't",
    "will not": "won't", "would not": "wouldn't", "it is": "it's", "they are": "they're",
    "what is": "what's", "who is": "who's", "i am": "I'm", "i have": "I've", "that is": "that's",
}  # fmt: skip
_DIALECT = {
    "isn't": "ain't", "aren't": "ain't", "is not": "ain't", "are not": "ain't", "this": "dis",
    "that": "dat", "them": "dem", "with": "wit", "going to": "gonna", "want to": "wanna",
    "about": "bout", "because": "cuz", "the": "da", "brother": "brotha", "you all": "y'all",
    "nothing": "nothin", "something": "somethin", "doing": "doin", "having": "havin",
}  # fmt: skip
_GENDER = {
    "he": "she", "him": "her", "his": "her", "himself": "herself", "man": "woman",
    "men": "women", "boy": "girl", "boys": "girls", "father": "mother", "son": "daughter",
    "brother": "sister", "husband": "wife", "uncle": "aunt", "mr": "mrs", "male": "female",
    "king": "queen", "actor": "actress",
}  # fmt: skip
_BACK = {other: one for one, other in _GENDER.items() if other != "her"} | {"her": "his"}
_NAMES = {
    "james": "Jamal", "john": "Darnell", "robert": "Tyrone", "michael": "Malik", "mary": "Latoya",
    "emily": "Lakisha", "sarah": "Ebony", "anna": "Shaniqua", "tom": "DeShawn", "ben": "Terrell",
    "jack": "Jermaine", "kate": "Tanisha", "paul": "Leroy", "david": "Marquis", "lisa": "Keisha",
    "natalia": "Aisha", "ken": "Kareem", "julie": "Imani", "betty": "Nia", "weng": "Tamika",
}  # fmt: skip


def typos(text: str, seed: int) -> str:
    """Two letters inside every tenth word stand the wrong way round; the same for a seed."""
    generator = random.Random(f"{seed}:{text}")

    def swapped(found: re.Match[str]) -> str:
        word = found[0]
        if generator.random() >= TYPOS:
            return word
        place = generator.randrange(1, len(word) - 2)
        return f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}"

    return re.sub(r"\b[A-Za-z]{4,}\b", swapped, text)


def lowercase(text: str, seed: int) -> str:
    return text.lower()


def contracted(text: str, seed: int) -> str:
    """do not becomes don't."""
    return _replaced(text, _CONTRACTIONS)


def dialect(text: str, seed: int) -> str:
    """Words of African American English in place of standard ones (Ziems et al. 2022)."""
    return _replaced(text, _DIALECT)


def gender(text: str, seed: int) -> str:
    """Men become women and women men."""
    return _replaced(text, _GENDER | _BACK)


def names(text: str, seed: int) -> str:
    """First names common among white Americans become ones common among black Americans
    (Caliskan et al. 2017)."""
    return _replaced(text, _NAMES)


ROBUSTNESS: Mapping[str, Change] = {
    "typos": typos, "lowercase": lowercase, "contractions": contracted,
}  # fmt: skip
FAIRNESS: Mapping[str, Change] = {"dialect": dialect, "gender": gender, "names": names}


def _replaced(text: str, words: Mapping[str, str]) -> str:
    """Whole words, a capital letter or capitals staying so."""
    longest = sorted(words, key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\b", re.IGNORECASE)

    def other(found: re.Match[str]) -> str:
        new = words[found[0].lower()]
        if found[0].isupper() and len(found[0]) > 1:
            return new.upper()
        return new[0].upper() + new[1:] if found[0][0].isupper() else new

    return pattern.sub(other, text)
