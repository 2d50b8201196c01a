// One new token a row through a pre-norm decoder: norm, projections, rotation, attention over the
// kept keys, gated feed-forward, logits. A plain C interface for ctypes; see library.py.
//
// Decoding a few rows is bound by reading the weights once. PyTorch reads them through some fifty
// operators a layer; here one parallel region walks the whole model, weights in their stored type,
// everything else in float32. Threads split the rows of each weight matrix, so no result depends on
// how many there are.

#include <cmath>
#include <cstdint>
#include <omp.h>

#include "element.h"

extern "C" {

struct Linear {
  const void *weight; // [out, in]
  const void *bias;   // [out] or null
  int64_t out, in;
};

struct Layer {
  const void *norm_attn, *norm_mlp; // [width]
  Linear q, k, v, o, gate, up, down;
};

struct Model {
  int64_t half; // 1: weights and cache in bfloat16, 0: in float32
  int64_t layers, width, heads, key_heads, head_width;
  float eps;
  const Layer *layer;
  const void *norm;
  Linear head;
};

struct Cache {
  void *keys, *values; // [layers, slots, key_heads, room, head_width]
  int64_t slots, room;
  const void *const *prefix_keys, *const *prefix_values; // per layer [prefix, key_heads, head_width]
  int64_t prefix;
};

struct Batch {
  int64_t rows;
  const int64_t *slot, *length; // where each row's new token goes: own tokens so far
  const float *cosine, *sine;   // [rows, head_width]
  float *x;                     // [rows, width]: the tokens' vectors, overwritten
  float *logits;                // [rows, vocabulary]
  float *scratch;               // see tutelage_scratch
  int64_t threads;
};

// Attention alone, of one new query a row over that row's own keys, for batches whose products
// PyTorch computes. Also gives the log-sum-exp, to join with attention to a shared prefix.
struct Own {
  int64_t half, rows, heads, key_heads, head_width, room, threads;
  const void *q;           // [rows, heads, head_width]
  const void *keys, *values; // [rows, key_heads, room, head_width]
  const int64_t *length;   // keys of each row
  void *y;                 // [rows, heads, head_width]
  float *lse;              // [rows, heads]
  float *scratch;          // threads x heads / key_heads x room
};

void tutelage_attend(const Own *own);
int64_t tutelage_scratch(const Model *m, const Cache *c, int64_t rows, int64_t threads);
void tutelage_step(const Model *m, const Cache *c, const Batch *b);
}

