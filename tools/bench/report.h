#ifndef BITBUDGET_TOOLS_BENCH_REPORT_H_
#define BITBUDGET_TOOLS_BENCH_REPORT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace bitbudget {

// What one path did beside its baseline.
struct BenchResult {
  std::string bench;   // "linear"
  std::string path;    // "F", "I", "I8", "U"; "sgemm"; or what a candidate was asked
  std::string format;  // of the weights
  int64_t m = 0;       // 0: does not apply
  int64_t n = 0;
  int64_t k = 0;
  int threads = 1;
  std::optional<double> gmac_per_s;
  std::optional<double> tokens_per_s;
  std::optional<double> gb_per_s;  // 1e9 bytes of weights
  std::optional<double> per_s;     // candidates, weights
  std::string baseline;            // what `ratio` is to
  double ratio = 1;                // speed of the path / speed of the baseline, median over rounds
  double spread = 0;               // relative median absolute deviation of the path's times
  std::optional<double> target;    // what `ratio` ought to reach
};

// The rows as an aligned table for people, with every target beside what was measured.
std::string RenderTable(const std::vector<BenchResult>& results);

// An element of "results". Numbers that do not apply are null.
nlohmann::ordered_json ToJson(const BenchResult& result);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_REPORT_H_
