#include "planner/jobs/plan_encodings.h"

#include <filesystem>
#include <optional>

#include "planner/output/recovered_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoders.h"

namespace bitbudget {

absl::StatusOr<std::vector<std::string>> HashEncodings(const Assignment& assignment,
                                                       Workspace* workspace) {
  std::vector<std::string> hashes;
  if (!(*FindEncoder(workspace->options().encoder))->learns_from_text &&
      !workspace->encoder()->NeedsFisher()) {
    return hashes;
  }
  for (size_t c = 0; c < assignment.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    hashes.emplace_back();
    if (assignment[c] == workspace->bank()->StoredFormat(id)) continue;
    BB_ASSIGN_OR_RETURN(const Encoding encoding, workspace->bank()->Encoded({id, assignment[c]}));
    hashes.back() = EncodingSha256(encoding);
  }
  return hashes;
}

absl::Status WriteTrained(const Model& model,
                          const PlanOptions& options,
                          PlanRetraining* retraining,
                          PlanFindings* findings) {
  BB_ASSIGN_OR_RETURN(const ComponentEncodings encodings, retraining->Encode(findings->assignment));
  std::optional<RecoveryMeasurements> held_out;
  if (findings->held_out.has_value()) held_out = findings->held_out->training;
  plans::Recovery& recovery = findings->recovery.emplace(retraining->Record(held_out));
  const std::string path = RecoveredFileFor(options.out);
  recovery.set_weights_file(std::filesystem::path(path).filename().string());
  findings->encoding_sha256.assign(findings->assignment.size(), "");
  for (const auto& [id, encoding] : encodings) {
    findings->encoding_sha256[id] = EncodingSha256(encoding);
  }
  Progress unseen;  // an interruption is no reason not to write
  BB_ASSIGN_OR_RETURN(*recovery.mutable_weights_sha256(),
                      WriteRecoveredFile(model, encodings, {}, path, &unseen));
  return absl::OkStatus();
}

}  // namespace bitbudget
