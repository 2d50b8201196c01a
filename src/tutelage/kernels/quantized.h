// Products of a matrix in 8 or 4 bits, laid out as nn/quantized.py says, with a few vectors.
//
// A vector is narrowed as the matrix is: each 32 of its numbers share a scale and become whole numbers
// of -127 .. 127. A group then costs two instructions of the processor's own (VNNI: four products of
// an unsigned and a signed byte, added up) and one multiplication by both scales. What is unsigned is
// the matrix, moved up by 8 or 128; so much times the sum of the vector's numbers is where sums begin.
// Rows are read one after the other: memory gives most when it is read in its own order, and asking
// for it ahead only made it slower. With many vectors rows are widened instead (product.h).

#pragma once

#include <cmath>
#include <cstdint>

#include "element.h"
#include "product.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 10
#define BYTES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,f16c")))
#endif

namespace quantized {

const int64_t GROUP = 32, REGISTER = 64, SUMS = 16, FOUR = 4;

// A matrix [out, in]: codes of whole groups, one after the other; a float16 scale of each, and a
// minimum or none.
struct Matrix {
  const uint8_t *codes;
  const uint16_t *scales, *minimums;
  int64_t bits, out, in;
};
INLINE int64_t groups(const Matrix &m) { return (m.in + GROUP - 1) / GROUP; }
INLINE int64_t row_bytes(const Matrix &m) { return groups(m) * GROUP * m.bits / 8; }
// Groups that a register of codes holds, and how many registers a row fills.
INLINE int64_t together(const Matrix &m) { return m.bits == 4 ? 4 : 2; }
INLINE int64_t registers(const Matrix &m) { return (groups(m) + together(m) - 1) / together(m); }

// As much of a vector as one register of codes meets. In 4 bits that is four groups, their first
// halves in `low` and their second in `high`, as the halves of a byte hold them; in 8 bits two groups,
// in `low`. Each of the sixteen sums is of four bytes.
struct Narrow {
  int8_t low[REGISTER], high[REGISTER];
  float scale[SUMS];
  union {
    int32_t begin[SUMS]; // where the sum begins
    float mass[SUMS];    // with minimums: what those numbers of the vector add up to
  };
};

// Floats of room that a vector of `in` numbers takes.
INLINE int64_t room(int64_t in) {
  return (in + REGISTER - 1) / REGISTER * int64_t(sizeof(Narrow) / sizeof(float));
}

INLINE float half(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = bits & 0x7fff;
  if (rest >= 0x7c00) return __builtin_bit_cast(float, sign | 0x7f800000u | (rest & 0x3ff) << 13);
  if (rest >= 0x0400) return __builtin_bit_cast(float, sign | ((rest << 13) + 0x38000000u));
  const float tiny = float(rest) * 5.9604644775390625e-8f; // 2^-24
  return sign ? -tiny : tiny;
}

// One group of a vector; returns what 1 stands for.
INLINE float narrow_group(const float *x, int64_t count, int8_t to[GROUP]) {
  float top = 0;
  for (int64_t i = 0; i < count; i++) {
    const float size = std::fabs(x[i]);
    top = size > top ? size : top;
  }
  const float inverse = top > 0 ? 127.0f / top : 0.0f;
  for (int64_t i = 0; i < count; i++) to[i] = int8_t(__builtin_rintf(x[i] * inverse));
  for (int64_t i = count; i < GROUP; i++) to[i] = 0;
  return top / 127.0f;
}

INLINE void place_group(const Matrix &m, const int8_t *numbers, float scale, int64_t g, Narrow &to) {
  const int64_t width = REGISTER / together(m), sums = SUMS / together(m);
  for (int64_t i = 0; i < width; i++) {
    to.low[g * width + i] = numbers[i];
    to.high[g * width + i] = m.bits == 4 ? numbers[width + i] : int8_t(0);
  }
  for (int64_t s = g * sums; s < (g + 1) * sums; s++) {
    int32_t sum = 0;
    for (int64_t i = s * FOUR; i < (s + 1) * FOUR; i++) sum += to.low[i] + to.high[i];
    to.scale[s] = scale;
    if (m.minimums)
      to.mass[s] = scale * float(sum);
    else
      to.begin[s] = (m.bits == 4 ? -8 : -128) * sum;
  }
}

// A vector as the matrix meets it.
INLINE void narrow_plainly(const Matrix &m, const float *x, Narrow *to) {
  for (int64_t b = 0; b < registers(m); b++)
    for (int64_t g = 0; g < together(m); g++) {
      const int64_t at = (b * together(m) + g) * GROUP, left = m.in - at;
      int8_t numbers[GROUP];
      const int64_t count = left < 0 ? 0 : left < GROUP ? left : GROUP;
      place_group(m, numbers, narrow_group(x + at, count, numbers), g, to[b]);
    }
}

// The same product, number by number, for processors without the instructions. Sums of a group are
// whole and therefore equal; the order in which groups are added differs.
INLINE float plain(const Matrix &m, int64_t row, const Narrow *x) {
  const int64_t width = REGISTER / together(m), sums = SUMS / together(m);
  const uint8_t *codes = m.codes + row * row_bytes(m);
  float total = 0;
  for (int64_t g = 0; g < groups(m); g++) {
    const Narrow &part = x[g / together(m)];
    const int64_t from = g % together(m), at = row * groups(m) + g;
    int32_t whole = 0;
    for (int64_t i = 0; i < width; i++) {
      const uint8_t code = codes[g * width + i];
      const int8_t low = part.low[from * width + i], high = part.high[from * width + i];
      whole += m.bits == 8 ? int8_t(code) * low : code % 16 * low + code / 16 * high;
    }
    float mass = 0;
    for (int64_t s = from * sums; s < (from + 1) * sums; s++) {
      if (m.minimums) mass += part.mass[s];
      if (!m.minimums && m.bits == 4) whole += part.begin[s];
    }
    total += float(whole) * half(m.scales[at]) * part.scale[from * sums];
    if (m.minimums) total += half(m.minimums[at]) * mass;
  }
  return total;
}

#ifdef BYTES

inline bool available() {
  static const bool found = __builtin_cpu_supports("avx512vnni") && pairs::available();
  return found;
}

// The same as narrow_plainly, sixteen numbers at a time.
BYTES INLINE void narrow_register(const Matrix &m, const float *x, int64_t left, Narrow &to) {
  const int64_t width = REGISTER / together(m), sums = SUMS / together(m);
  for (int64_t g = 0; g < together(m); g++, x += GROUP, left -= GROUP) {
    const uint32_t seen = left >= GROUP ? ~0u : left <= 0 ? 0u : (1u << left) - 1;
    const __m512 first = _mm512_maskz_loadu_ps(__mmask16(seen), x);
    const __m512 second = _mm512_maskz_loadu_ps(__mmask16(seen >> 16), x + 16);
    const float top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
    const __m512 inverse = _mm512_set1_ps(top > 0 ? 127.0f / top : 0.0f);
    const __m128i a = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(first, inverse)));
    const __m128i b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(second, inverse)));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to.low + g * width), a);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(m.bits == 4 ? to.high + g * width : to.low + g * width + 16), b);
    _mm512_mask_storeu_ps(to.scale, __mmask16(((1u << sums) - 1) << (g * sums)), _mm512_set1_ps(top / 127.0f));
  }
  const __m512i ones = _mm512_set1_epi8(1), none = _mm512_setzero_si512();
  __m512i sum = _mm512_dpbusd_epi32(none, ones, _mm512_loadu_si512(to.low));
  if (m.bits == 4)
    sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(to.high));
  else
    _mm512_storeu_si512(to.high, none);
  if (m.minimums)
    _mm512_storeu_ps(to.mass, _mm512_mul_ps(_mm512_loadu_ps(to.scale), _mm512_cvtepi32_ps(sum)));
  else
    _mm512_storeu_si512(to.begin, _mm512_sub_epi32(none, _mm512_slli_epi32(sum, m.bits == 4 ? 3 : 7)));
}

