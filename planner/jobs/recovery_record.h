#ifndef BITBUDGET_PLANNER_JOBS_RECOVERY_RECORD_H_
#define BITBUDGET_PLANNER_JOBS_RECOVERY_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>

#include "planner/jobs/recover_job.h"
#include "planner/runs/training_data.h"
#include "plans/plan.pb.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/probes.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// What was measured on held-out probes.
struct RecoveryMeasurements {
  Evaluation before;
  Evaluation after;
};

// What a recovery found, as values.
struct RecoveryFindings {
  const Recovered* recovered = nullptr;
  const TrainingData* data = nullptr;
  const ProbeMaker* maker = nullptr;
  std::optional<RecoveryMeasurements> held_out;  // none when it was interrupted
};

// A method, what was trained on, and what was measured, as a plan holds them.
plans::RecoveryStep ToProto(const RecoveryStep& step);
plans::RecoveryData ToProto(const TrainingData& data, const ProbeMaker& maker);
plans::RecoveryEvidence ToProto(const RecoveryMeasurements& held_out,
                                const ProbeOptions& probes,
                                const ProbeMaker& maker);

// The hash of all sequences.
std::string Sha256Of(const RecoveryData& data);

// The plan of `options` with one more pass of recovery and the hashes of all encodings. The
// SHA-256 of the file that holds them is left to the writer.
plans::Plan RecoveredPlan(const RecoverJobOptions& options, const RecoveryFindings& findings);

// The SHA-256 of all that decides what a recovery finds: plan, options, data and the encodings that
// it starts from. Not the time that it may take.
std::string RecoveryKey(const RecoverJobOptions& options,
                        const RecoveryOptions& training,
                        const RecoveryData& data,
                        const ComponentEncodings& start);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_RECOVERY_RECORD_H_
