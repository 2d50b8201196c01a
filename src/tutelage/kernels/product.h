// Products of a bfloat16 matrix with up to tens of vectors, by the processor's own bfloat16 pairs.
//
// PyTorch's matrix products reorder a weight before each use, which tens of rows do not repay. Here
// weights are read as they lie: each register holds 32 places of a weight row, multiplied with the
// same places of a vector and added two by two into sixteen float32 sums, which are added up at the
// end. Eight weight rows by three vectors keep 24 sums in flight: enough that loads never wait.

#pragma once

#include <cstdint>

#include "element.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 10
#include <immintrin.h>
#define PAIRS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace pairs {

const int64_t PLACES = 32, WIDE = 8, TALL = 3;

// Whether the processor has them. One with matrix units does better through PyTorch.
inline bool available() {
  static const bool found = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return found;
}

// The sums of four registers.
PAIRS INLINE __m128 totals(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512d two = _mm512_castps_pd(ab), more = _mm512_castps_pd(cd);
  const __m512 four = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(two, more)),
                                    _mm512_castpd_ps(_mm512_unpackhi_pd(two, more)));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(four), _mm512_extractf32x8_ps(four, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// Eight weight rows, the biases of their outputs, and how far behind the next eight are.
struct Eight {
  const bf16 *w[WIDE];
  __m128 bias[WIDE / 4];
  int64_t next;
};

// y[m, n] = sums[m][n] of the eight weight rows + bias[n], added to what is there or in its place.
template <int M>
PAIRS INLINE void finish(const Eight &e, __m512 sums[M][WIDE], float *y, int64_t out, bool add) {
  for (int m = 0; m < M; m++)
    for (int n = 0; n < WIDE; n += 4) {
      float *place = y + m * out + n;
      __m128 found = totals(sums[m][n], sums[m][n + 1], sums[m][n + 2], sums[m][n + 3]);
      if (add) found = _mm_add_ps(found, _mm_loadu_ps(place));
      _mm_storeu_ps(place, _mm_add_ps(found, e.bias[n / 4]));
    }
}

// M of tens of vectors by eight weight rows; meanwhile the weight rows [from, to) of the next eight are
// called for.
template <int M>
PAIRS INLINE void tile(const Eight &e, const bf16 *x, int64_t in, int64_t from, int64_t to, float *y,
                       int64_t out, bool add) {
  __m512 sums[M][WIDE];
  for (int m = 0; m < M; m++)
    for (int n = 0; n < WIDE; n++) sums[m][n] = _mm512_setzero_ps();
  for (int64_t k = 0; k < in; k += PLACES) {
    __m512bh vectors[M];
    for (int m = 0; m < M; m++) vectors[m] = (__m512bh)_mm512_loadu_si512(x + m * in + k);
    for (int64_t n = from; n < to; n++)
      _mm_prefetch(reinterpret_cast<const char *>(e.w[n] + e.next + k), _MM_HINT_T0);
#pragma GCC unroll 8
    for (int n = 0; n < WIDE; n++) {
      const __m512bh weights = (__m512bh)_mm512_loadu_si512(e.w[n] + k);
      for (int m = 0; m < M; m++) sums[m][n] = _mm512_dpbf16_ps(sums[m][n], vectors[m], weights);
    }
  }
  finish<M>(e, sums, y, out, add);
}

// M of a few vectors by eight weight rows, one after the other: memory, which then decides, gives most
// when it is read in its own order. To the bit what `tile` gives.
template <int M>
PAIRS INLINE void in_order(const Eight &e, const bf16 *x, int64_t in, float *y, int64_t out, bool add) {
  __m512 sums[M][WIDE];
#pragma GCC unroll 8
  for (int n = 0; n < WIDE; n++) {
    for (int m = 0; m < M; m++) sums[m][n] = _mm512_setzero_ps();
    for (int64_t k = 0; k < in; k += PLACES) {
      const __m512bh weights = (__m512bh)_mm512_loadu_si512(e.w[n] + k);
      for (int m = 0; m < M; m++)
        sums[m][n] = _mm512_dpbf16_ps(sums[m][n], (__m512bh)_mm512_loadu_si512(x + m * in + k), weights);
    }
  }
  finish<M>(e, sums, y, out, add);
}

// All vectors by eight weight rows. Memory gives the next eight evenly over the tiles.
PAIRS INLINE void column(const Eight &e, const bf16 *x, int64_t count, int64_t in, float *y,
                         int64_t out, bool add) {
  if (count == 1) return in_order<1>(e, x, in, y, out, add);
  if (count == 2) return in_order<2>(e, x, in, y, out, add);
  if (count == 3) return in_order<3>(e, x, in, y, out, add);
  if (count == 4) return in_order<4>(e, x, in, y, out, add);
  if (count == 5) return in_order<5>(e, x, in, y, out, add);
  const int64_t tiles = (count + TALL - 1) / TALL, each = (WIDE + tiles - 1) / tiles;
  int64_t from = 0;
  for (int64_t r = 0; r < count; r += TALL) {
    const int64_t to = from + each < WIDE ? from + each : WIDE, left = count - r;
    const bf16 *vectors = x + r * in;
    if (left >= 3)
      tile<3>(e, vectors, in, from, to, y + r * out, out, add);
    else if (left == 2)
      tile<2>(e, vectors, in, from, to, y + r * out, out, add);
    else
      tile<1>(e, vectors, in, from, to, y + r * out, out, add);
    from = to;
  }
}

// y[r, n] (+)= W[n, :] x[r, :] + bias[n] for n in [first, last), which are a multiple of WIDE; `in`
// is one of PLACES.
PAIRS inline void rows(const bf16 *weight, const bf16 *bias, const bf16 *x, int64_t count, int64_t in,
                       int64_t out, float *y, bool add, int64_t first, int64_t last) {
  for (int64_t n = first; n < last; n += WIDE) {
    Eight e;
    float biases[WIDE] = {};
    for (int64_t j = 0; j < WIDE; j++) {
      e.w[j] = weight + (n + j) * in;
      if (bias) biases[j] = wide(bias[n + j]);
    }
    e.next = WIDE * in;
    for (int j = 0; j < 2; j++) e.bias[j] = _mm_loadu_ps(biases + 4 * j);
    column(e, x, count, in, y + n, out, add);
  }
}

} // namespace pairs

#else

namespace pairs {
const int64_t PLACES = 32, WIDE = 8;
inline bool available() { return false; }
inline void rows(const bf16 *, const bf16 *, const bf16 *, int64_t, int64_t, int64_t, float *, bool,
                 int64_t, int64_t) {}
} // namespace pairs

#endif
