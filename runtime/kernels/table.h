#ifndef BITBUDGET_RUNTIME_KERNELS_TABLE_H_
#define BITBUDGET_RUNTIME_KERNELS_TABLE_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/kernels/panels.h"

namespace bitbudget {

// The kernels of one CPU tier: plain data in, plain data out. All tiers give bitwise the same
// results: sums run in one fixed order, fused multiply-adds are real or exactly emulated, and the
// same polynomial evaluates exp. A row's result never depends on the other rows of the call.
struct KernelTable {
  const char* name;  // "portable", "avx2"

  // c[r][0..16) = sum over k of a[k][r] * b[k][0..16), one FMA per k in increasing k from +0.
  // `a` is one 6-row block (f32[k][6]), `b` one panel (f32[k][16]), r < rows <= 6, row stride ldc.
  void (*tile_f32)(const float* a, const float* b, int64_t k, int rows, float* c, int64_t ldc);

  // The kInt16 tile over all flush groups of one panel: acc = fma(float(int32 sum), ws * as, acc)
  // per flush group, in increasing k, from +0.
  // `a` is i16[k/2][6][2], `b` is i16[k/2][16][2], `ws` is f32[groups][16], `as` is f32[6].
  void (*tile_i16)(const int16_t* a,
                   const int16_t* b,
                   const float* ws,
                   const float* as,
                   int64_t padded_k,
                   int flush,
                   int rows,
                   float* c,
                   int64_t ldc);

  // Packs rows x[m][k] (row stride ldx). The int16 scale of a row is absmax / 32767 (0 for a zero
  // row), codes are x * (32767 / absmax) rounded to nearest even.
  void (*pack_f32)(const float* x, int64_t ldx, int64_t m, int64_t k, PackedActivations* out);
  void (*pack_i16)(const float* x, int64_t ldx, int64_t m, int64_t k, PackedActivations* out);

  // out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; the sum of squares is accumulated in double.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);

  // Rotates pairs (x[i], x[i + half]) by the angle whose cosine and sine are cos[i], sin[i], in
  // place (the "rotate half" convention of Hugging Face Llama).
  void (*rotate_half)(float* x, const float* cos, const float* sin, int64_t half);

  // out[i] = gate[i] * sigmoid(gate[i]) * up[i]
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);

  // x[i] = exp(scale * x[i] - max) / sum over i < n, in place. The sum runs over 8 interleaved
  // lanes (i mod 8) and then pairwise, so it does not depend on how rows are batched.
  void (*softmax)(float* x, float scale, int64_t n);

  // log(sum of exp(x[i])) over n values, the sum in double over the same 8 lanes.
  double (*log_sum_exp)(const float* x, int64_t n);

  // KL(p || q) in nats between the softmax distributions of two logit rows, given their
  // log_sum_exp; terms in float, the sum in double over the same 8 lanes.
  double (*kl_divergence)(
      const float* p_logits, double p_lse, const float* q_logits, double q_lse, int64_t n);
};

// All tiers this machine can run, slowest first.
std::span<const KernelTable* const> AvailableKernels();

// The tier in use: the fastest available one, or what the environment variable BITBUDGET_CPU names
// (portable | avx2). Chosen once, at the first call. CHECK-fails never: an unknown or unavailable
// name is reported by CheckKernelOverride and the default is used.
const KernelTable& Kernels();

// OK when BITBUDGET_CPU is unset or names an available tier; otherwise kInvalidArgument with the
// names that are available. The command asks this before it starts.
absl::Status CheckKernelOverride();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_TABLE_H_
