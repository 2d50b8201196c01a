// How work on plain runs of numbers is shared: a clone of it for each processor and each of the two
// types, and threads that take runs of its units.

#pragma once

#include <cstdint>
#include <omp.h>

#include "element.h"

template <class T> INLINE const T *at(const void *from, int64_t place) {
  return static_cast<const T *>(from) + place;
}
template <class T> INLINE T *at(void *from, int64_t place) { return static_cast<T *>(from) + place; }

// Clones are made of functions that hold no OpenMP region: an outlined region would lose them.
#define CLONES(name, kind, body)                                                                   \
  DISPATCH void name##_half(const kind &what, int64_t first, int64_t last, int64_t thread) {       \
    body<bf16>(what, first, last, thread);                                                         \
  }                                                                                                \
  DISPATCH void name##_full(const kind &what, int64_t first, int64_t last, int64_t thread) {       \
    body<float>(what, first, last, thread);                                                        \
  }

// Threads share `count` units of work in runs that depend on their number alone.
template <class Kind, class Half, class Full>
void share(const Kind &what, int64_t half, int64_t threads, int64_t count, Half low, Full full) {
#pragma omp parallel num_threads(int(threads))
  {
    const int64_t thread = omp_get_thread_num(), all = omp_get_num_threads();
    const int64_t first = count * thread / all, last = count * (thread + 1) / all;
    half ? low(what, first, last, thread) : full(what, first, last, thread);
  }
}
