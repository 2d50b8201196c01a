// Causal attention over rows of different lengths that stand on one axis, forward and backward.
// A plain C interface for ctypes; see library.py and packed.py.
//
// Rows of some hundred tokens are too short for general kernels: gathering and padding them and
// passing over the scores costs more than the products. Here a thread takes one row and one key
// head at a time, keeps its keys, its values and a block of scores in the second-level cache, and
// computes in float32 whatever type the tensors have. Which thread takes which row depends on
// nothing but their numbers, so the same call gives the same bits.

#include <cmath>
#include <cstdint>
#include <omp.h>

#include "element.h"

extern "C" {

// A piece is a run of one row's queries: of the row that begins at token `start`, those from `first`
// to `last`. Each sees its row up to itself, and before it the first `shared` tokens of the prefix.
// Backward wants whole rows. Tokens of no piece keep whatever y, dq, dk and dv hold.
struct Packed {
  int64_t half; // 1: tensors in bfloat16, 0: in float32
  int64_t heads, key_heads, head_width;
  int64_t pieces, prefix, threads;
  const int64_t *start, *first, *last, *shared;
  const void *q, *k, *v;             // [tokens, heads or key_heads, head_width]
  const void *prefix_k, *prefix_v;   // [prefix, key_heads, head_width]; backward: the same as k, v
  void *y;               // like q; written forward, read backward
  float *lse;            // [tokens, heads]; the same
  const void *dy;
  void *dq, *dk, *dv;
  float *scratch; // see tutelage_packed_scratch
};

int64_t tutelage_packed_scratch(const Packed *p, int64_t backward);
void tutelage_packed_forward(const Packed *p);
void tutelage_packed_backward(const Packed *p);
}

