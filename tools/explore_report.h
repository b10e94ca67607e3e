#ifndef BITBUDGET_TOOLS_EXPLORE_REPORT_H_
#define BITBUDGET_TOOLS_EXPLORE_REPORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "planner/jobs/explore_job.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What the page needs beside the report.
struct ExploreCommandLine {
  std::string command;  // as it was called
  std::string model;    // as it was named
  std::string options;  // those that `plan` shares, as shell words
  std::string run_dir;  // empty: nothing was kept
};

// The curve as `--json` documents it: {"points": [...], "knee"}.
nlohmann::ordered_json ExploreCurveJson(const ExploreReport& report, const Model& model);

// The document of the page (tools/explore/data.js): the curve with all that is behind it.
absl::StatusOr<nlohmann::ordered_json> ExploreDocument(const ExploreReport& report,
                                                       const ExploreOptions& options,
                                                       const ExploreCommandLine& command_line,
                                                       const Model& model);

// One line per point, for a terminal of `width` columns (TextTable).
std::string ExploreTable(const ExploreReport& report, const Model& model, int width);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EXPLORE_REPORT_H_
