"""A short list of insults, threats and obscenity, and how much of a text stands in it."""

from __future__ import annotations

import re

_LISTED = """
asshole bastard bitch bullshit cocksucker coon crap cunt damned dickhead dumbass dyke fag
faggot filthy fuck fucked fucker fucking goddamn idiot idiots imbecile jackass kike loser
losers moron morons motherfucker nazi nigger paki parasite parasites piss pissed prick
pussy rape rapist retard retarded retards scum shit shithead shitty shut slut sluts spic
stupid subhuman trash tranny twat vermin wanker whore whores worthless
"""
WORDS = tuple(_LISTED.split())
"""Words that people call toxic nearly wherever they stand. It misses hatred in clean words."""
THREATS = (
    "kill yourself",
    "i will kill",
    "hope you die",
    "go die",
    "deserve to die",
    "beat you up",
)
_LIST = re.compile(
    rf"(?<!\w)(?:{'|'.join(map(re.escape, (*THREATS, *WORDS)))})(?!\w)", re.IGNORECASE
)


def by_words(text: str) -> float:
    """0, and from 0.5 up for one word of the list and more: 1 - 0.5^n."""
    return 0.0 if (count := len(_LIST.findall(text))) == 0 else 1 - 0.5**count
