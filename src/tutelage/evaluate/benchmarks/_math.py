"""Answers in TeX: which stand for the same number or expression, as MATH's authors compare them.

Hendrycks et al. 2021, arXiv:2103.03874, `math_equivalence.py`: text is put into one form, nothing
is computed. Where we differ: commas that group thousands go, and equal decimals are equal.
"""

from __future__ import annotations

import re

from tutelage.prompts.chain_of_thought import boxed, final_answer

_GONE = (
    r"\left", r"\right", r"\!", r"\,", r"\;", r"\ ", "^{\\circ}", r"^\circ", r"\$", "$", r"\%", "%",
)  # fmt: skip
_UNITS = re.compile(r"\\(?:text|mbox|mathrm)\{\s[^{}]*\}")
_WORDS = re.compile(r"\\(?:text|mbox|mathrm|textbf)\{([^{}]*)\}")
_FRACTION = re.compile(r"\\frac(\d)(\d|\{)")
_ROOT = re.compile(r"\\sqrt(\w)")
_SLASH = re.compile(r"(-?\d+)/(\d+)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECIMAL = re.compile(r"(?<![\d.])0+(?=\.\d)")


def tex_answer(text: str) -> str | None:
    """The last thing in a box, or else what is named as the answer."""
    return boxed(text) or final_answer(text)


def same_tex(text: str) -> str:
    """One form of what means the same."""
    plain = text.replace("\n", "").replace("tfrac", "frac").replace("dfrac", "frac")
    plain = _WORDS.sub(r"\1", _UNITS.sub("", plain))
    for gone in _GONE:
        plain = plain.replace(gone, "")
    head, sign, rest = plain.partition("=")
    if sign and len(head.strip()) <= 2:
        plain = rest
    plain = _THOUSANDS.sub("", plain.strip().rstrip("."))
    plain = _DECIMAL.sub("", plain.replace(" ", ""))
    plain = _ROOT.sub(r"\\sqrt{\1}", plain)
    while (fixed := _FRACTION.sub(_braced, plain)) != plain:
        plain = fixed
    if _SLASH.fullmatch(plain):
        plain = _SLASH.sub(r"\\frac{\1}{\2}", plain)
    if re.fullmatch(r"-?\d*\.\d+", plain):
        plain = plain.rstrip("0").rstrip(".")
    return r"\frac{1}{2}" if plain == ".5" else plain


def _braced(found: re.Match[str]) -> str:
    above, below = found.groups()
    return f"\\frac{{{above}}}" + (below if below == "{" else f"{{{below}}}")
