#ifndef BITBUDGET_RUNTIME_KERNELS_KERNEL_TABLE_H_
#define BITBUDGET_RUNTIME_KERNELS_KERNEL_TABLE_H_

#include <cstdint>

namespace bitbudget {

// Consecutive weight panels (WeightPanels in panels.h). A weight is scale * (code - zero).
struct CodePanels {
  // 8 bits: u8[panel][padded_k / 4][16][4].
  // 4 bits: u8[panel][padded_k / 8][16][4]; low nibbles: inputs 8j .. 8j + 3.
  const uint8_t* codes;
  int64_t code_stride;   // bytes between panels
  const float* scales;   // f32[panel][group][16]
  int64_t scale_stride;  // elements between panels
  // Integers in +-255: f32[panel][group][16], or f32[16], all the same, for all groups.
  const float* zeros;
  int64_t zero_stride;  // elements between panels, 0 for one vector
  int64_t zero_step;    // elements between groups, 0 for one vector
  int64_t padded_k;     // a multiple of 32
  int code_bits;        // 4 or 8
  int group;            // inputs per scale, at most kMaxFlush; the last group is what is left
};

// A stretch of the inputs of such panels with levels (code - zero) as int16.
struct Int16Panels {
  const int16_t* codes;  // i16[panel][inputs / 2][16][2], in PairOrder
  int64_t code_stride;   // elements between panels
  const float* scales;   // f32[panel][flush group][16]
  int64_t scale_stride;  // elements between panels
  int64_t inputs;        // even
  int flush;  // inputs per flush group, even, at most kMaxFlush; the last group is what is left
};

// The kernels of one CPU tier: plain data in, plain data out. All tiers give bitwise the same
// results (NaN is NaN, its sign and payload are not specified): sums run in one fixed order, fused
// multiply-adds are real or exactly emulated, and the same polynomial evaluates exp. A row's result
// never depends on the other rows of the call. This header has no function with a body and no
// standard container, because the tier files are compiled with their own instruction-set flags.
struct KernelTable {
  const char* name;  // "portable", "avx2", "avx512vnni"
  // Panels that the tiles process together with six rows: calls with a multiple of it are fastest;
  // more per call only widen the working set.
  int six_row_panels;
  // The widest codes that tile_int8 multiplies: 8, or 4 where no instruction adds the products of
  // bytes without saturation. Wider ones are widened to int16, as are the activations.
  int int8_code_bits;

  // For every panel p and row r < rows <= 6:
  //   c[r * ldc + 16 * p + (0..16)) = c0 + sum over k of a[k][r] * b[p][k][0..16)
  // as one FMA per k in increasing k. c0 is +0, or what c holds with `accumulate`.
  // `a` is one activation block, f32[k][6]; panel p is f32[k][16] at b + p * b_stride.
  void (*tile_f32)(const float* a,
                   const float* b,
                   int64_t b_stride,
                   int64_t k,
                   int rows,
                   int64_t panels,
                   bool accumulate,
                   float* c,
                   int64_t ldc);

  // acc = fma(float(int32 sum), weight scale * activation scale, acc) per flush group, in
  // increasing k, from +0 or with `accumulate` from what c holds. `a` is one activation block, or
  // the stretch of one, i16[inputs / 2][6][2]; the scales of flush group g are a_scales[g *
  // a_scale_step + (0..6)], with a step of 0 for one scale per row. REQUIRES: |weight codes| <=
  // 255, |activation codes| <= 32767 (then the int32 sums are exact).
  void (*tile_i16)(const int16_t* a,
                   const float* a_scales,
                   int64_t a_scale_step,
                   const Int16Panels& b,
                   int rows,
                   int64_t panels,
                   bool accumulate,
                   float* c,
                   int64_t ldc);

  // The levels of the inputs [begin, end) of `panels` panels, i16[panel][(end - begin) / 2][16][2]
  // in PairOrder. begin is a multiple of the group, end too or padded_k, both of 4 (of 8 with 4-bit
  // codes).
  void (*unpack_codes)(
      const CodePanels& b, int64_t begin, int64_t end, int64_t panels, int16_t* levels);

