#include "tools/bench/machine.h"

#include <cblas.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/parallel.h"
#include "runtime/kernels/table.h"

#ifndef BITBUDGET_BENCH_FLAGS
#error "the build passes its compiler flags"
#endif

namespace bitbudget {
namespace {

// The first values of these fields of /proc/cpuinfo.
std::string CpuName() {
  std::string model = "unknown CPU";
  std::string family;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits(':', 1));
    const std::string name(absl::StripAsciiWhitespace(field.first));
    const std::string value(absl::StripAsciiWhitespace(field.second));
    if (name == "model name") model = value;
    if (name == "cpu family") absl::StrAppend(&family, " family ", value);
    if (name == "model") absl::StrAppend(&family, " model ", value);
  }
  return model + family;
}

// An addition that needs the one before it takes one cycle. The best of a few runs: this is the
// clock rate, not what other processes leave of it.
double MeasureGhz() {
#if defined(__x86_64__)
  double best = 0;
  for (int run = 0; run < 9; ++run) {
    constexpr int kRounds = 100000;
    constexpr int kChain = 50;
    timespec start, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    uint64_t value = 0;
    for (int i = 0; i < kRounds; ++i) {
      // Not an immediate: newer cores fold chains of those.
      asm volatile(".rept 50\n\tadd %1, %0\n\t.endr" : "+r"(value) : "r"(uint64_t{1}) : "cc");
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    const double ns = 1e9 * static_cast<double>(end.tv_sec - start.tv_sec) +
                      static_cast<double>(end.tv_nsec - start.tv_nsec);
    best = std::max(best, kRounds * kChain / ns);
  }
  return best;
#else
  return 0;
#endif
}

}  // namespace

Machine DescribeMachine() {
  Machine machine;
  machine.cpu = CpuName();
  machine.cores = DefaultThreads();
  double load = 0;
  if (getloadavg(&load, 1) == 1) machine.load = load;
  machine.ghz = MeasureGhz();
#if defined(__clang__)
  machine.compiler = absl::StrCat("clang ", __clang_version__);
#else
  machine.compiler = absl::StrCat("g++ ", __VERSION__);
#endif
  machine.flags = BITBUDGET_BENCH_FLAGS;
  machine.kernels = Kernels().name;
  machine.openblas = std::string(absl::StripAsciiWhitespace(openblas_get_config()));
  machine.openblas_core = openblas_get_corename();
  return machine;
}

std::string RenderMachine(const Machine& machine) {
  return absl::StrFormat(
      "cpu       %s, %d cores, %.2f GHz, load %.2f\n"
      "build     %s, %s\n"
      "kernels   %s\n"
      "openblas  %s kernels, one thread (%s)\n",
      machine.cpu,
      machine.cores,
      machine.ghz,
      machine.load,
      machine.compiler,
      machine.flags,
      machine.kernels,
      machine.openblas_core,
      machine.openblas);
}

nlohmann::ordered_json ToJson(const Machine& machine) {
  return {{"cpu", machine.cpu},
          {"cores", machine.cores},
          {"ghz", machine.ghz},
          {"load", machine.load},
          {"compiler", machine.compiler},
          {"flags", machine.flags},
          {"kernels", machine.kernels},
          {"openblas", machine.openblas},
          {"openblas_core", machine.openblas_core}};
}

void ChooseOpenBlas(char** argv) {
  bool changed = false;
  const auto set = [&changed](const char* name, const char* value) {
    if (getenv(name) != nullptr) return;
    setenv(name, value, /*overwrite=*/0);
    changed = true;
  };
  set("OPENBLAS_NUM_THREADS", "1");
  if (std::strcmp(Kernels().name, "avx2") == 0) set("OPENBLAS_CORETYPE", "Haswell");
  if (changed) execv("/proc/self/exe", argv);
}

}  // namespace bitbudget
