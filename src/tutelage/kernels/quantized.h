// Products of a matrix in 8 or 4 bits with vectors, in whole numbers.
//
// A vector is narrowed as the matrix is: each 32 of its numbers share a scale and become whole numbers
// of -127 .. 127. The matrix stands in tiles of sixteen rows (kernels/tiles.py): four neighbouring
// numbers of each row fill one register, which meets the same four numbers of the vector in one
// instruction (VNNI: four products of an unsigned and a signed byte, added up, for sixteen rows at
// once). What is unsigned is the matrix, moved up by 8 or 128; so much times the sum of the vector's
// numbers is where sums begin. Sums of a group are whole, and groups are added in their order: a
// vector's product has the same bits whatever other vectors are there.

#pragma once

#include <cmath>
#include <cstdint>

#include "element.h"
#include "product.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 10
#define OLDER __attribute__((target("avx2,fma,f16c")))
#define BYTES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,f16c")))
#endif

namespace quantized {

const int64_t GROUP = 32, ROWS = 16, FOUR = 4, FOURS = GROUP / FOUR, REGISTER = 64;

// A matrix [out, in] in tiles. A group of a tile is its codes, a float16 scale of each row, and a
// minimum or none: what is needed next is always what memory holds next. (Scales of a tile after all
// its codes: twice the time.)
struct Matrix {
  const uint8_t *tiles;
  int64_t bits, minimum, out, in;
};
INLINE int64_t groups(const Matrix &m) { return (m.in + GROUP - 1) / GROUP; }
constexpr int64_t code_bytes(int64_t bits) { return ROWS * GROUP * bits / 8; }
constexpr int64_t group_bytes(int64_t bits, bool minimum) { return code_bytes(bits) + ROWS * (minimum ? 4 : 2); }
INLINE const uint8_t *tile_of(const Matrix &m, int64_t row) {
  return m.tiles + row / ROWS * groups(m) * group_bytes(m.bits, m.minimum);
}

// A group of a vector: its numbers, what 1 stands for, and where a sum begins, or with minimums what
// the numbers add up to.
struct Narrow {
  int8_t numbers[GROUP];
  float scale;
  union {
    int32_t begin;
    float mass;
  };
};

// Floats of room that a vector of `in` numbers takes.
INLINE int64_t room(int64_t in) {
  return (in + GROUP - 1) / GROUP * int64_t(sizeof(Narrow) / sizeof(float));
}

INLINE float half(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = bits & 0x7fff;
  if (rest >= 0x7c00) return __builtin_bit_cast(float, sign | 0x7f800000u | (rest & 0x3ff) << 13);
  if (rest >= 0x0400) return __builtin_bit_cast(float, sign | ((rest << 13) + 0x38000000u));
  const float tiny = float(rest) * 5.9604644775390625e-8f; // 2^-24
  return sign ? -tiny : tiny;
}

INLINE void begin(const Matrix &m, int32_t sum, Narrow &to) {
  if (m.minimum)
    to.mass = to.scale * float(sum);
  else
    to.begin = (m.bits == 4 ? -8 : -128) * sum;
}

// A vector as the matrix meets it.
INLINE void narrow_plainly(const Matrix &m, const float *x, Narrow *to) {
  for (int64_t at = 0; at < m.in; at += GROUP, to++) {
    const int64_t count = m.in - at < GROUP ? m.in - at : GROUP;
    float top = 0;
    for (int64_t i = 0; i < count; i++) {
      const float size = std::fabs(x[at + i]);
      top = size > top ? size : top;
    }
    const float inverse = top > 0 ? 127.0f / top : 0.0f;
    int32_t sum = 0;
    for (int64_t i = 0; i < GROUP; i++) {
      to->numbers[i] = i < count ? int8_t(__builtin_rintf(x[at + i] * inverse)) : int8_t(0);
      sum += to->numbers[i];
    }
    to->scale = top / 127.0f;
    begin(m, sum, *to);
  }
}

// Whole sums of one group for sixteen rows. Register q of 4 bits holds numbers q in its low halves and
// q + 4 in its high ones, counted in fours.
INLINE void whole_plainly(const Matrix &m, const uint8_t *codes, const Narrow &x, int32_t sums[ROWS]) {
  for (int64_t r = 0; r < ROWS; r++) sums[r] = m.minimum ? 0 : x.begin;
  for (int64_t q = 0; q < FOURS; q++) {
    const uint8_t *from = codes + (m.bits == 4 ? q % 4 : q) * ROWS * FOUR;
    const int shift = m.bits == 4 ? int(q / 4) * 4 : 0, mask = m.bits == 4 ? 15 : 255;
    for (int64_t r = 0; r < ROWS; r++)
      for (int64_t i = 0; i < FOUR; i++)
        sums[r] += (from[r * FOUR + i] >> shift & mask) * x.numbers[q * FOUR + i];
  }
}

// y (+)= sixteen sums + bias
INLINE void finish(const Matrix &m, int64_t row, const float sums[ROWS], const bf16 *bias, float *y, bool add) {
  for (int64_t r = 0; r < ROWS && row + r < m.out; r++) {
    const float value = sums[r] + (bias ? wide(bias[row + r]) : 0.0f);
    y[row + r] = add ? y[row + r] + value : value;
  }
}

// Sixteen rows by a vector, number by number.
INLINE void tile_plainly(const Matrix &m, int64_t row, const Narrow *x, const bf16 *bias, float *y, bool add) {
  const uint8_t *codes = tile_of(m, row);
  float sums[ROWS] = {};
  for (int64_t g = 0; g < groups(m); g++, x++, codes += group_bytes(m.bits, m.minimum)) {
    const uint16_t *scales = reinterpret_cast<const uint16_t *>(codes + code_bytes(m.bits));
    int32_t whole[ROWS];
    whole_plainly(m, codes, *x, whole);
    for (int64_t r = 0; r < ROWS; r++) {
      sums[r] += float(whole[r]) * (half(scales[r]) * x->scale);
      if (m.minimum) sums[r] += half(scales[ROWS + r]) * x->mass;
    }
  }
  finish(m, row, sums, bias, y, add);
}

#ifdef BYTES

inline bool older() {
  static const bool found = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return found;
}

// Sums of a group by products of two 16-bit numbers: rows 0 .. 7 and 8 .. 15.
OLDER INLINE void whole_by_pairs(const Matrix &m, const uint8_t *codes, const Narrow &x, __m256i sums[2]) {
  __m256i pairs[4] = {}; // two sums of each row
  const __m128i mask = _mm_set1_epi8(m.bits == 4 ? 15 : char(0xff));
  for (int64_t q = 0; q < FOURS; q++) {
    int32_t four;
    __builtin_memcpy(&four, x.numbers + q * FOUR, FOUR);
    const __m256i numbers = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(four)));
    const uint8_t *from = codes + (m.bits == 4 ? q % 4 : q) * REGISTER;
    const int shift = m.bits == 4 && q >= 4 ? 4 : 0;
    for (int64_t k = 0; k < 4; k++) {
      const __m128i read = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + k * 16));
      const __m128i code = _mm_and_si128(_mm_srli_epi16(read, shift), mask);
      pairs[k] = _mm256_add_epi32(pairs[k], _mm256_madd_epi16(_mm256_cvtepu8_epi16(code), numbers));
    }
  }
  const __m256i from = _mm256_set1_epi32(m.minimum ? 0 : x.begin);
  for (int64_t h = 0; h < 2; h++) {
    const __m256i added = _mm256_hadd_epi32(pairs[2 * h], pairs[2 * h + 1]);
    sums[h] = _mm256_add_epi32(from, _mm256_permute4x64_epi64(added, 0xd8));
  }
}

