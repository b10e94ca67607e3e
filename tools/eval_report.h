#ifndef BITBUDGET_TOOLS_EVAL_REPORT_H_
#define BITBUDGET_TOOLS_EVAL_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>

#include "planner/jobs/evaluate_job.h"

namespace bitbudget {

// An evaluation as the fields that `eval --json` documents, and as text on standard output.
nlohmann::ordered_json EvalJson(const EvaluateReport& report, bool fdt_only);
void PrintEval(const EvaluateReport& report, bool fdt_only);

// Whether both were measured on the same prompts and completions, so that they can be paired.
bool SameProbes(const EvaluateReport& a, const EvaluateReport& b);

// The 95 % intervals of a minus b, paired over probes. REQUIRES: SameProbes(a, b), and whole
// evaluations.
nlohmann::ordered_json DifferencesJson(const EvaluateReport& a, const EvaluateReport& b);
void PrintDifferences(const EvaluateReport& a,
                      const std::string& a_name,
                      const EvaluateReport& b,
                      const std::string& b_name);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EVAL_REPORT_H_
