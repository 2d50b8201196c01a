// Attention of one new query a row over keys and values that stand in blocks, in the model's type or
// in 8 bits: k = s q with a scale s for each token and key head (nn/cache.py).

#pragma once

#include <cmath>
#include <cstdint>

#include "element.h"

// Keys and values one after the other, `stride` numbers apart, and the scales of those in 8 bits.
template <class T> struct Kept {
  const T *keys, *values;
  int64_t count, stride;
  const float *key_scales, *value_scales;
};

template <class T> INLINE float key_scale(const Kept<T> &, int64_t) { return 1.0f; }
template <class T> INLINE float value_scale(const Kept<T> &, int64_t) { return 1.0f; }
INLINE float key_scale(const Kept<int8_t> &kept, int64_t p) { return kept.key_scales[p]; }
INLINE float value_scale(const Kept<int8_t> &kept, int64_t p) { return kept.value_scales[p]; }

// A new key or value where it is kept: in its own type, or as whole numbers of -127 .. 127.
template <class T> INLINE void keep_one(const float *x, int64_t width, T *to, float *) {
  for (int64_t i = 0; i < width; i++) store(x[i], to + i);
}
INLINE void keep_one(const float *x, int64_t width, int8_t *to, float *scale) {
  float most = 0;
  for (int64_t i = 0; i < width; i++) most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
  *scale = most / 127.0f;
  const float by = *scale > 0 ? *scale : 1.0f;
  for (int64_t i = 0; i < width; i++) to[i] = int8_t(__builtin_rintf(x[i] / by));
}

// Asks for memory that will be read: rows of keys lie apart, and values are read after all keys.
const int64_t AHEAD = 16, LINE = 64;
template <class T> INLINE void call(const T *from, int64_t count) {
  for (int64_t i = 0; i < count; i += LINE / sizeof(T)) __builtin_prefetch(from + i);
}

// What scores are made of, four keys at a time: sums[g][j] += q[g] * keys[j] over the first `whole`
// numbers, q in the order of `place`.
template <int G, class T>
INLINE void multiply(const float *q, const T *const key[4], int64_t whole, int64_t width, lanes sums[G][4]) {
  for (int64_t i = 0; i < whole; i += PAIRED) {
    Pair keys[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) keys[j] = load_pair(key[j] + i);
#pragma GCC unroll 3
    for (int g = 0; g < G; g++) {
      const lanes first = load(q + g * width + i), second = load(q + g * width + i + LANES);
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[g][j] += first * keys[j].first + second * keys[j].second;
    }
  }
}

