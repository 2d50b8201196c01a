// What happens to each token alone between the matrix products: norm, rotation, gate, forward and
// backward. A plain C interface for ctypes; see library.py and tokenwise.py.
//
// Each is bound by reading and writing memory once; PyTorch takes one pass for every multiplication
// in the formula. Sums are float32 inside whatever type the tensors have, results rounded once.

#include <cmath>
#include <cstdint>

#include "share.h"

extern "C" {
void tutelage_norm(int64_t half, int64_t threads, int64_t tokens, int64_t width, const void *x,
                   const float *gain, float eps, void *y, float *scale);
void tutelage_norm_backward(int64_t half, int64_t threads, int64_t tokens, int64_t width,
                            const void *x, const float *gain, const float *scale, const void *dy,
                            void *dx, float *dgain);
void tutelage_rotate(int64_t half, int64_t threads, int64_t tokens, int64_t heads, int64_t width,
                     const void *x, const float *cosine, const float *sine, float sign, void *y);
void tutelage_gate(int64_t half, int64_t threads, int64_t count, const void *gate, const void *up,
                   void *y);
void tutelage_gate_backward(int64_t half, int64_t threads, int64_t count, const void *gate,
                            const void *up, const void *dy, void *dgate, void *dup);
}

namespace {

// y = gain * x * scale, scale = 1 / sqrt(mean(x^2) + eps), kept for the way back.
template <class T>
INLINE void norm(const T *x, const float *gain, float eps, int64_t width, T *y, float *scale) {
  float sum = 0;
  for (int64_t i = 0; i < width; i++) sum += wide(x[i]) * wide(x[i]);
  const float by = 1.0f / std::sqrt(sum / float(width) + eps);
  for (int64_t i = 0; i < width; i++) store(wide(x[i]) * by * gain[i], y + i);
  *scale = by;
}

// With n = x scale: dn = gain dy, dx = scale (dn - n mean(n dn)), dgain += n dy.
template <class T>
INLINE void norm_back(const T *x, const float *gain, float by, const T *dy, int64_t width, T *dx,
                      float *dgain) {
  float sum = 0;
  for (int64_t i = 0; i < width; i++) sum += wide(x[i]) * gain[i] * wide(dy[i]);
  const float along = sum * by * by * by / float(width);
  for (int64_t i = 0; i < width; i++)
    store(by * gain[i] * wide(dy[i]) - along * wide(x[i]), dx + i);
  if (dgain)
    for (int64_t i = 0; i < width; i++) dgain[i] += wide(x[i]) * by * wide(dy[i]);
}

template <class T>
INLINE void turn(const T *x, const float *cosine, const float *sine, float sign, int64_t width,
                 T *y) {
  const int64_t half = width / 2;
  for (int64_t j = 0; j < half; j++) {
    const float a = wide(x[j]), b = wide(x[j + half]);
    store(a * cosine[j] - b * sign * sine[j], y + j);
    store(b * cosine[j + half] + a * sign * sine[j + half], y + j + half);
  }
}

template <class T> INLINE void gated(const T *gate, const T *up, int64_t count, T *y) {
  for (int64_t i = 0; i < count; i++) {
    const float g = wide(gate[i]);
    store(g * sigmoid(g) * wide(up[i]), y + i);
  }
}

template <class T>
INLINE void gated_back(const T *gate, const T *up, const T *dy, int64_t count, T *dgate, T *dup) {
  for (int64_t i = 0; i < count; i++) {
    const float g = wide(gate[i]), d = wide(dy[i]), s = sigmoid(g);
    store(d * g * s, dup + i);
    store(d * wide(up[i]) * s * (1.0f + g * (1.0f - s)), dgate + i);
  }
}

// One call's arguments, and the tokens or numbers a thread computes.
struct Norm {
  int64_t width;
  const void *x;
  const float *gain;
  float eps;
  void *y;
  float *scale;
  const void *dy;
  void *dx;
  float *dgain;
};

struct Turn {
  int64_t heads, width;
  const void *x;
  const float *cosine, *sine;
  float sign;
  void *y;
};

struct Gate {
  const void *gate, *up, *dy;
  void *y, *dgate, *dup;
};

template <class T> INLINE void run(const Norm &n, int64_t first, int64_t last, int64_t) {
  for (int64_t t = first; t < last; t++)
    norm<T>(at<T>(n.x, t * n.width), n.gain, n.eps, n.width, at<T>(n.y, t * n.width), n.scale + t);
}

template <class T>
INLINE void run_back(const Norm &n, int64_t first, int64_t last, int64_t thread) {
  float *dgain = n.dgain ? n.dgain + thread * n.width : nullptr;
  for (int64_t t = first; t < last; t++) {
    const int64_t place = t * n.width;
    norm_back<T>(at<T>(n.x, place), n.gain, n.scale[t], at<T>(n.dy, place), n.width,
                 at<T>(n.dx, place), dgain);
  }
}

template <class T> INLINE void run(const Turn &r, int64_t first, int64_t last, int64_t) {
  for (int64_t t = first; t < last; t++)
    for (int64_t head = 0; head < r.heads; head++) {
      const int64_t place = (t * r.heads + head) * r.width;
      turn<T>(at<T>(r.x, place), r.cosine + t * r.width, r.sine + t * r.width, r.sign, r.width,
              at<T>(r.y, place));
    }
}

template <class T> INLINE void run(const Gate &g, int64_t first, int64_t last, int64_t) {
  gated<T>(at<T>(g.gate, first), at<T>(g.up, first), last - first, at<T>(g.y, first));
}

template <class T> INLINE void run_back(const Gate &g, int64_t first, int64_t last, int64_t) {
  gated_back<T>(at<T>(g.gate, first), at<T>(g.up, first), at<T>(g.dy, first), last - first,
                at<T>(g.dgate, first), at<T>(g.dup, first));
}

CLONES(norm_forward, Norm, run)
CLONES(norm_backward, Norm, run_back)
CLONES(rotate, Turn, run)
CLONES(gate_forward, Gate, run)
CLONES(gate_backward, Gate, run_back)

} // namespace

