// One new token a row through a pre-norm decoder: norm, projections, rotation, attention over the
// kept keys, gated feed-forward, logits. A plain C interface for ctypes; see library.py.
//
// Decoding a few rows is bound by reading the weights once. PyTorch reads them through some fifty
// operators a layer; here one parallel region walks the whole model, weights in their stored type,
// everything else in float32. Threads split the rows of each weight matrix, so no result depends on
// how many there are. Where the processor multiplies bfloat16 pairs, the inputs of products are
// rounded to that type (product.h); weights in 8 or 4 bits meet inputs in 8 (quantized.h).

#include <cmath>
#include <cstdint>
#include <omp.h>
#include <vector>

#include "attention.h"
#include "element.h"
#include "product.h"
#include "quantized.h"

extern "C" {

struct Linear {
  const void *weight; // [out, in]; or tiles of codes, as tiles.py lays them out
  const void *bias;   // [out] or null
  int64_t out, in;
  int64_t bits, minimum; // of a code, 0 where the weight has the model's own type; with minimums
  const void *down, *up; // beside the weight, [ranks, in] and [ranks, out]; or null
  const int64_t *starts; // ranks [starts[k], starts[k + 1]) are adapter k's
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
  int64_t ranks; // of the widest adapter; 0 where nothing stands beside any weight
};

// Keys and values in blocks; a row's tokens stand in the blocks of its table, one after the other.
struct Cache {
  void *keys, *values; // [layers, blocks, key_heads, size, head_width]
  int64_t blocks, size;
  const int64_t *table; // [rows, most]
  int64_t most;
  float *key_scales, *value_scales; // [layers, blocks, key_heads, size] of keys in 8 bits, or null
};

struct Batch {
  int64_t rows;
  const int64_t *length;        // tokens of each row so far: where its new one goes
  const float *cosine, *sine;   // [rows, head_width]
  float *x;                     // [rows, width]: the tokens' vectors, overwritten
  float *logits;                // [rows, vocabulary]
  float *scratch;               // see tutelage_scratch
  int64_t threads;
  const int64_t *adapter;       // of each row, -1 for none; or null
};

// Attention alone, of one new query a row over that row's own keys, for batches whose products
// PyTorch computes.
struct Own {
  int64_t half, rows, heads, key_heads, head_width, size, most, threads;
  const void *q;           // [rows, heads, head_width]
  const void *keys, *values; // [blocks, key_heads, size, head_width]
  const int64_t *table;    // [rows, most]
  const int64_t *length;   // keys of each row
  void *y;                 // [rows, heads, head_width]
  float *lse;              // [rows, heads]
  float *scratch;          // threads x heads / key_heads x most x size
  const float *key_scales, *value_scales; // [blocks, key_heads, size] of keys in 8 bits, or null
};

void tutelage_attend(const Own *own);
int64_t tutelage_layout();
int64_t tutelage_rows(const Model *m);
int64_t tutelage_scratch(const Model *m, const Cache *c, int64_t rows, int64_t threads);
void tutelage_step(const Model *m, const Cache *c, const Batch *b);
}

