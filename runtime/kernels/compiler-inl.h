#ifndef BITBUDGET_RUNTIME_KERNELS_COMPILER_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_COMPILER_INL_H_

#define BITBUDGET_INLINE inline __attribute__((always_inline))

// Arrays of accumulators become registers only when every loop over them is unrolled early: a plain
// zeroing loop turns into memset and costs the f32 tile two thirds of its speed (g++ 12).
#if defined(__clang__)
#define BITBUDGET_UNROLL _Pragma("unroll")
#else
#define BITBUDGET_UNROLL _Pragma("GCC unroll 32")
#endif

#endif  // BITBUDGET_RUNTIME_KERNELS_COMPILER_INL_H_