BYTES inline void narrow(const Matrix &m, const float *x, Narrow *to) {
  const int64_t each = together(m) * GROUP;
  for (int64_t b = 0; b < registers(m); b++) narrow_register(m, x + b * each, m.in - b * each, to[b]);
}

// Numbers of float16 for the groups of a register, each beside itself for all sums of its group.
template <int BITS> BYTES INLINE __m512 spread(const uint16_t *from, __mmask8 seen) {
  const __m512i places = BITS == 4
      ? _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
      : _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m128 few = _mm_cvtph_ps(_mm_maskz_loadu_epi16(seen, from));
  return _mm512_permutexvar_ps(places, _mm512_castps128_ps512(few));
}

// sums[r] += row . x[r] for one row of the matrix and M vectors, `apart` Narrows from each other.
template <int BITS, bool MINIMUM, int M>
BYTES INLINE void dots(const Matrix &m, int64_t row, const Narrow *x, int64_t apart, __m512 sums[M]) {
  const int64_t EACH = BITS == 4 ? 4 : 2, count = registers(m);
  const __m512i fifteen = _mm512_set1_epi8(15), up = _mm512_set1_epi8(char(0x80));
  const uint8_t *codes = m.codes + row * row_bytes(m);
  const int64_t first = row * groups(m);
  for (int64_t b = 0; b < count; b++) {
    const int64_t left = groups(m) - b * EACH, bytes = left * (REGISTER / EACH);
    const __mmask64 seen = left >= EACH ? ~uint64_t(0) : (uint64_t(1) << bytes) - 1;
    const __mmask8 scaled = __mmask8((1 << (left >= EACH ? EACH : left)) - 1);
    const __m512i read = _mm512_maskz_loadu_epi8(seen, codes + b * REGISTER);
    const __m512i low = BITS == 4 ? _mm512_and_si512(read, fifteen) : _mm512_xor_si512(read, up);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(read, 4), fifteen);
    const __m512 scale = spread<BITS>(m.scales + first + b * EACH, scaled);
    const __m512 minimum = MINIMUM ? spread<BITS>(m.minimums + first + b * EACH, scaled) : scale;
    for (int r = 0; r < M; r++) {
      const Narrow &part = x[r * apart + b];
      __m512i whole = MINIMUM ? _mm512_setzero_si512() : _mm512_loadu_si512(part.begin);
      whole = _mm512_dpbusd_epi32(whole, low, _mm512_loadu_si512(part.low));
      if (BITS == 4) whole = _mm512_dpbusd_epi32(whole, high, _mm512_loadu_si512(part.high));
      const __m512 both = _mm512_mul_ps(scale, _mm512_loadu_ps(part.scale));
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), both, sums[r]);
      if (MINIMUM) sums[r] = _mm512_fmadd_ps(minimum, _mm512_loadu_ps(part.mass), sums[r]);
    }
  }
}