// scores[g, p] = q[g] . key[p] for G query heads, four keys at a time, each read once for all heads.
template <int G, class T>
INLINE void score(const float *q, const Kept<T> &kept, int64_t width, float *scores, int64_t room) {
  const int64_t whole = width / PAIRED * PAIRED;
  for (int64_t p = 0; p < kept.count; p += 4) {
    const T *key[4];
    const int64_t left = kept.count - p;
    for (int64_t j = 0; j < 4; j++) {
      const int64_t at = (p + (j < left ? j : 0)) * kept.stride;
      key[j] = kept.keys + at;
      call(key[j] + AHEAD * kept.stride, width);
      call(kept.values + at, width);
    }
    const lanes none = {};
    lanes sums[G][4];
#pragma GCC unroll 3
    for (int g = 0; g < G; g++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[g][j] = none;
    multiply<G>(q, key, whole, width, sums);
#pragma GCC unroll 3
    for (int g = 0; g < G; g++) {
      float four[4];
      totals(sums[g][0], sums[g][1], sums[g][2], sums[g][3], four);
      for (int64_t i = whole; i < width; i++)
        for (int j = 0; j < 4; j++) four[j] += q[g * width + i] * wide(key[j][i]);
      for (int64_t j = 0; j < 4 && j < left; j++) scores[g * room + p + j] = four[j] * key_scale(kept, p + j);
    }
  }
}

// Thirty-two sums of each head below, W times: several, because each addition waits for the one before.
template <int G, int W, class T>
INLINE void mix_lanes(const float *shares, const Kept<T> &kept, int64_t i, int64_t width, int64_t room,
                      float *y) {
  Pair sums[G][W];
#pragma GCC unroll 3
  for (int g = 0; g < G; g++)
#pragma GCC unroll 2
    for (int w = 0; w < W; w++) {
      const float *from = y + g * width + i + w * PAIRED;
      sums[g][w] = {load(from), load(from + LANES)};
    }
  for (int64_t p = 0; p < kept.count; p++) {
    const float scale = value_scale(kept, p);
#pragma GCC unroll 2
    for (int w = 0; w < W; w++) {
      const Pair value = load_pair(kept.values + p * kept.stride + i + w * PAIRED);
#pragma GCC unroll 3
      for (int g = 0; g < G; g++) {
        const float share = shares[g * room + p] * scale;
        sums[g][w].first += share * value.first;
        sums[g][w].second += share * value.second;
      }
    }
  }
#pragma GCC unroll 3
  for (int g = 0; g < G; g++)
#pragma GCC unroll 2
    for (int w = 0; w < W; w++) {
      float *to = y + g * width + i + w * PAIRED;
      save(to, sums[g][w].first);
      save(to + LANES, sums[g][w].second);
    }
}

// y[g] += sum over p of share[g, p] value[p], in the order of `place`.
template <int G, class T>
INLINE void mix(const float *shares, const Kept<T> &kept, int64_t width, int64_t room, float *y) {
  const int64_t whole = width / PAIRED * PAIRED;
  for (int64_t g = 0; g < G; g++)
    for (int64_t i = whole; i < width; i++)
      for (int64_t p = 0; p < kept.count; p++)
        y[g * width + i] += shares[g * room + p] * value_scale(kept, p) * wide(kept.values[p * kept.stride + i]);
  int64_t i = 0;
  for (; i + 2 * PAIRED <= whole; i += 2 * PAIRED) mix_lanes<G, 2>(shares, kept, i, width, room, y);
  if (i < whole) mix_lanes<G, 1>(shares, kept, i, width, room, y);
}

// Every thirty-two numbers as keys of T are read, times `by`; and back, in place.
template <class T> INLINE void arrange(const float *from, int64_t width, float by, float *to) {
  const int64_t whole = width / PAIRED * PAIRED;
  for (int64_t i = 0; i < whole; i += PAIRED)
    for (int64_t j = 0; j < PAIRED; j++) to[i + place<T>(j)] = from[i + j] * by;
  for (int64_t i = whole; i < width; i++) to[i] = from[i] * by;
}
template <class T> INLINE void restore(float *y, int64_t width, float by) {
  const int64_t whole = width / PAIRED * PAIRED;
  for (int64_t i = 0; i < whole; i += PAIRED) {
    float as_read[PAIRED];
    for (int64_t j = 0; j < PAIRED; j++) as_read[j] = y[i + j];
    for (int64_t j = 0; j < PAIRED; j++) y[i + j] = as_read[place<T>(j)] * by;
  }
  for (int64_t i = whole; i < width; i++) y[i] *= by;
}

// G query heads of one key head over the keys of all parts: y = softmax(q k / sqrt(D)) v
// and the log-sum-exp of the scores.
template <int G, class T>
INLINE void attend_heads(const float *q, const Kept<T> *parts, int64_t count, int64_t width,
                         float *scores, float *y, float *lse) {
  const float scale = 1.0f / std::sqrt(float(width));
  float mass[G];
  int64_t total = 0, at = 0;
  for (int64_t g = 0; g < G; g++) arrange<T>(q + g * width, width, scale, y + g * width);
  for (int64_t part = 0; part < count; part++) total += parts[part].count;
  for (int64_t part = 0; part < count; at += parts[part].count, part++)
    score<G>(y, parts[part], width, scores + at, total);
  for (int64_t g = 0; g < G; g++) {
    float top;
    mass[g] = soften(scores + g * total, total, total, top);
    lse[g] = top + std::log(mass[g]);
  }
  for (int64_t i = 0; i < G * width; i++) y[i] = 0;
  at = 0;
  for (int64_t part = 0; part < count; at += parts[part].count, part++)
    mix<G>(scores + at, parts[part], width, total, y);
  for (int64_t g = 0; g < G; g++) restore<T>(y + g * width, width, 1.0f / mass[g]);
}

// All query heads that share a key head, up to three at a time.
template <class T>
INLINE void attend_group(const float *q, const Kept<T> *parts, int64_t count, int64_t group,
                         int64_t width, float *scores, float *y, float *lse) {
  for (int64_t g = 0; g < group; g += 3) {
    const float *query = q + g * width;
    float *to = y + g * width;
    if (group - g >= 3)
      attend_heads<3>(query, parts, count, width, scores, to, lse + g);
    else if (group - g == 2)
      attend_heads<2>(query, parts, count, width, scores, to, lse + g);
    else
      attend_heads<1>(query, parts, count, width, scores, to, lse + g);
  }
}
