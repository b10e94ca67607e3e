// A configuration of another program from a stranger: any bytes give a report or one line, in time.
//
// The input: the name of a target, a line feed, the file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

#include "absl/strings/string_view.h"
#include "plans/targets/lint.h"
#include "tests/plans/small_plan.h"

namespace {

constexpr double kMaxSeconds = 10;

void Require(bool condition) {
  if (!condition) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const plan = new bitbudget::plans::Plan(bitbudget::SmallPlan(2));
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\n'), input.size());
  const auto target = bitbudget::FindTarget(input.substr(0, end));
  if (!target.ok()) return 0;
  const std::clock_t start = std::clock();
  const auto report = bitbudget::Lint(**target,
                                      input.substr(std::min(end + 1, input.size())),
                                      "rules",
                                      bitbudget::ModelOfPlan(*plan),
                                      plan);
  Require(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < kMaxSeconds);
  if (!report.ok()) {
    const absl::string_view message = report.status().message();
    Require(message.find('\n') == absl::string_view::npos && message.size() <= 1000);
    return 0;
  }
  Require(!bitbudget::RenderLint(*report).empty());
  return 0;
}