// As tile_plainly, for the processors of the years before.
OLDER inline void tile_by_pairs(const Matrix &m, int64_t row, const Narrow *x, const bf16 *bias, float *y,
                                bool add) {
  const uint8_t *codes = tile_of(m, row);
  __m256 sums[2] = {};
  for (int64_t g = 0; g < groups(m); g++, x++, codes += group_bytes(m.bits, m.minimum)) {
    const __m128i *scales = reinterpret_cast<const __m128i *>(codes + code_bytes(m.bits));
    __m256i whole[2];
    whole_by_pairs(m, codes, *x, whole);
    for (int64_t h = 0; h < 2; h++) {
      const __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128(scales + h));
      const __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(x->scale));
      sums[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[h]), both, sums[h]);
      if (!m.minimum) continue;
      const __m256 least = _mm256_cvtph_ps(_mm_loadu_si128(scales + 2 + h));
      sums[h] = _mm256_fmadd_ps(least, _mm256_set1_ps(x->mass), sums[h]);
    }
  }
  float found[ROWS];
  for (int64_t h = 0; h < 2; h++) _mm256_storeu_ps(found + 8 * h, sums[h]);
  finish(m, row, found, bias, y, add);
}

inline bool available() {
  static const bool found = __builtin_cpu_supports("avx512vnni") && pairs::available();
  return found;
}

