// The body of a tier: a tier_*.cc defines BITBUDGET_TIER, includes its vec_*-inl.h and then this
// file, and gets kTierKernels with every function compiled for its instruction set. Everything has
// internal linkage and nothing of the standard library has a body here: a function that were
// compiled with AVX2 and shared with other files could end up in code that runs everywhere.

#ifndef BITBUDGET_RUNTIME_KERNELS_TIER_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_TIER_INL_H_

#include "runtime/kernels/gemm-inl.h"
#include "runtime/kernels/gemm_int8-inl.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/math-inl.h"
#include "runtime/kernels/pack-inl.h"
#include "runtime/kernels/row_ops-inl.h"
#include "runtime/kernels/unpack-inl.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

constexpr KernelTable MakeTable(const char* name) {
  return {
      .name = name,
      .six_row_panels = PanelsAtOnce(kTileRows),
      .int8_code_bits = kInt8CodeBits,
      .tile_f32 = AnyTileF32,
      .tile_i16 = AnyTileI16,
      .unpack_codes = UnpackCodes,
      .tile_int8 = AnyTileInt8,
      .pack_f32 = PackF32,
      .pack_i16 = PackI16,
      .pack_i8 = PackI8,
      .rms_norm = RmsNorm,
      .rotate_half = RotateHalf,
      .silu_mul = SiluMul,
      .gelu_tanh_mul = GeluTanhMul,
      .soft_cap = SoftCap,
      .softmax = Softmax,
      .log_sum_exp = LogSumExp,
      .kl_divergence = KlDivergence,
  };
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_TIER_INL_H_