namespace {

const int64_t FEW = 6, MANY = 64;
const int64_t MOST_GROUP = 16, MOST_WIDTH = 256; // as library.py has them

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

// Whether products go through the processor's own pairs.
INLINE bool paired(const Linear &l, const float *) { return false; }
INLINE bool paired(const Linear &l, const bf16 *) {
  return !(l.in % pairs::PLACES) && !(l.out % 16) && pairs::available();
}

INLINE void rows_paired(const Linear &, const float *, int64_t, float *, bool, int64_t, int64_t,
                        float *, const float *) {}
INLINE void rows_paired(const Linear &l, const float *x, int64_t rows, float *y, bool add,
                        int64_t first, int64_t last, float *room, const bf16 *weight) {
  bf16 *rounded = reinterpret_cast<bf16 *>(room);
  for (int64_t i = 0; i < rows * l.in; i++) store(x[i], rounded + i);
  pairs::rows(weight, static_cast<const bf16 *>(l.bias), rounded, rows, l.in, l.out, y, add, first, last);
}

// a . x, by four sums in flight.
template <class T> INLINE float dot(const T *a, const float *x, int64_t in) {
  const int64_t step = 4 * LANES, whole = in / step * step;
  lanes s0 = {}, s1 = {}, s2 = {}, s3 = {};
  for (int64_t i = 0; i < whole; i += step) {
    s0 += load(a + i) * load(x + i);
    s1 += load(a + i + LANES) * load(x + i + LANES);
    s2 += load(a + i + 2 * LANES) * load(x + i + 2 * LANES);
    s3 += load(a + i + 3 * LANES) * load(x + i + 3 * LANES);
  }
  float four[4];
  totals(s0, s1, s2, s3, four);
  float sum = (four[0] + four[1]) + (four[2] + four[3]);
  for (int64_t i = whole; i < in; i++) sum += wide(a[i]) * x[i];
  return sum;
}

// y[n] += sum over k of low[k] up[k, n] for n in [first, last)
template <class T>
INLINE void widen_low(const T *up, const float *low, int64_t ranks, int64_t out, float *y, int64_t first,
                      int64_t last) {
  int64_t n = first;
  for (; n + LANES <= last; n += LANES) {
    lanes sum = load(y + n);
    for (int64_t k = 0; k < ranks; k++) sum += low[k] * load(up + k * out + n);
    save(y + n, sum);
  }
  for (; n < last; n++)
    for (int64_t k = 0; k < ranks; k++) y[n] += low[k] * wide(up[k * out + n]);
}

// Codes instead of numbers: only beside activations and biases of bfloat16 models.
INLINE void rows_of_codes(const Linear &l, const float *x, int64_t rows, float *y, bool add, int64_t first,
                          int64_t last, float *room) {
  const quantized::Matrix m = {static_cast<const uint8_t *>(l.weight), l.bits, l.minimum, l.out, l.in};
  quantized::product(m, static_cast<const bf16 *>(l.bias), x, rows,
                     reinterpret_cast<quantized::Narrow *>(room), y, add, first, last);
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

// What one thread does in each phase; a barrier stands between phases.
template <class T> struct Worker {
  const Model &m;
  const Cache &c;
  const Batch &b;
  int64_t thread, threads;
  float *room; // this thread's own, of `roomy` floats

  inline __attribute__((always_inline)) void split(int64_t count, int64_t unit, int64_t &first, int64_t &last) const {
    const int64_t units = (count + unit - 1) / unit;
    first = units * thread / threads * unit;
    last = units * (thread + 1) / threads * unit;
    last = last < count ? last : count;
  }

  // low[r, k] = down[k, :] x[r, :] over the ranks of row r's adapter.
  inline __attribute__((always_inline)) void narrow(const Linear &l, const float *x, float *low) const {
    if (!l.down) return;
    const T *down = static_cast<const T *>(l.down);
    for (int64_t unit = thread; unit < b.rows * m.ranks; unit += threads) {
      const int64_t r = unit / m.ranks, own = b.adapter[r];
      if (own < 0) continue;
      const int64_t rank = l.starts[own] + unit % m.ranks;
      if (rank < l.starts[own + 1]) low[unit] = dot(down + rank * l.in, x + r * l.in, l.in);
    }
  }

  // y[r, :] += what row r's adapter adds, by what `narrow` found, for the outputs of this thread.
  inline __attribute__((always_inline)) void adapt(const Linear &l, const float *low, float *y, int64_t first,
                                                   int64_t last) const {
    if (!l.up) return;
    for (int64_t r = 0; r < b.rows; r++) {
      const int64_t own = b.adapter[r];
      if (own < 0) continue;
      const int64_t ranks = l.starts[own + 1] - l.starts[own];
      const T *up = static_cast<const T *>(l.up) + l.starts[own] * l.out;
      widen_low(up, low + r * m.ranks, ranks, l.out, y + r * l.out, first, last);
    }
  }

  inline __attribute__((always_inline)) void linear(const Linear &l, const float *x, float *y, bool add,
                                                    const float *low = nullptr) const {
    int64_t first, last;
    split(l.out, 16, first, last);
    const T *weight = static_cast<const T *>(l.weight);
    if (l.bits)
      rows_of_codes(l, x, b.rows, y, add, first, last, room);
    else if (paired(l, weight))
      rows_paired(l, x, b.rows, y, add, first, last, room, weight);
    else
      rows_of<T>(l, x, b.rows, y, add, first, last, room);
    adapt(l, low, y, first, last);
  }

  inline __attribute__((always_inline)) void norm(const void *gain, float *y) const {
    for (int64_t r = thread; r < b.rows; r += threads)
      norm_row(b.x + r * m.width, static_cast<const T *>(gain), m.eps, m.width, y + r * m.width);
  }

  // Rotate the new keys and keep them with their values.
  inline __attribute__((always_inline)) void keep(int64_t layer, float *k, const float *v) const {
    c.key_scales ? keep_as<int8_t>(layer, k, v) : keep_as<T>(layer, k, v);
  }

  template <class K>
  inline __attribute__((always_inline)) void keep_as(int64_t layer, float *k, const float *v) const {
    const int64_t width = m.head_width;
    for (int64_t unit = thread; unit < b.rows * m.key_heads; unit += threads) {
      const int64_t r = unit / m.key_heads;
      float *key = k + unit * width;
      rotate(key, b.cosine + r * width, b.sine + r * width, width);
      const int64_t at = block(layer, r, b.length[r] / c.size, unit % m.key_heads) + b.length[r] % c.size;
      keep_one(key, width, static_cast<K *>(c.keys) + at * width, c.key_scales + at);
      keep_one(v + unit * width, width, static_cast<K *>(c.values) + at * width, c.value_scales + at);
    }
  }

  inline __attribute__((always_inline)) void attend(int64_t layer, float *q, float *scores, float *y) const {
    c.key_scales ? attend_as<int8_t>(layer, q, scores, y) : attend_as<T>(layer, q, scores, y);
  }

  template <class K>
  inline __attribute__((always_inline)) void attend_as(int64_t layer, float *q, float *scores, float *y) const {
    const int64_t width = m.head_width, group = m.heads / m.key_heads;
    float *mine = scores + thread * group * (c.most * c.size + 1), *lse = mine;
    mine += group;
    std::vector<Kept<K>> parts(c.most);
    for (int64_t unit = thread; unit < b.rows * m.key_heads; unit += threads) {
      const int64_t r = unit / m.key_heads, key_head = unit % m.key_heads;
      float *query = q + unit * group * width;
      for (int64_t g = 0; g < group; g++)
        rotate(query + g * width, b.cosine + r * width, b.sine + r * width, width);
      int64_t count = 0;
      for (int64_t left = b.length[r] + 1; left > 0; left -= c.size, count++) {
        const int64_t at = block(layer, r, count, key_head);
        parts[count] = {static_cast<const K *>(c.keys) + at * width,
                        static_cast<const K *>(c.values) + at * width, left < c.size ? left : c.size,
                        width, c.key_scales + at, c.value_scales + at};
      }
      attend_group<K>(query, parts.data(), count, group, width, mine, y + unit * group * width, lse);
    }
  }

  // The first token of a row's block, counted in tokens of one head.
  int64_t block(int64_t layer, int64_t r, int64_t number, int64_t head) const {
    return ((layer * c.blocks + c.table[r * c.most + number]) * m.key_heads + head) * c.size;
  }

  inline __attribute__((always_inline)) void gate(float *gated, const float *up, int64_t hidden) const {
    int64_t first, last;
    split(hidden, 16, first, last);
    for (int64_t r = 0; r < b.rows; r++)
      for (int64_t i = r * hidden + first; i < r * hidden + last; i++)
        gated[i] = gated[i] * sigmoid(gated[i]) * up[i];
  }
};

struct Scratch {
  float *normed, *q, *k, *v, *mixed, *gate, *up, *low[3], *rooms, *scores;
};

int64_t widest(const Model &m) {
  const int64_t queries = m.heads * m.head_width, hidden = m.layer[0].gate.out;
  const int64_t most = queries > m.width ? queries : m.width;
  return hidden > most ? hidden : most;
}

// Floats of a thread's own: the vectors of a batch in whatever form.
int64_t roomy(const Model &m, int64_t rows) { return rows * (widest(m) + quantized::room(widest(m))); }

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
  for (int i = 0; i < 3; i++) s.low[i] = at, at += rows * m.ranks;
  s.rooms = at, at += threads * roomy(m, rows);
  s.scores = at;
  return s;
}

template <class T> INLINE void phase(const Worker<T> &w, const Scratch &s, int64_t layer, int which) {
  const Layer &l = w.m.layer[layer];
  switch (which) {
  case 0: w.norm(l.norm_attn, s.normed); break;
  case 1:
    w.linear(l.q, s.normed, s.q, false, s.low[0]);
    w.linear(l.k, s.normed, s.k, false, s.low[1]);
    w.linear(l.v, s.normed, s.v, false, s.low[2]);
    break;
  case 2: w.keep(layer, s.k, s.v); break;
  case 3: w.attend(layer, s.q, s.scores, s.mixed); break;
  case 4: w.linear(l.o, s.mixed, w.b.x, true, s.low[0]); break;
  case 5: w.norm(l.norm_mlp, s.normed); break;
  case 6:
    w.linear(l.gate, s.normed, s.gate, false, s.low[0]);
    w.linear(l.up, s.normed, s.up, false, s.low[1]);
    w.gate(s.gate, s.up, l.gate.out); // the same split: each thread gates what it computed
    break;
  case 7: w.linear(l.down, s.gate, w.b.x, true, s.low[0]); break;
  case 8: w.norm(w.m.norm, s.normed); break;
  default: w.linear(w.m.head, s.normed, w.b.logits, false);
  }
}

// What stands before a phase of products where adapters stand beside its weights: their narrow halves.
template <class T> INLINE void narrows(const Worker<T> &w, const Scratch &s, int64_t layer, int which) {
  const Layer &l = w.m.layer[layer];
  switch (which) {
  case 1:
    w.narrow(l.q, s.normed, s.low[0]);
    w.narrow(l.k, s.normed, s.low[1]);
    w.narrow(l.v, s.normed, s.low[2]);
    break;
  case 4: w.narrow(l.o, s.mixed, s.low[0]); break;
  case 6:
    w.narrow(l.gate, s.normed, s.low[0]);
    w.narrow(l.up, s.normed, s.low[1]);
    break;
  case 7: w.narrow(l.down, s.gate, s.low[0]); break;
  }
}

INLINE bool multiplies(int which) { return which == 1 || which == 4 || which == 6 || which == 7; }

// Clones are made of functions that hold no OpenMP region: an outlined region would lose them.
DISPATCH void phase_half(const Worker<bf16> &w, const Scratch &s, int64_t layer, int which) {
  phase(w, s, layer, which);
}
DISPATCH void phase_full(const Worker<float> &w, const Scratch &s, int64_t layer, int which) {
  phase(w, s, layer, which);
}
DISPATCH void narrows_half(const Worker<bf16> &w, const Scratch &s, int64_t layer, int which) {
  narrows(w, s, layer, which);
}
DISPATCH void narrows_full(const Worker<float> &w, const Scratch &s, int64_t layer, int which) {
  narrows(w, s, layer, which);
}

void run(const Worker<bf16> &w, const Scratch &s, int64_t layer, int which) {
  phase_half(w, s, layer, which);
}
void run(const Worker<float> &w, const Scratch &s, int64_t layer, int which) {
  phase_full(w, s, layer, which);
}
void run_narrows(const Worker<bf16> &w, const Scratch &s, int64_t layer, int which) {
  narrows_half(w, s, layer, which);
}
void run_narrows(const Worker<float> &w, const Scratch &s, int64_t layer, int which) {
  narrows_full(w, s, layer, which);
}

template <class T> void step(const Model &m, const Cache &c, const Batch &b) {
  const Scratch s = carve(m, b.rows, b.threads, b.scratch);
#pragma omp parallel num_threads(int(b.threads))
  {
    const int64_t thread = omp_get_thread_num();
    float *room = s.rooms + thread * roomy(m, b.rows);
    const Worker<T> w{m, c, b, thread, omp_get_num_threads(), room};
    for (int64_t layer = 0; layer < m.layers; layer++)
      for (int which = 0; which < 8; which++) {
        if (m.ranks && multiplies(which)) {
          run_narrows(w, s, layer, which);
#pragma omp barrier
        }
        run(w, s, layer, which);
#pragma omp barrier
      }
    run(w, s, 0, 8);
#pragma omp barrier
    run(w, s, 0, 9);
  }
}

template <class T, class K>
INLINE void attend_unit(const Own &o, int64_t unit, float *scores, std::vector<Kept<K>> &parts) {
  const int64_t group = o.heads / o.key_heads, row = unit / o.key_heads, width = o.head_width;
  const int64_t key_head = unit % o.key_heads, head = row * o.heads + key_head * group;
  const int64_t at = head * width;
  float query[MOST_GROUP * MOST_WIDTH], mixed[MOST_GROUP * MOST_WIDTH];
  for (int64_t i = 0; i < group * width; i++) query[i] = wide(static_cast<const T *>(o.q)[at + i]);
  int64_t count = 0;
  for (int64_t left = o.length[row]; left > 0; left -= o.size, count++) {
    const int64_t kept = (o.table[row * o.most + count] * o.key_heads + key_head) * o.size;
    parts[count] = {static_cast<const K *>(o.keys) + kept * width,
                    static_cast<const K *>(o.values) + kept * width, left < o.size ? left : o.size,
                    width, o.key_scales + kept, o.value_scales + kept};
  }
  attend_group(query, parts.data(), count, group, width, scores, mixed, o.lse + head);
  for (int64_t i = 0; i < group * width; i++) store(mixed[i], static_cast<T *>(o.y) + at + i);
}

template <class T, class K>
INLINE void attend_units(const Own &o, int64_t first, int64_t last, float *scores) {
  std::vector<Kept<K>> parts(o.most);
  for (int64_t unit = first; unit < last; unit++) attend_unit<T>(o, unit, scores, parts);
}

DISPATCH void attend_half(const Own &o, int64_t first, int64_t last, float *s) {
  o.key_scales ? attend_units<bf16, int8_t>(o, first, last, s) : attend_units<bf16, bf16>(o, first, last, s);
}
DISPATCH void attend_full(const Own &o, int64_t first, int64_t last, float *s) {
  o.key_scales ? attend_units<float, int8_t>(o, first, last, s) : attend_units<float, float>(o, first, last, s);
}

} // namespace