// The same as narrow_plainly, a group at a time.
BYTES inline void narrow(const Matrix &m, const float *x, Narrow *to) {
  for (int64_t left = m.in; left > 0; left -= GROUP, x += GROUP, to++) {
    const uint32_t seen = left >= GROUP ? ~0u : (1u << left) - 1;
    const __m512 first = _mm512_maskz_loadu_ps(__mmask16(seen), x);
    const __m512 second = _mm512_maskz_loadu_ps(__mmask16(seen >> 16), x + 16);
    const float top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
    const __m512 inverse = _mm512_set1_ps(top > 0 ? 127.0f / top : 0.0f);
    const __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(first, inverse));
    const __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(second, inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to->numbers), _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to->numbers + 16), _mm512_cvtepi32_epi8(b));
    to->scale = top / 127.0f;
    begin(m, _mm512_reduce_add_epi32(_mm512_add_epi32(a, b)), *to);
  }
}

// Sixteen numbers of float16.
BYTES INLINE __m512 halves_at(const uint8_t *from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
}

// The codes of a group, four of each row in a register.
template <int BITS> BYTES INLINE void codes_at(const uint8_t *from, __m512i codes[FOURS]) {
  if (BITS == 8) {
#pragma GCC unroll 8
    for (int q = 0; q < FOURS; q++) codes[q] = _mm512_loadu_si512(from + q * REGISTER);
    return;
  }
  const __m512i fifteen = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int q = 0; q < FOURS / 2; q++) {
    const __m512i read = _mm512_loadu_si512(from + q * REGISTER);
    codes[q] = _mm512_and_si512(read, fifteen);
    codes[q + FOURS / 2] = _mm512_and_si512(_mm512_srli_epi16(read, 4), fifteen);
  }
}

// Sixteen rows by M vectors, `apart` groups from each other.
template <int BITS, bool MINIMUM, int M>
BYTES INLINE void tile(const uint8_t *at, const Narrow *x, int64_t apart, __m512 sums[M]) {
  for (int64_t g = 0; g < apart; g++, x++, at += group_bytes(BITS, MINIMUM)) {
    __m512i codes[FOURS];
    codes_at<BITS>(at, codes);
    const uint8_t *beside = at + code_bytes(BITS);
    const __m512 scale = halves_at(beside);
    const __m512 minimum = MINIMUM ? halves_at(beside + 2 * ROWS) : scale;
#pragma GCC unroll 8
    for (int r = 0; r < M; r++) {
      const Narrow &part = x[r * apart];
      __m512i whole = MINIMUM ? _mm512_setzero_si512() : _mm512_set1_epi32(part.begin);
#pragma GCC unroll 8
      for (int q = 0; q < FOURS; q++) {
        int32_t four;
        __builtin_memcpy(&four, part.numbers + q * FOUR, FOUR);
        whole = _mm512_dpbusd_epi32(whole, codes[q], _mm512_set1_epi32(four));
      }
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(part.scale));
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), both, sums[r]);
      if (MINIMUM) sums[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(part.mass), sums[r]);
    }
  }
}

