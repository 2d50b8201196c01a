// Rows of a matrix in few bits made wide again: the layout of nn/quantized.py into float32 or
// bfloat16. A plain C interface for ctypes; see library.py and widen.py.
//
// Bound by writing the wide numbers once; PyTorch takes a pass for each step of the formula.

#include <cstdint>

#include "share.h"

extern "C" {
void tutelage_widen(int64_t half, int64_t threads, int64_t rows, int64_t columns, int64_t group,
                    int64_t bits, const void *numbers, const float *scales, const float *minimums,
                    void *to);
}

namespace {

const int64_t WIDEST_GROUP = 1024;

struct Codes {
  int64_t columns, group, bits;
  const void *numbers;
  const float *scales, *minimums;
  void *to;
};

typedef uint8_t pairs __attribute__((vector_size(16), aligned(1), may_alias));

INLINE lanes floats(pairs from) {
  return __builtin_convertvector(__builtin_convertvector(from, wholes), lanes);
}
INLINE void put(lanes values, float *to) { save(to, values); }
INLINE void put(lanes values, bf16 *to) {
  const words bits = (words)values, even = (bits >> 16) & 1;
  *reinterpret_cast<halves *>(to) = __builtin_convertvector((bits + 0x7fff + even) >> 16, halves);
}

// 4 bits, two a byte: w = s (q - 8), or s q + m with minimums. By sixteens, as the usual group has
// two of them: the compiler would make vectors of four times as many, and go by ones.
template <class T>
INLINE void few(const uint8_t *from, int64_t group, float scale, float zero, float least, T *to) {
  const int64_t half = group / 2;
  T *const high = to + half;
  int64_t j = 0;
  for (; j + LANES <= half; j += LANES) {
    const pairs both = *reinterpret_cast<const pairs *>(from + j);
    put(scale * (floats(both & 15) - zero) + least, to + j);
    put(scale * (floats(both >> 4) - zero) + least, high + j);
  }
  for (; j < half; j++) {
    store(scale * (float(from[j] & 15) - zero) + least, to + j);
    store(scale * (float(from[j] >> 4) - zero) + least, high + j);
  }
}

// 8 bits: w = s q; counted from -128, because only numbers without a sign become whole vectors.
template <class T> INLINE void eight(const int8_t *from, int64_t group, float scale, T *to) {
  int64_t j = 0;
  for (; j + LANES <= group; j += LANES) {
    const pairs read = *reinterpret_cast<const pairs *>(from + j) ^ 128;
    put(scale * (floats(read) - 128.0f), to + j);
  }
  for (; j < group; j++) store(scale * float(from[j]), to + j);
}

template <class T> INLINE void one(const Codes &c, int64_t place, int64_t group, T *to) {
  if (c.bits == 8) return eight(at<int8_t>(c.numbers, place * group), group, c.scales[place], to);
  const float zero = c.minimums ? 0.0f : 8.0f, least = c.minimums ? c.minimums[place] : 0.0f;
  few(at<uint8_t>(c.numbers, place * group / 2), group, c.scales[place], zero, least, to);
}

// Of each row the whole groups, and of the last one what lies inside.
template <class T> INLINE void run(const Codes &c, int64_t first, int64_t last, int64_t) {
  const int64_t group = c.group, whole = c.columns / group;
  const int64_t groups = (c.columns + group - 1) / group;
  T rest[WIDEST_GROUP];
  for (int64_t row = first; row < last; row++) {
    T *to = at<T>(c.to, row * c.columns);
    for (int64_t n = 0; n < whole; n++) one(c, row * groups + n, group, to + n * group);
    if (whole == groups) continue;
    one(c, row * groups + whole, group, rest);
    for (int64_t i = whole * group; i < c.columns; i++) to[i] = rest[i - whole * group];
  }
}

CLONES(widen, Codes, run)

} // namespace

// numbers [rows, groups, group] or with half as many bytes, scales and minimums [rows, groups], to
// [rows, columns]; minimums may be null.
void tutelage_widen(int64_t half, int64_t threads, int64_t rows, int64_t columns, int64_t group,
                    int64_t bits, const void *numbers, const float *scales, const float *minimums,
                    void *to) {
  const Codes c{columns, group, bits, numbers, scales, minimums, to};
  share(c, half, threads, rows, widen_half, widen_full);
}
