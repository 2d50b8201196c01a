"""How a number is stored: sign, exponent and fraction bit by bit, and what is lost.

    stored("3.141592", FORMATS["bf16"])        0 10000000 1001001 = 3.140625

A value is rounded to the nearest that the format has, ties to the even one, as IEEE 754-2019
section 4.3.1 says and hardware does; `truncated` is the other way, dropping the bits that are left
over. Arithmetic is exact, on fractions, so the decimal given is rounded once. FP8 is E4M3 (no
infinity, one NaN; held at its largest, as PyTorch does) and E5M2 of Micikevicius et al. 2022,
arXiv:2209.05433. Integers are two's complement (INT8 from -128 to 127, no separate sign), rounded
and held at their ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tutelage.errors import ConfigError


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, or with `exponent` 0 a whole number in two's complement.

    `infinite`: whether the highest exponent means infinity and NaN; else only its last number does.
    """

    name: str
    exponent: int
    fraction: int
    infinite: bool = True

    @property
    def bias(self) -> int:
        return (1 << (self.exponent - 1)) - 1

    @property
    def largest(self) -> Fraction:
        """The largest finite value."""
        if self.exponent == 0:
            return Fraction((1 << self.fraction) - 1)
        top = (1 << self.exponent) - (2 if self.infinite else 1) - self.bias
        steps = (2 << self.fraction) - (1 if self.infinite else 2)
        return steps * power(top - self.fraction)

    @property
    def smallest_normal(self) -> Fraction:
        return Fraction(1) if self.exponent == 0 else power(1 - self.bias)


FORMATS = {
    one.name: one
    for one in (
        Format("fp32", 8, 23),
        Format("tf32", 8, 10),
        Format("fp16", 5, 10),
        Format("bf16", 8, 7),
        Format("fp8_e4m3", 4, 3, infinite=False),
        Format("fp8_e5m2", 5, 2),
        Format("int8", 0, 7),
        Format("int4", 0, 3),
    )
}
"""TF32 is what tensor cores compute with: 19 bits, kept in the place of 32."""


def power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def stored(value: str, form: Format, truncate: bool = False) -> dict[str, Any]:
    """`{"bits", "value", "error", "largest", ...}` of a decimal number in a format.

    `value` is null, with a reason, where the number is beyond the largest and becomes infinite.
    Raises ConfigError for a text that is no finite number.
    """
    exact, sign = parsed(value), int(value.lstrip().startswith("-"))
    if form.exponent == 0:
        found = _whole(exact, form, truncate)
    else:
        found = _real(sign, exact, form, truncate)
    return found | {"largest": float(form.largest), "smallest_normal": float(form.smallest_normal)}


def parsed(text: str) -> Fraction:
    """The number a text says, exactly. Raises ConfigError."""
    try:
        if len(text) > 400 or abs(int(text.lower().partition("e")[2] or 0)) > 400:
            raise ValueError(text)
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(
            "not a finite number", field="VALUE", got=text, expected="a number as 3.141592 or 1e-3"
        ) from None


def _real(sign: int, exact: Fraction, form: Format, truncate: bool) -> dict[str, Any]:
    size = abs(exact)
    step = power(max(_exponent(size), 1 - form.bias) - form.fraction)
    # `round` takes the even one of two that are equally near.
    got = step * (int(size / step) if truncate else round(size / step))
    if got > form.largest:
        return _beyond(sign, exact, form, truncate)
    exponent, whole = max(_exponent(got), 1 - form.bias), 1 << form.fraction
    steps = int(got / power(exponent - form.fraction))
    biased = exponent + form.bias if steps >= whole else 0
    parts = (str(sign), f"{biased:0{form.exponent}b}", f"{steps % whole:0{form.fraction}b}")
    return _said(parts, -got if sign else got, exact)


def _beyond(sign: int, exact: Fraction, form: Format, truncate: bool) -> dict[str, Any]:
    """Larger than the largest: infinity, or the largest where there is none or bits are dropped."""
    if truncate or not form.infinite:
        found = _real(sign, -form.largest if sign else form.largest, form, truncate)
        return found | {"error": float(Fraction(found["value"]) - exact)}
    parts = [str(sign), "1" * form.exponent, "0" * form.fraction]
    reason = f"beyond the largest, {float(form.largest):g}: infinity"
    return {"bits": "".join(parts), "parts": parts, "value": None, "error": None, "reason": reason}


def _whole(exact: Fraction, form: Format, truncate: bool) -> dict[str, Any]:
    bound = 1 << form.fraction
    got = max(-bound, min(bound - 1, int(exact) if truncate else round(exact)))
    return _said((f"{got % (2 * bound):0{form.fraction + 1}b}",), Fraction(got), exact)


def _said(parts: tuple[str, ...], got: Fraction, exact: Fraction) -> dict[str, Any]:
    return {
        "bits": "".join(parts),
        "parts": list(parts),
        "value": float(got),
        "error": float(got - exact),
    }


def _exponent(size: Fraction) -> int:
    """The e with 2^e <= size < 2^(e+1); very small for 0."""
    if size == 0:
        return -(10**6)
    guess = size.numerator.bit_length() - size.denominator.bit_length()
    return guess if size >= power(guess) else guess - 1