// y[r, n] (+)= row n . x[r] + bias[n] for M vectors and the sixteen rows of a tile.
template <int BITS, bool MINIMUM, int M>
BYTES INLINE void tile_rows(const Matrix &m, int64_t row, const Narrow *x, const bf16 *bias, float *y, bool add) {
  __m512 sums[M];
  for (int r = 0; r < M; r++) sums[r] = _mm512_setzero_ps();
  tile<BITS, MINIMUM, M>(tile_of(m, row), x, groups(m), sums);
  const int64_t left = m.out - row;
  const __mmask16 seen = left >= ROWS ? __mmask16(0xffff) : __mmask16((1 << left) - 1);
  __m512 more = _mm512_setzero_ps();
  if (bias) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(seen, bias + row));
    more = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  }
  for (int r = 0; r < M; r++) {
    float *to = y + r * m.out + row;
    __m512 found = _mm512_add_ps(sums[r], more);
    if (add) found = _mm512_add_ps(found, _mm512_maskz_loadu_ps(seen, to));
    _mm512_mask_storeu_ps(to, seen, found);
  }
}

template <int BITS, bool MINIMUM>
BYTES inline void all(const Matrix &m, const bf16 *bias, const Narrow *x, int64_t count, float *y, bool add,
                      int64_t first, int64_t last) {
  const int64_t apart = groups(m);
  for (int64_t n = first; n < last; n += ROWS) {
    int64_t r = 0;
    for (; r + 8 <= count; r += 8) tile_rows<BITS, MINIMUM, 8>(m, n, x + r * apart, bias, y + r * m.out, add);
    for (; r + 3 <= count; r += 3) tile_rows<BITS, MINIMUM, 3>(m, n, x + r * apart, bias, y + r * m.out, add);
    for (; r < count; r++) tile_rows<BITS, MINIMUM, 1>(m, n, x + r * apart, bias, y + r * m.out, add);
  }
}

BYTES inline void rows(const Matrix &m, const bf16 *bias, const Narrow *x, int64_t count, float *y, bool add,
                       int64_t first, int64_t last) {
  if (m.bits == 8)
    all<8, false>(m, bias, x, count, y, add, first, last);
  else if (m.minimum)
    all<4, true>(m, bias, x, count, y, add, first, last);
  else
    all<4, false>(m, bias, x, count, y, add, first, last);
}

#else
inline bool available() { return false; }
inline bool older() { return false; }
inline void tile_by_pairs(const Matrix &, int64_t, const Narrow *, const bf16 *, float *, bool) {}
INLINE void narrow(const Matrix &m, const float *x, Narrow *to) { narrow_plainly(m, x, to); }
inline void rows(const Matrix &, const bf16 *, const Narrow *, int64_t, float *, bool, int64_t, int64_t) {}
#endif

// y[r, n] (+)= row n . x[r] + bias[n] for n from `first`, where a tile begins, up to `last`.
INLINE void product(const Matrix &m, const bf16 *bias, const float *x, int64_t count, Narrow *space, float *y,
                    bool add, int64_t first, int64_t last) {
  const int64_t apart = groups(m);
  for (int64_t r = 0; r < count; r++)
    available() ? narrow(m, x + r * m.in, space + r * apart) : narrow_plainly(m, x + r * m.in, space + r * apart);
  if (available()) return rows(m, bias, space, count, y, add, first, last);
  for (int64_t n = first; n < last; n += ROWS)
    for (int64_t r = 0; r < count; r++)
      older() ? tile_by_pairs(m, n, space + r * apart, bias, y + r * m.out, add)
              : tile_plainly(m, n, space + r * apart, bias, y + r * m.out, add);
}

} // namespace quantized