// y[r, n] (+)= row n . x[r] + bias[n] for M vectors and four rows from `row` on.
template <int BITS, bool MINIMUM, int M>
BYTES INLINE void four_rows(const Matrix &m, int64_t row, const Narrow *x, int64_t apart,
                            const bf16 *bias, float *y, bool add) {
  __m512 sums[4][M];
#pragma GCC unroll 4
  for (int n = 0; n < 4; n++) {
    for (int r = 0; r < M; r++) sums[n][r] = _mm512_setzero_ps();
    dots<BITS, MINIMUM, M>(m, row + n, x, apart, sums[n]);
  }
  for (int r = 0; r < M; r++) {
    float *to = y + r * m.out + row;
    __m128 found = pairs::totals(sums[0][r], sums[1][r], sums[2][r], sums[3][r]);
    if (add) found = _mm_add_ps(found, _mm_loadu_ps(to));
    if (bias) found = _mm_add_ps(found, _mm_setr_ps(wide(bias[row]), wide(bias[row + 1]),
                                                    wide(bias[row + 2]), wide(bias[row + 3])));
    _mm_storeu_ps(to, found);
  }
}

template <int BITS, bool MINIMUM>
BYTES inline void few(const Matrix &m, const bf16 *bias, const Narrow *x, int64_t count,
                      int64_t apart, float *y, bool add, int64_t first, int64_t last) {
  for (int64_t n = first; n < last; n += 4)
    for (int64_t r = 0; r < count; r += 3) {
      float *to = y + r * m.out;
      if (count - r >= 3)
        four_rows<BITS, MINIMUM, 3>(m, n, x + r * apart, apart, bias, to, add);
      else if (count - r == 2)
        four_rows<BITS, MINIMUM, 2>(m, n, x + r * apart, apart, bias, to, add);
      else
        four_rows<BITS, MINIMUM, 1>(m, n, x + r * apart, apart, bias, to, add);
    }
}

