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

// scores[g, p] = q[g] . key[p] for G query heads, four keys at a time, each read once for all heads.
template <int G, class T>
INLINE void score(const float *q, const Kept<T> &kept, int64_t width, float *scores, int64_t room) {
  const int64_t whole = width / LANES * LANES;
  for (int64_t p = 0; p < kept.count; p += 4) {
    const T *key[4];
    const int64_t left = kept.count - p;
    for (int64_t j = 0; j < 4; j++) {
      const int64_t at = (p + (j < left ? j : 0)) * kept.stride;
      key[j] = kept.keys + at;
      call(key[j] + AHEAD * kept.stride, width);
      call(kept.values + at, width);
    }
    lanes sums[G][4] = {};
    for (int64_t i = 0; i < whole; i += LANES) {
      const lanes keys[4] = {load(key[0] + i), load(key[1] + i), load(key[2] + i),
                             load(key[3] + i)};
      for (int g = 0; g < G; g++) {
        const lanes query = load(q + g * width + i);
        for (int j = 0; j < 4; j++) sums[g][j] += query * keys[j];
      }
    }
    for (int g = 0; g < G; g++) {
      float four[4];
      totals(sums[g][0], sums[g][1], sums[g][2], sums[g][3], four);
      for (int64_t i = whole; i < width; i++)
        for (int j = 0; j < 4; j++) four[j] += q[g * width + i] * wide(key[j][i]);
      for (int64_t j = 0; j < 4 && j < left; j++) scores[g * room + p + j] = four[j] * key_scale(kept, p + j);
    }
  }
}

// W registers of the sums below: several, because each addition waits for the one before.
template <int G, int W, class T>
INLINE void mix_lanes(const float *shares, const Kept<T> &kept, int64_t i, int64_t width, int64_t room,
                      float *y) {
  lanes sums[G][W];
  for (int g = 0; g < G; g++)
    for (int w = 0; w < W; w++) sums[g][w] = load(y + g * width + i + w * LANES);
  for (int64_t p = 0; p < kept.count; p++)
    for (int w = 0; w < W; w++) {
      const lanes value = load(kept.values + p * kept.stride + i + w * LANES) * value_scale(kept, p);
      for (int g = 0; g < G; g++) sums[g][w] += shares[g * room + p] * value;
    }
  for (int g = 0; g < G; g++)
    for (int w = 0; w < W; w++) save(y + g * width + i + w * LANES, sums[g][w]);
}

// y[g] += sum over p of share[g, p] value[p]
template <int G, class T>
INLINE void mix(const float *shares, const Kept<T> &kept, int64_t width, int64_t room, float *y) {
  const int64_t whole = width / LANES * LANES;
  for (int64_t g = 0; g < G; g++)
    for (int64_t i = whole; i < width; i++)
      for (int64_t p = 0; p < kept.count; p++)
        y[g * width + i] += shares[g * room + p] * value_scale(kept, p) * wide(kept.values[p * kept.stride + i]);
  int64_t i = 0;
  for (; i + 2 * LANES <= width; i += 2 * LANES) mix_lanes<G, 2>(shares, kept, i, width, room, y);
  for (; i < whole; i += LANES) mix_lanes<G, 1>(shares, kept, i, width, room, y);
}

// G query heads of one key head over the keys of all parts: y = softmax(q k / sqrt(D)) v
// and the log-sum-exp of the scores.
template <int G, class T>
INLINE void attend_heads(const float *q, const Kept<T> *parts, int64_t count, int64_t width,
                         float *scores, float *y, float *lse) {
  const float scale = 1.0f / std::sqrt(float(width));
  int64_t total = 0, at = 0;
  for (int64_t part = 0; part < count; part++) total += parts[part].count;
  for (int64_t part = 0; part < count; at += parts[part].count, part++)
    score<G>(q, parts[part], width, scores + at, total);
  for (int64_t i = 0; i < G * total; i++) scores[i] *= scale;
  for (int64_t g = 0; g < G; g++) {
    float *row = scores + g * total, top;
    const float mass = soften(row, total, total, top);
    for (int64_t p = 0; p < total; p++) row[p] /= mass;
    lse[g] = top + std::log(mass);
  }
  for (int64_t i = 0; i < G * width; i++) y[i] = 0;
  at = 0;
  for (int64_t part = 0; part < count; at += parts[part].count, part++)
    mix<G>(scores + at, parts[part], width, total, y);
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
