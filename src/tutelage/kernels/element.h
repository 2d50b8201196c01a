// What the kernels share: clones for several processors, the two types of numbers, whole vectors.

#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// The best of the three is chosen when the library is loaded, by what the processor reports.
#define DISPATCH __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DISPATCH
#endif
#define INLINE static inline __attribute__((always_inline))

struct bf16 {
  uint16_t bits;
};

INLINE float wide(float value) { return value; }
INLINE float wide(bf16 value) { return __builtin_bit_cast(float, uint32_t(value.bits) << 16); }
INLINE float wide(int8_t value) { return float(value); }
INLINE void store(float value, float *to) { *to = value; }
INLINE void store(float value, bf16 *to) {
  // Round to nearest, ties to even.
  uint32_t bits = __builtin_bit_cast(uint32_t, value);
  to->bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Sixteen numbers that the compiler keeps in as many registers as the processor needs for them.
const int64_t LANES = 16;
typedef float lanes __attribute__((vector_size(64)));
typedef float unaligned __attribute__((vector_size(64), aligned(4), may_alias));

INLINE lanes load(const float *from) { return *reinterpret_cast<const unaligned *>(from); }
typedef uint16_t halves __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(64)));
INLINE lanes load(const bf16 *from) {
  const words read = __builtin_convertvector(*reinterpret_cast<const halves *>(from), words) << 16;
  return (lanes)read;
}
typedef int8_t bytes __attribute__((vector_size(16), aligned(1), may_alias));
typedef int32_t wholes __attribute__((vector_size(64)));
INLINE lanes load(const int8_t *from) {
  const wholes read = __builtin_convertvector(*reinterpret_cast<const bytes *>(from), wholes);
  return __builtin_convertvector(read, lanes);
}

// Thirty-two numbers in the order in which they are read fastest, and what stands in another order
// beside them: of bfloat16 a word holds two neighbours, the first below, so that the even ones and the
// odd ones come out whole.
const int64_t PAIRED = 2 * LANES;
struct Pair {
  lanes first, second;
};
template <class T> INLINE Pair load_pair(const T *from) { return {load(from), load(from + LANES)}; }
typedef uint32_t loose __attribute__((vector_size(64), aligned(2), may_alias));
INLINE Pair load_pair(const bf16 *from) {
  const words read = *reinterpret_cast<const loose *>(from);
  return {(lanes)(read << 16), (lanes)(read & 0xffff0000u)};
}
// Where number i of thirty-two stands then.
template <class T> INLINE int64_t place(int64_t i) {
  return std::is_same_v<T, bf16> ? i / 2 + i % 2 * LANES : i;
}

INLINE void save(float *to, lanes values) { *reinterpret_cast<unaligned *>(to) = values; }

#ifdef __clang__
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t places __attribute__((vector_size(64)));
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, places{__VA_ARGS__})
#endif

// The sums of four vectors' numbers: pairs of vectors are folded into one until four sums stand
// four times beside each other.
INLINE void totals(lanes a, lanes b, lanes c, lanes d, float *to) {
#define LOW 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define EVEN 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define ODD 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
  const lanes ab = SHUFFLED(a, b, LOW) + SHUFFLED(a, b, HIGH);
  const lanes cd = SHUFFLED(c, d, LOW) + SHUFFLED(c, d, HIGH);
  const lanes four = SHUFFLED(ab, cd, EVEN) + SHUFFLED(ab, cd, ODD);
#undef LOW
#undef HIGH
#undef EVEN
#undef ODD
  const lanes twice = four + SHUFFLED(four, four, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  const lanes once = twice + SHUFFLED(twice, twice, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  for (int i = 0; i < 4; i++) to[i] = once[i];
}

// exp(x) for x <= 0, to about 2e-7 of its value; 0 below -87. A polynomial, because the library's
// function takes one value at a time.
INLINE float exponential(float x) {
  const float turns = __builtin_rintf(x * 1.44269504f);
  const float rest = (x - turns * 0.693359375f) + turns * 2.12194440e-4f;
  float value = 1.98412698e-4f;
  value = value * rest + 1.38888889e-3f;
  value = value * rest + 8.33333333e-3f;
  value = value * rest + 4.16666667e-2f;
  value = value * rest + 1.66666667e-1f;
  value = value * rest + 5.0e-1f;
  value = value * rest * rest + rest + 1.0f;
  const int32_t power = int32_t(turns < -126.0f ? -126.0f : turns) + 127;
  return x < -87.0f ? 0.0f : value * __builtin_bit_cast(float, power << 23);
}

INLINE float sigmoid(float x) {
  const float small = exponential(x < 0.0f ? x : -x);
  return (x < 0.0f ? small : 1.0f) / (1.0f + small);
}

// The compiler does not see that a search for the largest may go by sixteens.
INLINE float largest(const float *from, int64_t count) {
  float top = from[0];
  int64_t i = 0;
  if (count >= LANES) {
    lanes best = load(from);
    for (i = LANES; i + LANES <= count; i += LANES) {
      const lanes next = load(from + i);
      best = next > best ? next : best;
    }
    for (int64_t j = 0; j < LANES; j++) top = best[j] > top ? best[j] : top;
  }
  for (; i < count; i++) top = from[i] > top ? from[i] : top;
  return top;
}

// Softmax numerators of one query over the keys it sees, in place; zeros up to `end`.
INLINE float soften(float *scores, int64_t sees, int64_t end, float &top) {
  const float highest = largest(scores, sees);
  float mass = 0;
  for (int64_t s = 0; s < sees; s++) {
    scores[s] = exponential(scores[s] - highest);
    mass += scores[s];
  }
  for (int64_t s = sees; s < end; s++) scores[s] = 0;
  top = highest;
  return mass;
}
