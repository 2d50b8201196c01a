// What the kernels share: clones for several processors, the two types of numbers, whole vectors.

#pragma once

#include <cstdint>

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
INLINE void save(float *to, lanes values) { *reinterpret_cast<unaligned *>(to) = values; }

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