// scale [tokens] is written.
void tutelage_norm(int64_t half, int64_t threads, int64_t tokens, int64_t width, const void *x,
                   const float *gain, float eps, void *y, float *scale) {
  const Norm n{width, x, gain, eps, y, scale, nullptr, nullptr, nullptr};
  share(n, half, threads, tokens, norm_forward_half, norm_forward_full);
}

// dgain [threads, width], zeros when called, or null: each thread's own sum.
void tutelage_norm_backward(int64_t half, int64_t threads, int64_t tokens, int64_t width,
                            const void *x, const float *gain, const float *scale, const void *dy,
                            void *dx, float *dgain) {
  const Norm n{width, x, gain, 0, nullptr, const_cast<float *>(scale), dy, dx, dgain};
  share(n, half, threads, tokens, norm_backward_half, norm_backward_full);
}

// cosine, sine [tokens, width]; sign 1 turns forward, -1 back.
void tutelage_rotate(int64_t half, int64_t threads, int64_t tokens, int64_t heads, int64_t width,
                     const void *x, const float *cosine, const float *sine, float sign, void *y) {
  const Turn r{heads, width, x, cosine, sine, sign, y};
  share(r, half, threads, tokens, rotate_half, rotate_full);
}

void tutelage_gate(int64_t half, int64_t threads, int64_t count, const void *gate, const void *up,
                   void *y) {
  const Gate g{gate, up, nullptr, y, nullptr, nullptr};
  share(g, half, threads, count, gate_forward_half, gate_forward_full);
}

void tutelage_gate_backward(int64_t half, int64_t threads, int64_t count, const void *gate,
                            const void *up, const void *dy, void *dgate, void *dup) {
  const Gate g{gate, up, dy, nullptr, dgate, dup};
  share(g, half, threads, count, gate_backward_half, gate_backward_full);
}