namespace {

const int64_t BLOCK = 48; // queries whose scores are in memory at once
const int64_t TILE = 6;   // rows of a product computed together

INLINE int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// c[m, n] (+)= sum_k a[m, k] b[k, n] for TILE rows m and WIDE x 16 columns n. a is read by single
// values, with any strides, so that the same code multiplies by a transposed matrix.
template <int WIDE>
INLINE void tile(const float *a, int64_t row, int64_t column, const float *b, int64_t b_row,
                 float *c, int64_t c_row, int64_t depth, bool add) {
  lanes sum[TILE][WIDE];
#pragma GCC unroll 6
  for (int i = 0; i < TILE; i++)
#pragma GCC unroll 2
    for (int j = 0; j < WIDE; j++)
      sum[i][j] = add ? load(c + i * c_row + LANES * j) : lanes{};
  for (int64_t k = 0; k < depth; k++) {
    lanes right[WIDE];
#pragma GCC unroll 2
    for (int j = 0; j < WIDE; j++) right[j] = load(b + k * b_row + LANES * j);
#pragma GCC unroll 6
    for (int i = 0; i < TILE; i++) {
      const float left = a[i * row + k * column];
#pragma GCC unroll 2
      for (int j = 0; j < WIDE; j++) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < TILE; i++)
#pragma GCC unroll 2
    for (int j = 0; j < WIDE; j++) save(c + i * c_row + LANES * j, sum[i][j]);
}

// The same for any number of rows (rounded up to TILE) and a multiple of LANES columns.
INLINE void product(const float *a, int64_t row, int64_t column, const float *b, int64_t b_row,
                    float *c, int64_t c_row, int64_t rows, int64_t columns, int64_t depth,
                    bool add) {
  int64_t n = 0;
  for (; n + 2 * LANES <= columns; n += 2 * LANES)
    for (int64_t m = 0; m < rows; m += TILE)
      tile<2>(a + m * row, row, column, b + n, b_row, c + m * c_row + n, c_row, depth, add);
  if (n < columns)
    for (int64_t m = 0; m < rows; m += TILE)
      tile<1>(a + m * row, row, column, b + n, b_row, c + m * c_row + n, c_row, depth, add);
}

// A thread's room for one row: matrices in float32, padded with zeros to whole vectors.
struct Room {
  int64_t keys, width;      // row lengths of the matrices below
  float *kt, *vt;           // [head_width, keys]
  float *k, *v;             // [keys, width]
  float *dk, *dv;           // [keys, width]
  float *q, *dy, *y;        // [BLOCK, width]
  float *scores, *d_scores; // [BLOCK, keys]
};

INLINE int64_t padded(int64_t keys) { return up(keys, LANES) + LANES; }

INLINE int64_t room_size(int64_t keys, int64_t head_width) {
  const int64_t wide = up(head_width, LANES), long_ = padded(keys);
  return 2 * head_width * long_ + 4 * long_ * wide + 3 * BLOCK * wide + 2 * BLOCK * long_;
}

INLINE Room carve(float *at, int64_t keys, int64_t head_width) {
  Room r;
  r.keys = padded(keys), r.width = up(head_width, LANES);
  r.kt = at, at += head_width * r.keys;
  r.vt = at, at += head_width * r.keys;
  r.k = at, at += r.keys * r.width;
  r.v = at, at += r.keys * r.width;
  r.dk = at, at += r.keys * r.width;
  r.dv = at, at += r.keys * r.width;
  r.q = at, at += BLOCK * r.width;
  r.dy = at, at += BLOCK * r.width;
  r.y = at, at += BLOCK * r.width;
  r.scores = at, at += BLOCK * r.keys;
  r.d_scores = at;
  return r;
}

// One piece and one key head.
struct Unit {
  int64_t start, first, last, shared, key_head;
  int64_t keys() const { return shared + last; }
};

INLINE Unit unit_of(const Packed &p, int64_t number) {
  const int64_t i = number / p.key_heads;
  return {p.start[i], p.first[i], p.last[i], p.shared[i], number % p.key_heads};
}

// A unit's keys or values, [keys, width], and, where asked for, their transpose.
template <class T>
INLINE void gather(const Packed &p, const Unit &u, const Room &r, const void *prefix,
                   const void *own, float *to, float *turned) {
  for (int64_t s = 0; s < u.keys(); s++) {
    const int64_t token = s < u.shared ? s : u.start + s - u.shared;
    const T *x = static_cast<const T *>(s < u.shared ? prefix : own) +
                 (token * p.key_heads + u.key_head) * p.head_width;
    float *line = to + s * r.width;
    for (int64_t i = 0; i < p.head_width; i++) line[i] = wide(x[i]);
    for (int64_t i = p.head_width; i < r.width; i++) line[i] = 0;
  }
  for (int64_t i = u.keys() * r.width; i < r.keys * r.width; i++) to[i] = 0;
  if (turned)
    for (int64_t s = 0; s < r.keys; s += LANES)
      for (int64_t i = 0; i < p.head_width; i++)
        for (int64_t j = s; j < s + LANES; j++) turned[i * r.keys + j] = to[j * r.width + i];
}

// A block of one head's queries, or what is laid out like them.
template <class T>
INLINE void read_block(const Packed &p, int64_t head, int64_t first, int64_t count, float scale,
                       const void *from, float *to, int64_t width) {
  for (int64_t i = 0; i < up(count, TILE); i++) {
    const T *x = static_cast<const T *>(from) + ((first + i) * p.heads + head) * p.head_width;
    float *line = to + i * width;
    const int64_t there = i < count ? p.head_width : 0;
    for (int64_t j = 0; j < there; j++) line[j] = wide(x[j]) * scale;
    for (int64_t j = there; j < width; j++) line[j] = 0;
  }
}

template <class T> INLINE void forward_unit(const Packed &p, int64_t number, float *scratch) {
  const Unit u = unit_of(p, number);
  const Room r = carve(scratch, u.keys(), p.head_width);
  const int64_t group = p.heads / p.key_heads;
  const float scale = 1.0f / std::sqrt(float(p.head_width));
  gather<T>(p, u, r, p.prefix_k, p.k, r.k, r.kt);
  gather<T>(p, u, r, p.prefix_v, p.v, r.v, nullptr);
  for (int64_t head = u.key_head * group; head < (u.key_head + 1) * group; head++)
    for (int64_t begin = u.first; begin < u.last; begin += BLOCK) {
      const int64_t count = u.last - begin < BLOCK ? u.last - begin : BLOCK;
      const int64_t seen = u.shared + begin + count, end = up(seen, LANES);
      read_block<T>(p, head, u.start + begin, count, scale, p.q, r.q, r.width);
      product(r.q, r.width, 1, r.kt, r.keys, r.scores, r.keys, count, end, p.head_width, false);
      float mass[BLOCK];
      for (int64_t i = 0; i < count; i++) {
        float top;
        mass[i] = soften(r.scores + i * r.keys, u.shared + begin + i + 1, end, top);
        p.lse[(u.start + begin + i) * p.heads + head] = top + std::log(mass[i]);
      }
      product(r.scores, r.keys, 1, r.v, r.width, r.y, r.width, count, r.width, seen, false);
      for (int64_t i = 0; i < count; i++) {
        T *y = static_cast<T *>(p.y) + ((u.start + begin + i) * p.heads + head) * p.head_width;
        const float share = 1.0f / mass[i];
        for (int64_t j = 0; j < p.head_width; j++) store(r.y[i * r.width + j] * share, y + j);
      }
    }
}

// From scores and the weights' gradients to the weights P = exp(S - lse) and the scores' gradients
// dS = P (dP - delta) / sqrt(D), in place, for one query.
INLINE void turn_back(float *scores, float *grads, int64_t sees, int64_t end, float scale,
                      float lse, float delta) {
  for (int64_t s = 0; s < sees; s++) {
    const float above = scores[s] * scale - lse;
    const float weight = exponential(above < 0.0f ? above : 0.0f);
    scores[s] = weight;
    grads[s] = weight * (grads[s] - delta) * scale;
  }
  for (int64_t s = sees; s < end; s++) scores[s] = grads[s] = 0;
}

template <class T>
INLINE void backward_block(const Packed &p, const Unit &u, const Room &r, int64_t head,
                           int64_t begin) {
  const int64_t count = u.last - begin < BLOCK ? u.last - begin : BLOCK;
  const int64_t first = u.start + begin, seen = u.shared + begin + count, end = up(seen, LANES);
  const float scale = 1.0f / std::sqrt(float(p.head_width));
  read_block<T>(p, head, first, count, 1.0f, p.y, r.y, r.width);
  read_block<T>(p, head, first, count, 1.0f, p.q, r.q, r.width);
  read_block<T>(p, head, first, count, 1.0f, p.dy, r.dy, r.width);
  product(r.q, r.width, 1, r.kt, r.keys, r.scores, r.keys, count, end, p.head_width, false);
  product(r.dy, r.width, 1, r.vt, r.keys, r.d_scores, r.keys, count, end, p.head_width, false);
  for (int64_t i = 0; i < count; i++) {
    float delta = 0;
    for (int64_t j = 0; j < r.width; j++) delta += r.dy[i * r.width + j] * r.y[i * r.width + j];
    // One vector more than the product made: the transposed products below read whole tiles.
    turn_back(r.scores + i * r.keys, r.d_scores + i * r.keys, u.shared + begin + i + 1,
              end + LANES, scale, p.lse[(first + i) * p.heads + head], delta);
  }
  product(r.d_scores, r.keys, 1, r.k, r.width, r.y, r.width, count, r.width, seen, false);
  product(r.d_scores, 1, r.keys, r.q, r.width, r.dk, r.width, seen, r.width, count, true);
  product(r.scores, 1, r.keys, r.dy, r.width, r.dv, r.width, seen, r.width, count, true);
  for (int64_t i = 0; i < count; i++) {
    T *dq = static_cast<T *>(p.dq) + ((first + i) * p.heads + head) * p.head_width;
    for (int64_t j = 0; j < p.head_width; j++) store(r.y[i * r.width + j], dq + j);
  }
}

// `sums` [2, key_heads, prefix, width] takes what this thread's rows add to the shared tokens.
template <class T>
INLINE void backward_unit(const Packed &p, int64_t number, float *scratch, float *sums) {
  const Unit u = unit_of(p, number);
  const Room r = carve(scratch, u.keys(), p.head_width);
  const int64_t group = p.heads / p.key_heads;
  gather<T>(p, u, r, p.prefix_k, p.k, r.k, r.kt);
  gather<T>(p, u, r, p.prefix_v, p.v, r.v, r.vt);
  for (int64_t i = 0; i < 2 * r.keys * r.width; i++) r.dk[i] = 0; // dv follows dk
  for (int64_t head = u.key_head * group; head < (u.key_head + 1) * group; head++)
    for (int64_t begin = u.first; begin < u.last; begin += BLOCK)
      backward_block<T>(p, u, r, head, begin);
  for (int which = 0; which < 2; which++)
    for (int64_t s = 0; s < u.keys(); s++) {
      const float *from = (which ? r.dv : r.dk) + s * r.width;
      const int64_t token = s < u.shared ? s : u.start + s - u.shared;
      if (token < p.prefix) {
        float *to = sums + ((which * p.key_heads + u.key_head) * p.prefix + token) * r.width;
        for (int64_t i = 0; i < r.width; i++) to[i] += from[i];
      } else {
        T *to = static_cast<T *>(which ? p.dv : p.dk) +
                (token * p.key_heads + u.key_head) * p.head_width;
        for (int64_t i = 0; i < p.head_width; i++) store(from[i], to + i);
      }
    }
}

int64_t most_keys(const Packed &p) {
  int64_t most = 0;
  for (int64_t i = 0; i < p.pieces; i++)
    most = p.shared[i] + p.last[i] > most ? p.shared[i] + p.last[i] : most;
  return most;
}

int64_t sums_size(const Packed &p) {
  return 2 * p.key_heads * p.prefix * up(p.head_width, LANES);
}

template <class T> void add_up(const Packed &p, const float *sums, int64_t apart) {
  const int64_t width = up(p.head_width, LANES);
  for (int which = 0; which < 2; which++)
    for (int64_t head = 0; head < p.key_heads; head++)
      for (int64_t token = 0; token < p.prefix; token++) {
        const float *from = sums + ((which * p.key_heads + head) * p.prefix + token) * width;
        T *to = static_cast<T *>(which ? p.dv : p.dk) +
                (token * p.key_heads + head) * p.head_width;
        for (int64_t i = 0; i < p.head_width; i++) {
          float sum = 0;
          for (int64_t thread = 0; thread < p.threads; thread++) sum += from[thread * apart + i];
          store(sum, to + i);
        }
      }
}

// Clones are made of functions that hold no OpenMP region: an outlined region would lose them.
DISPATCH void forward_half(const Packed &p, int64_t n, float *s) { forward_unit<bf16>(p, n, s); }
DISPATCH void forward_full(const Packed &p, int64_t n, float *s) { forward_unit<float>(p, n, s); }
DISPATCH void backward_half(const Packed &p, int64_t n, float *s, float *sums) {
  backward_unit<bf16>(p, n, s, sums);
}
DISPATCH void backward_full(const Packed &p, int64_t n, float *s, float *sums) {
  backward_unit<float>(p, n, s, sums);
}

} // namespace

// Floats needed in Packed.scratch.
int64_t tutelage_packed_scratch(const Packed *p, int64_t backward) {
  const int64_t room = room_size(most_keys(*p), p->head_width);
  return p->threads * (room + (backward ? sums_size(*p) : 0));
}

void tutelage_packed_forward(const Packed *packed) {
  const Packed &p = *packed;
  const int64_t room = room_size(most_keys(p), p.head_width);
#pragma omp parallel num_threads(int(p.threads))
  {
    // By the number of threads that came, which may be fewer than asked for.
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    for (int64_t n = thread; n < p.pieces * p.key_heads; n += threads)
      p.half ? forward_half(p, n, p.scratch + thread * room)
             : forward_full(p, n, p.scratch + thread * room);
  }
}

void tutelage_packed_backward(const Packed *packed) {
  const Packed &p = *packed;
  const int64_t room = room_size(most_keys(p), p.head_width), apart = sums_size(p);
  float *all_sums = p.scratch + p.threads * room;
  for (int64_t i = 0; i < p.threads * apart; i++) all_sums[i] = 0;
#pragma omp parallel num_threads(int(p.threads))
  {
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    float *own = p.scratch + thread * room, *sums = all_sums + thread * apart;
    for (int64_t n = thread; n < p.pieces * p.key_heads; n += threads)
      p.half ? backward_half(p, n, own, sums) : backward_full(p, n, own, sums);
  }
  p.half ? add_up<bf16>(p, all_sums, apart) : add_up<float>(p, all_sums, apart);
}
