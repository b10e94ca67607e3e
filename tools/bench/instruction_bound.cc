#include "tools/bench/instruction_bound.h"

#include "absl/strings/string_view.h"
#include "runtime/kernels/table.h"

namespace bitbudget {

#if defined(__x86_64__)
namespace {

constexpr int64_t kRounds = 1 << 20;
constexpr int kChains = 12;
constexpr char kMaddwd[] = "vpmaddwd+vpaddd ymm";

// Accumulators 0 to 11, operands 12 and 13 (zeros), temporaries 14 and 15 where a step needs one.
// Of vector registers a zmm is named by its xmm part in the list of what is overwritten.
#define BB_CLOBBERS                                                                        \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc"
#define BB_CHAINS(STEP) \
  STEP(0, 14)           \
  STEP(1, 15)           \
  STEP(2, 14)           \
  STEP(3, 15)           \
  STEP(4, 14) STEP(5, 15) STEP(6, 14) STEP(7, 15) STEP(8, 14) STEP(9, 15) STEP(10, 14) STEP(11, 15)
#define BB_LOOP(STEP)       \
  int64_t rounds = kRounds; \
  asm volatile(                                  \
      "vzeroall\n"                               \
      "1:\n" BB_CHAINS(STEP)                     \
      "dec %0\n"                                 \
      "jnz 1b\n"                                 \
      "vzeroupper\n"                             \
      : "+r"(rounds)::BB_CLOBBERS)

#define BB_FMA_YMM(A, T) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #A "\n"
#define BB_MADDWD_YMM(A, T)             \
  "vpmaddwd %%ymm12, %%ymm13, %%ymm" #T \
  "\n"                                  \
  "vpaddd %%ymm" #T ", %%ymm" #A ", %%ymm" #A "\n"
#define BB_MADDUBS_YMM(A, T)              \
  "vpmaddubsw %%ymm12, %%ymm13, %%ymm" #T \
  "\n"                                    \
  "vpaddw %%ymm" #T ", %%ymm" #A ", %%ymm" #A "\n"
#define BB_FMA_ZMM(A, T) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #A "\n"
#define BB_DPWSSD_ZMM(A, T) "vpdpwssd %%zmm12, %%zmm13, %%zmm" #A "\n"
#define BB_DPBUSD_ZMM(A, T) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #A "\n"

void FmaYmm() { BB_LOOP(BB_FMA_YMM); }
void MaddwdYmm() { BB_LOOP(BB_MADDWD_YMM); }
void MaddubsYmm() { BB_LOOP(BB_MADDUBS_YMM); }
void FmaZmm() { BB_LOOP(BB_FMA_ZMM); }
void DpwssdZmm() { BB_LOOP(BB_DPWSSD_ZMM); }
void DpbusdZmm() { BB_LOOP(BB_DPBUSD_ZMM); }

InstructionBound Make(const char* chain, int macs_per_step, void (*run)()) {
  return {chain, static_cast<double>(kRounds * kChains * macs_per_step), run};
}

}  // namespace

std::optional<InstructionBound> BoundOf(const WeightPanels& panels) {
  const absl::string_view tier = Kernels().name;
  if (tier != "avx2" && tier != "avx512vnni") return std::nullopt;
  const bool wide = tier == "avx512vnni";
  switch (panels.path) {
    case Path::kF32:
      return wide ? Make("vfmadd zmm", 16, FmaZmm) : Make("vfmadd ymm", 8, FmaYmm);
    case Path::kInt16:
      return wide ? Make("vpdpwssd zmm", 32, DpwssdZmm) : Make(kMaddwd, 16, MaddwdYmm);
    case Path::kNone:  // no instruction
      return std::nullopt;
    case Path::kInt8:
      if (panels.code_bits > Kernels().int8_code_bits) return Make(kMaddwd, 16, MaddwdYmm);
      break;
  }
  return wide ? Make("vpdpbusd zmm", 64, DpbusdZmm) : Make("vpmaddubsw+vpaddw ymm", 32, MaddubsYmm);
}

#else

std::optional<InstructionBound> BoundOf(const WeightPanels&) { return std::nullopt; }

#endif

}  // namespace bitbudget