  // acc = fma(sum - zero * a_sum, weight scale * activation scale, acc) per group, in increasing k,
  // from +0, where sum is the int32 sum of code * a; sum - zero * a_sum is an exact integer. `a` is
  // one activation block, i8[padded_k / 4][6][4] with |codes| <= 127; a_scales and a_sums (of the
  // codes) are f32[group][6]. REQUIRES: code_bits <= int8_code_bits; groups are multiples of 8, and
  // of 32 above 32.
  void (*tile_int8)(const int8_t* a,
                    const float* a_scales,
                    const float* a_sums,
                    const CodePanels& b,
                    int rows,
                    int64_t panels,
                    float* c,
                    int64_t ldc);

  // Packs rows <= 6 rows x[r][k] (row stride ldx) into one block f32[padded_k][6]; missing rows and
  // inputs from k to padded_k become zeros.
  void (*pack_f32)(
      const float* x, int64_t ldx, int rows, int64_t k, int64_t padded_k, float* block);

  // The same for i16[padded_k / 2][6][2] in PairOrder and scales f32[group][6], one for every
  // `group` inputs of a row (the last group of a row is what is left); padded_k and group are
  // multiples of kCodeStep. With `absmax` the largest magnitude of a row's group, its scale is
  // absmax / max_code and its codes are x * (max_code / absmax) rounded to nearest, ties to even;
  // |codes| <= max_code <= 32767. A group with absmax < 2^-100 counts as zeros (scale 0). A group
  // with a NaN or an infinity gets scale NaN and codes 0, so that all outputs of its row become
  // NaN.
  void (*pack_i16)(const float* x,
                   int64_t ldx,
                   int rows,
                   int64_t k,
                   int64_t padded_k,
                   int64_t group,
                   int max_code,
                   int16_t* block,
                   float* scales);

  // The same codes with max_code = 127 as i8[padded_k / 4][6][4], and beside the scales the sums of
  // each group's codes, f32[group][6].
  void (*pack_i8)(const float* x,
                  int64_t ldx,
                  int rows,
                  int64_t k,
                  int64_t padded_k,
                  int64_t group,
                  int8_t* block,
                  float* scales,
                  float* sums);

  // out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; the sum of squares is accumulated in double
  // over 8 interleaved lanes (i mod 8), which are then added pairwise. May run in place.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);

  // Rotates pairs (x[i], x[i + half]) by the angle whose cosine and sine are cos[i], sin[i], in
  // place (the "rotate half" convention of Hugging Face Llama).
  void (*rotate_half)(float* x, const float* cos, const float* sin, int64_t half);

  // out[i] = gate[i] * sigmoid(gate[i]) * up[i]; may run in place.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);

  // The same with the tanh form of GELU: out[i] = gate[i] * sigmoid(2 u) * up[i] with u = sqrt(2 /
  // pi) (gate[i] + 0.044715 gate[i]^3), which is gate/2 (1 + tanh(u)) * up. May run in place.
  void (*gelu_tanh_mul)(const float* gate, const float* up, int64_t n, float* out);

  // x[i] = cap * tanh(x[i] * (scale / cap)), in place; off by at most 12 * 2^-24 relative.
  void (*soft_cap)(float* x, float scale, float cap, int64_t n);

  // x[i] = exp(scale * x[i] - max) / sum over i < n, in place; the sum in float over the 8 lanes.
  // Terms below 2^-126 of the largest become exact zeros.
  void (*softmax)(float* x, float scale, int64_t n);

  // log(sum of exp(x[i])) over n values; exp in float, the sum in double over the 8 lanes. The
  // maximum is subtracted before exp and added after log. -infinity for n = 0.
  double (*log_sum_exp)(const float* x, int64_t n);

  // KL(p || q) in nats between the softmax distributions of two logit rows, given their
  // log_sum_exp; probabilities in float, log ratios and the sum in double over the 8 lanes. Terms
  // of probability zero are zero.
  double (*kl_divergence)(
      const float* p_logits, double p_lse, const float* q_logits, double q_lse, int64_t n);
};

// The tables of the tiers, defined in tier_*.cc. Only dispatch.cc may name them: it checks the CPU
// first.
extern const KernelTable kPortableKernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512VnniKernels;

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_KERNEL_TABLE_H_