namespace {

// Dot products of four weight rows with one vector. The vector of a bfloat16 product stands split,
// even places before odd ones: a 32-bit word of two weights then becomes two floats by a shift and a
// mask, where widening each weight on its own would shuffle registers.
INLINE void dots(const float *const w[4], const float *x, int64_t in, float sums[4]) {
  float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int64_t i = 0; i < in; i++) {
    s0 += w[0][i] * x[i];
    s1 += w[1][i] * x[i];
    s2 += w[2][i] * x[i];
    s3 += w[3][i] * x[i];
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

typedef uint32_t __attribute__((may_alias)) pair;
INLINE float low(pair two) { return __builtin_bit_cast(float, uint32_t(two << 16)); }
INLINE float high(pair two) { return __builtin_bit_cast(float, uint32_t(two & 0xffff0000u)); }

INLINE void dots(const bf16 *const w[4], const float *x, int64_t in, float sums[4]) {
  const pair *w0 = reinterpret_cast<const pair *>(w[0]);
  const pair *w1 = reinterpret_cast<const pair *>(w[1]);
  const pair *w2 = reinterpret_cast<const pair *>(w[2]);
  const pair *w3 = reinterpret_cast<const pair *>(w[3]);
  const int64_t half = in / 2;
  const float *even = x, *odd = x + half;
  float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int64_t i = 0; i < half; i++) {
    s0 += low(w0[i]) * even[i] + high(w0[i]) * odd[i];
    s1 += low(w1[i]) * even[i] + high(w1[i]) * odd[i];
    s2 += low(w2[i]) * even[i] + high(w2[i]) * odd[i];
    s3 += low(w3[i]) * even[i] + high(w3[i]) * odd[i];
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

INLINE const float *arranged(const float *x, int64_t, int64_t, float *, const float *) { return x; }
INLINE const float *arranged(const float *x, int64_t rows, int64_t in, float *room, const bf16 *) {
  const int64_t half = in / 2;
  for (int64_t r = 0; r < rows * in; r += in)
    for (int64_t i = 0; i < half; i++) {
      room[r + i] = x[r + 2 * i];
      room[r + half + i] = x[r + 2 * i + 1];
    }
  return room;
}

// y[r, n] (+)= W[n, :] x[r, :] + bias[n] for n in [first, last): four weight rows at a time, each
// read from memory once for all rows of the batch.
template <class T>
INLINE void rows_of(const Linear &l, const float *x, int64_t rows, float *y, bool add,
                    int64_t first, int64_t last, float *room) {
  const T *weight = static_cast<const T *>(l.weight);
  const T *bias = static_cast<const T *>(l.bias);
  const int64_t in = l.in, out = l.out;
  const float *vectors = arranged(x, rows, in, room, weight);
  for (int64_t n = first; n < last; n += 4) {
    const int64_t count = last - n < 4 ? last - n : 4;
    const T *w[4];
    for (int64_t j = 0; j < 4; j++) w[j] = weight + (n + (j < count ? j : 0)) * in;
    for (int64_t r = 0; r < rows; r++) {
      float sums[4];
      dots(w, vectors + r * in, in, sums);
      for (int64_t j = 0; j < count; j++) {
        const float value = sums[j] + (bias ? wide(bias[n + j]) : 0.0f);
        float *to = y + r * out + n + j;
        *to = add ? *to + value : value;
      }
    }
  }
}

template <class T>
INLINE void norm_row(const float *x, const T *gain, float eps, int64_t width, float *y) {
  float sum = 0;
  for (int64_t i = 0; i < width; i++) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / float(width) + eps);
  for (int64_t i = 0; i < width; i++) y[i] = x[i] * scale * wide(gain[i]);
}

// Halves paired: (x_j, x_{j+D/2}) turned by the position's angle.
INLINE void rotate(float *x, const float *cosine, const float *sine, int64_t width) {
  const int64_t half = width / 2;
  for (int64_t j = 0; j < half; j++) {
    const float a = x[j], b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j + half] + a * sine[j + half];
  }
}

// One query head over the prefix and the row's own keys: y = softmax(q k / sqrt(D)) v.
template <class T>
INLINE void attend_head(const float *q, const T *shared_k, const T *shared_v, int64_t prefix,
                        int64_t stride, const T *own_k, const T *own_v, int64_t own, int64_t width,
                        float *scores, float *y) {
  const float scale = 1.0f / std::sqrt(float(width));
  const int64_t total = prefix + own;
  float top = -INFINITY;
  for (int64_t p = 0; p < total; p++) {
    const T *k = p < prefix ? shared_k + p * stride : own_k + (p - prefix) * width;
    float sum = 0;
    for (int64_t i = 0; i < width; i++) sum += q[i] * wide(k[i]);
    scores[p] = sum * scale;
    top = scores[p] > top ? scores[p] : top;
  }
  float mass = 0;
  for (int64_t p = 0; p < total; p++) {
    scores[p] = std::exp(scores[p] - top);
    mass += scores[p];
  }
  for (int64_t i = 0; i < width; i++) y[i] = 0;
  for (int64_t p = 0; p < total; p++) {
    const T *v = p < prefix ? shared_v + p * stride : own_v + (p - prefix) * width;
    const float share = scores[p] / mass;
    for (int64_t i = 0; i < width; i++) y[i] += share * wide(v[i]);
  }
}

// What one thread does in each phase; a barrier stands between phases.
template <class T> struct Worker {
  const Model &m;
  const Cache &c;
  const Batch &b;
  int64_t thread, threads;
  float *room; // this thread's own, rows x the widest input

  inline __attribute__((always_inline)) void split(int64_t count, int64_t unit, int64_t &first, int64_t &last) const {
    const int64_t units = (count + unit - 1) / unit;
    first = units * thread / threads * unit;
    last = units * (thread + 1) / threads * unit;
    last = last < count ? last : count;
  }

  inline __attribute__((always_inline)) void linear(const Linear &l, const float *x, float *y, bool add) const {
    int64_t first, last;
    split(l.out, 16, first, last);
    rows_of<T>(l, x, b.rows, y, add, first, last, room);
  }

  inline __attribute__((always_inline)) void norm(const void *gain, float *y) const {
    for (int64_t r = thread; r < b.rows; r += threads)
      norm_row(b.x + r * m.width, static_cast<const T *>(gain), m.eps, m.width, y + r * m.width);
  }

  // Rotate the new keys and keep them with their values.
  inline __attribute__((always_inline)) void keep(int64_t layer, float *k, const float *v) const {
    const int64_t width = m.head_width;
    for (int64_t unit = thread; unit < b.rows * m.key_heads; unit += threads) {
      const int64_t r = unit / m.key_heads;
      float *key = k + unit * width;
      rotate(key, b.cosine + r * width, b.sine + r * width, width);
      T *to_k = own(c.keys, layer, r, unit % m.key_heads) + b.length[r] * width;
      T *to_v = own(c.values, layer, r, unit % m.key_heads) + b.length[r] * width;
      for (int64_t i = 0; i < width; i++) {
        store(key[i], to_k + i);
        store(v[unit * width + i], to_v + i);
      }
    }
  }

  inline __attribute__((always_inline)) void attend(int64_t layer, float *q, float *scores, float *y) const {
    const int64_t width = m.head_width, group = m.heads / m.key_heads;
    const int64_t stride = m.key_heads * width;
    float *mine = scores + thread * (c.prefix + c.room);
    for (int64_t unit = thread; unit < b.rows * m.heads; unit += threads) {
      const int64_t r = unit / m.heads, key_head = unit % m.heads / group;
      float *query = q + unit * width;
      rotate(query, b.cosine + r * width, b.sine + r * width, width);
      const T *shared_k = nullptr, *shared_v = nullptr;
      if (c.prefix) {
        shared_k = static_cast<const T *>(c.prefix_keys[layer]) + key_head * width;
        shared_v = static_cast<const T *>(c.prefix_values[layer]) + key_head * width;
      }
      attend_head<T>(query, shared_k, shared_v, c.prefix, stride, own(c.keys, layer, r, key_head),
                     own(c.values, layer, r, key_head), b.length[r] + 1, width, mine,
                     y + unit * width);
    }
  }

  T *own(void *base, int64_t layer, int64_t r, int64_t head) const {
    const int64_t slot = (layer * c.slots + b.slot[r]) * m.key_heads + head;
    return static_cast<T *>(base) + slot * c.room * m.head_width;
  }

  inline __attribute__((always_inline)) void gate(float *gated, const float *up, int64_t hidden) const {
    int64_t first, last;
    split(hidden, 16, first, last);
    for (int64_t r = 0; r < b.rows; r++)
      for (int64_t i = r * hidden + first; i < r * hidden + last; i++)
        gated[i] = gated[i] / (1.0f + std::exp(-gated[i])) * up[i];
  }
};

struct Scratch {
  float *normed, *q, *k, *v, *mixed, *gate, *up, *rooms, *scores;
};

int64_t widest(const Model &m) {
  const int64_t queries = m.heads * m.head_width, hidden = m.layer[0].gate.out;
  const int64_t most = queries > m.width ? queries : m.width;
  return hidden > most ? hidden : most;
}

Scratch carve(const Model &m, int64_t rows, int64_t threads, float *at) {
  const int64_t queries = m.heads * m.head_width, keys = m.key_heads * m.head_width;
  const int64_t hidden = m.layer[0].gate.out;
  Scratch s;
  s.normed = at, at += rows * m.width;
  s.q = at, at += rows * queries;
  s.k = at, at += rows * keys;
  s.v = at, at += rows * keys;
  s.mixed = at, at += rows * queries;
  s.gate = at, at += rows * hidden;
  s.up = at, at += rows * hidden;
  s.rooms = at, at += threads * rows * widest(m);
  s.scores = at;
  return s;
}

template <class T> INLINE void phase(const Worker<T> &w, const Scratch &s, int64_t layer, int which) {
  const Layer &l = w.m.layer[layer];
  switch (which) {
  case 0: w.norm(l.norm_attn, s.normed); break;
  case 1:
    w.linear(l.q, s.normed, s.q, false);
    w.linear(l.k, s.normed, s.k, false);
    w.linear(l.v, s.normed, s.v, false);
    break;
  case 2: w.keep(layer, s.k, s.v); break;
  case 3: w.attend(layer, s.q, s.scores, s.mixed); break;
  case 4: w.linear(l.o, s.mixed, w.b.x, true); break;
  case 5: w.norm(l.norm_mlp, s.normed); break;
  case 6:
    w.linear(l.gate, s.normed, s.gate, false);
    w.linear(l.up, s.normed, s.up, false);
    w.gate(s.gate, s.up, l.gate.out); // the same split: each thread gates what it computed
    break;
  case 7: w.linear(l.down, s.gate, w.b.x, true); break;
  case 8: w.norm(w.m.norm, s.normed); break;
  default: w.linear(w.m.head, s.normed, w.b.logits, false);
  }
}

// Clones are made of functions that hold no OpenMP region: an outlined region would lose them.
DISPATCH void phase_half(const Worker<bf16> &w, const Scratch &s, int64_t layer, int which) {
  phase(w, s, layer, which);
}
DISPATCH void phase_full(const Worker<float> &w, const Scratch &s, int64_t layer, int which) {
  phase(w, s, layer, which);
}

void run(const Worker<bf16> &w, const Scratch &s, int64_t layer, int which) {
  phase_half(w, s, layer, which);
}
void run(const Worker<float> &w, const Scratch &s, int64_t layer, int which) {
  phase_full(w, s, layer, which);
}

template <class T> void step(const Model &m, const Cache &c, const Batch &b) {
  const Scratch s = carve(m, b.rows, b.threads, b.scratch);
#pragma omp parallel num_threads(int(b.threads))
  {
    const int64_t thread = omp_get_thread_num();
    float *room = s.rooms + thread * b.rows * widest(m);
    const Worker<T> w{m, c, b, thread, omp_get_num_threads(), room};
    for (int64_t layer = 0; layer < m.layers; layer++)
      for (int which = 0; which < 8; which++) {
        run(w, s, layer, which);
#pragma omp barrier
      }
    run(w, s, 0, 8);
#pragma omp barrier
    run(w, s, 0, 9);
  }
}

// The G query heads that share one key head: each key and value is read once for all of them.
template <class T>
INLINE void attend_group(const T *q, const T *keys, const T *values, int64_t length, int64_t group,
                         int64_t width, float *scores, T *y, float *lse) {
  const float scale = 1.0f / std::sqrt(float(width));
  float query[16][256], mixed[16][256];
  for (int64_t g = 0; g < group; g++)
    for (int64_t i = 0; i < width; i++) {
      query[g][i] = wide(q[g * width + i]) * scale;
      mixed[g][i] = 0;
    }
  for (int64_t p = 0; p < length; p++)
    for (int64_t g = 0; g < group; g++) {
      float sum = 0;
      for (int64_t i = 0; i < width; i++) sum += query[g][i] * wide(keys[p * width + i]);
      scores[g * length + p] = sum;
    }
  for (int64_t g = 0; g < group; g++) {
    float *row = scores + g * length, top = row[0], mass = 0;
    for (int64_t p = 1; p < length; p++) top = row[p] > top ? row[p] : top;
    for (int64_t p = 0; p < length; p++) {
      row[p] = std::exp(row[p] - top);
      mass += row[p];
    }
    for (int64_t p = 0; p < length; p++) row[p] /= mass;
    lse[g] = top + std::log(mass);
  }
  for (int64_t p = 0; p < length; p++)
    for (int64_t g = 0; g < group; g++) {
      const float share = scores[g * length + p];
      for (int64_t i = 0; i < width; i++) mixed[g][i] += share * wide(values[p * width + i]);
    }
  for (int64_t g = 0; g < group; g++)
    for (int64_t i = 0; i < width; i++) store(mixed[g][i], y + g * width + i);
}

template <class T> INLINE void attend_unit(const Own &o, int64_t unit, float *scores) {
  const int64_t group = o.heads / o.key_heads, row = unit / o.key_heads;
  const int64_t head = row * o.heads + unit % o.key_heads * group;
  const int64_t at = head * o.head_width, kept = unit * o.room * o.head_width;
  attend_group(static_cast<const T *>(o.q) + at, static_cast<const T *>(o.keys) + kept,
               static_cast<const T *>(o.values) + kept, o.length[row], group, o.head_width, scores,
               static_cast<T *>(o.y) + at, o.lse + head);
}

DISPATCH void attend_half(const Own &o, int64_t unit, float *s) { attend_unit<bf16>(o, unit, s); }
DISPATCH void attend_full(const Own &o, int64_t unit, float *s) { attend_unit<float>(o, unit, s); }

} // namespace

void tutelage_attend(const Own *own) {
  const Own &o = *own;
#pragma omp parallel num_threads(int(o.threads))
  {
    float *scores = o.scratch + omp_get_thread_num() * (o.heads / o.key_heads) * o.room;
#pragma omp for schedule(dynamic, 4)
    for (int64_t unit = 0; unit < o.rows * o.key_heads; unit++)
      o.half ? attend_half(o, unit, scores) : attend_full(o, unit, scores);
  }
}

// Floats that a step of `rows` rows needs in Batch.scratch.
int64_t tutelage_scratch(const Model *m, const Cache *c, int64_t rows, int64_t threads) {
  const int64_t queries = m->heads * m->head_width, keys = m->key_heads * m->head_width;
  const int64_t each = m->width + 2 * queries + 2 * keys + 2 * m->layer[0].gate.out;
  return rows * each + threads * (rows * widest(*m) + c->prefix + c->room);
}

void tutelage_step(const Model *m, const Cache *c, const Batch *b) {
  if (m->half)
    step<bf16>(*m, *c, *b);
  else
    step<float>(*m, *c, *b);
}
