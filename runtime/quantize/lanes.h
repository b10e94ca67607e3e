#ifndef BITBUDGET_RUNTIME_QUANTIZE_LANES_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LANES_H_

#include <cstddef>
#include <vector>

#include "runtime/kernels/compiler-inl.h"

// What the vector loops of this folder share: bodies in vectors of the compiler, compiled once for
// every instruction set. Nothing is contracted and all run in one order, so all give the same bits.

namespace bitbudget::internal {

// Two registers of the baseline instruction set or one of AVX2.
inline constexpr size_t kLanes = 8;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef float ManyLanes __attribute__((vector_size(8 * kLanes)));

BITBUDGET_INLINE float SumLanes(const Lanes& lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// Adding and subtracting it is RoundEven (integer_grid.h) by lanes.
inline constexpr float kRound = 0x1.8p23f;

// Defines a type for every instruction set with the bodies that BODIES(name, attributes) lists.
#if defined(__x86_64__)
#define BITBUDGET_FOR_EVERY_SET(BODIES)          \
  BODIES(Baseline, );                            \
  BODIES(Avx2, __attribute__((target("avx2")))); \
  BODIES(Avx512, __attribute__((target("avx512f,avx512vl,avx512dq"))))
#else
#define BITBUDGET_FOR_EVERY_SET(BODIES) BODIES(Baseline, )
#endif

// Those that this machine can run of one thing for every instruction set, the fastest last.
template <typename Body>
std::vector<Body> Runnable(Body baseline,
                           [[maybe_unused]] Body avx2,
                           [[maybe_unused]] Body avx512) {
  std::vector<Body> bodies = {baseline};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") != 0) bodies.push_back(avx2);
  if (__builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0) {
    bodies.push_back(avx512);
  }
#endif
  return bodies;
}

// The same of a member of the types that BITBUDGET_FOR_EVERY_SET defined.
#if defined(__x86_64__)
#define BITBUDGET_RUNNABLE(member) \
  ::bitbudget::internal::Runnable(&Baseline::member, &Avx2::member, &Avx512::member)
#else
#define BITBUDGET_RUNNABLE(member) \
  ::bitbudget::internal::Runnable(&Baseline::member, &Baseline::member, &Baseline::member)
#endif

}  // namespace bitbudget::internal

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LANES_H_