// y[r, n] (+)= row n . x[r] + bias[n] for n in [first, last), a multiple of four.
BYTES inline void rows(const Matrix &m, const bf16 *bias, const Narrow *x, int64_t count,
                       int64_t apart, float *y, bool add, int64_t first, int64_t last) {
  if (m.bits == 8)
    few<8, false>(m, bias, x, count, apart, y, add, first, last);
  else if (m.minimums)
    few<4, true>(m, bias, x, count, apart, y, add, first, last);
  else
    few<4, false>(m, bias, x, count, apart, y, add, first, last);
}

// Sixteen codes as s q + m.
BYTES INLINE __m512 widened(__m512i codes, float scale, float least) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(scale), _mm512_set1_ps(least));
}

// A row in bfloat16, rounded once. `in` is a multiple of GROUP.
BYTES inline void widen(const Matrix &m, int64_t row, bf16 *to) {
  const uint8_t *codes = m.codes + row * row_bytes(m);
  for (int64_t g = 0, at = row * groups(m); g < groups(m); g++, at++, to += GROUP) {
    const float scale = half(m.scales[at]);
    const float least = m.minimums ? half(m.minimums[at]) : m.bits == 4 ? -8 * scale : 0.0f;
    __m512i first, second;
    if (m.bits == 4) {
      const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + g * GROUP / 2));
      const __m128i fifteen = _mm_set1_epi8(15);
      first = _mm512_cvtepu8_epi32(_mm_and_si128(both, fifteen));
      second = _mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(both, 4), fifteen));
    } else {
      const __m128i *from = reinterpret_cast<const __m128i *>(codes + g * GROUP);
      first = _mm512_cvtepi8_epi32(_mm_loadu_si128(from));
      second = _mm512_cvtepi8_epi32(_mm_loadu_si128(from + 1));
    }
    const __m512bh wide = _mm512_cvtne2ps_pbh(widened(second, scale, least), widened(first, scale, least));
    _mm512_storeu_si512(to, (__m512i)wide);
  }
}

#else
inline bool available() { return false; }
inline void widen(const Matrix &, int64_t, bf16 *) {}
INLINE void narrow(const Matrix &m, const float *x, Narrow *to) { narrow_plainly(m, x, to); }
inline void rows(const Matrix &, const bf16 *, const Narrow *, int64_t, int64_t, float *, bool, int64_t,
                 int64_t) {}
#endif

// Tens of vectors: eight rows at a time are widened and multiplied in bfloat16 pairs. `space` holds
// count + 8 vectors.
INLINE void rows_widened(const Matrix &m, const bf16 *bias, const float *x, int64_t count, bf16 *space,
                         float *y, bool add, int64_t first, int64_t last) {
  bf16 *wide_rows = space + count * m.in;
  for (int64_t i = 0; i < count * m.in; i++) store(x[i], space + i);
  for (int64_t n = first; n < last; n += pairs::WIDE) {
    for (int64_t j = 0; j < pairs::WIDE; j++) widen(m, n + j, wide_rows + j * m.in);
    pairs::rows(wide_rows, bias ? bias + n : nullptr, space, count, m.in, m.out, y + n, add, 0, pairs::WIDE);
  }
}

// A few: in whole numbers, four rows at a time while there are as many, then one by one.
INLINE void rows_narrowed(const Matrix &m, const bf16 *bias, const float *x, int64_t count, Narrow *space,
                          float *y, bool add, int64_t first, int64_t last) {
  const int64_t apart = registers(m);
  const int64_t fours = available() ? first + (last - first) / 4 * 4 : first;
  for (int64_t r = 0; r < count; r++)
    available() ? narrow(m, x + r * m.in, space + r * apart) : narrow_plainly(m, x + r * m.in, space + r * apart);
  rows(m, bias, space, count, apart, y, add, first, fours);
  for (int64_t n = fours; n < last; n++)
    for (int64_t r = 0; r < count; r++) {
      float *to = y + r * m.out + n;
      const float value = plain(m, n, space + r * apart) + (bias ? wide(bias[n]) : 0.0f);
      *to = add ? *to + value : value;
    }
}

} // namespace quantized