void tutelage_attend(const Own *own) {
  const Own &o = *own;
  const int64_t units = o.rows * o.key_heads, some = 4;
#pragma omp parallel num_threads(int(o.threads))
  {
    float *scores = o.scratch + omp_get_thread_num() * (o.heads / o.key_heads) * o.most * o.size;
#pragma omp for schedule(dynamic, 1)
    for (int64_t first = 0; first < units; first += some) {
      const int64_t last = first + some < units ? first + some : units;
      o.half ? attend_half(o, first, last, scores) : attend_full(o, first, last, scores);
    }
  }
}

// Floats that a step of `rows` rows needs in Batch.scratch.
int64_t tutelage_scratch(const Model *m, const Cache *c, int64_t rows, int64_t threads) {
  const int64_t queries = m->heads * m->head_width, keys = m->key_heads * m->head_width;
  const int64_t each = m->width + 2 * queries + 2 * keys + 2 * m->layer[0].gate.out + 3 * m->ranks;
  return rows * each + threads * (roomy(*m, rows) + m->heads / m->key_heads * (c->most * c->size + 1));
}

// With how many rows a step is faster here than through PyTorch's matrix products.
int64_t tutelage_rows(const Model *m) {
  const Layer &l = m->layer[0];
  const int64_t odd = (l.q.in | l.o.in | l.down.in) % pairs::PLACES;
  return m->half && !odd && pairs::available() ? MANY : FEW;
}

// What a caller compiled or written for other structures would have otherwise.
int64_t tutelage_layout() {
  const int64_t sizes[] = {sizeof(Own), sizeof(Cache), sizeof(Batch), sizeof(Layer), sizeof(Model)};
  int64_t sum = 0;
  for (int64_t size : sizes) sum = 1000 * sum + size;
  return sum;
}

void tutelage_step(const Model *m, const Cache *c, const Batch *b) {
  if (m->half)
    step<bf16>(*m, *c, *b);
  else
    step<float>(*m, *c, *b);
}
