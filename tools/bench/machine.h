#ifndef BITBUDGET_TOOLS_BENCH_MACHINE_H_
#define BITBUDGET_TOOLS_BENCH_MACHINE_H_

#include <nlohmann/json.hpp>
#include <string>

namespace bitbudget {

// What a measurement belongs to.
struct Machine {
  std::string cpu;  // model name and family
  int cores = 0;    // that this process may use
  double ghz = 0;   // of one core now, from a chain of dependent additions
  double load = 0;  // one-minute load average ahead of the run
  std::string compiler;
  std::string flags;
  std::string kernels;        // tier
  std::string openblas;       // version and kind of build
  std::string openblas_core;  // whose kernels sgemm runs
};

Machine DescribeMachine();
std::string RenderMachine(const Machine& machine);
nlohmann::ordered_json ToJson(const Machine& machine);

// OpenBLAS chooses its kernels and threads before main() runs, from the environment. Unless they
// are set there: one thread, and for the avx2 tier kernels with the same instructions (Haswell);
// other tiers leave the choice to it. Starts the program anew when something has to change; returns
// when nothing has, or when that failed.
void ChooseOpenBlas(char** argv);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_MACHINE_H_
