#ifndef BITBUDGET_PLANNER_JOBS_WORK_SIZES_H_
#define BITBUDGET_PLANNER_JOBS_WORK_SIZES_H_

#include <cstdint>
#include <functional>

#include "planner/jobs/plan_job.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"
#include "search/problem.h"

namespace bitbudget {

// What a product of a weight and an activation takes beside that of a candidate's run, of integers
// of 4 bits and int16: rough, measured on two cores with AVX-512 and a model of 7.3 million
// weights. What is not proportional to products (attention, softmax, the comparison of logits) is
// in them.
inline constexpr double kFloatPass = 1.2;     // a run of the reference
inline constexpr double kGenerated = 1.7;     // completions, for prompt and completion
inline constexpr double kGradient = 9;        // forwards, again, and twice back
inline constexpr double kFloatProduct = 4.5;  // of plain matrices, in scores
// Rows whose products take as long as decoding a format and comparing it with the stored weights.
inline constexpr double kDecodedRows = 500;

// Rows that a set of probes takes through the model, per rank, and those whose logits are compared.
struct ProbeRows {
  double rows = 0;
  double compared = 0;
};

// The sizes that the work of a plan follows from, in passes (PlanWork).
class WorkSizes {
 public:
  WorkSizes(const Model& model,
            const PlanOptions& options,
            const SearchProblem& problem,
            const ProbeMaker& maker,
            int64_t ranks);

  const SearchProblem& problem() const { return problem_; }
  const ProbeRows& search() const { return search_; }
  const ProbeRows& held_out() const { return held_out_; }
  int64_t search_probes() const { return search_probes_; }
  int64_t window() const { return window_; }  // tokens of a calibration sequence
  int64_t prompt() const { return prompt_; }  // of a calibration prompt, at most
  int64_t completion() const { return completion_; }
  int64_t widest() const { return widest_; }  // inputs of a component
  double ranks() const { return static_cast<double>(ranks_); }

  double pass_macs() const { return Macs(search_); }
  double Passes(const ProbeRows& rows) const { return Macs(rows) / pass_macs(); }
  // Of the head alone.
  double HeadPasses(const ProbeRows& rows) const {
    return rows.compared * head_weights_ / pass_macs();
  }
  // Of whole sequences, all of whose logits are wanted.
  double PassesOf(int64_t sequences, int64_t tokens) const;

  // Of all weights in every format of their ladders, or each in one.
  double EncodingPasses() const { return encoding_rows_ * ladder_weights_ / pass_macs(); }
  double EncodingPassesOnce() const { return encoding_rows_ * weights() / pass_macs(); }
  // Of a product of every format of every component with rows(component) rows.
  double ProductPasses(const std::function<double(const Component&)>& rows) const;

  int64_t free_units() const;  // that are not pinned
  int64_t UniformCandidates() const;

 private:
  double weights() const { return layer_weights_ + head_weights_; }
  double Macs(const ProbeRows& rows) const {
    return rows.rows * layer_weights_ + rows.compared * head_weights_;
  }

  const SearchProblem& problem_;
  const int64_t ranks_;
  ProbeRows search_;
  ProbeRows held_out_;
  int64_t search_probes_ = 0;
  int64_t window_ = 0;
  int64_t prompt_ = 0;
  int64_t completion_ = 0;
  bool estimates_ = false;  // of candidates, by a scorer
  int64_t widest_ = 0;
  double layer_weights_ = 0;
  double head_weights_ = 0;
  double ladder_weights_ = 0;  // times formats
  double encoding_rows_ = 0;   // whose products take as long as encoding the weights in a format
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_WORK_SIZES_H_
