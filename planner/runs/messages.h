#ifndef BITBUDGET_PLANNER_RUNS_MESSAGES_H_
#define BITBUDGET_PLANNER_RUNS_MESSAGES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/runs/messages.pb.h"
#include "runtime/eval/metrics.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/quantize/input_moments.h"

namespace bitbudget {

// The messages of messages.proto as values and as bytes. Equal values give equal bytes, and come
// back bit for bit. Parse...() returns kDataLoss for bytes that are no such message; `where` says
// where they came from ("the run store", "rank 2").

std::string Serialize(const google::protobuf::MessageLite& message);

absl::Status DamagedMessage(absl::string_view what, absl::string_view where);

template <typename Message>
absl::StatusOr<Message> Parse(absl::string_view bytes,
                              absl::string_view what,
                              absl::string_view where) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DamagedMessage(what, where);
  }
  return message;
}

void ToMessage(std::span<const ProbeResult> results, messages::Results* message);
absl::StatusOr<Evaluation> FromMessage(const messages::Results& message, absl::string_view where);

std::string SerializeResults(std::span<const ProbeResult> results);
absl::StatusOr<Evaluation> ParseResults(absl::string_view bytes, absl::string_view where);

std::string SerializeSequences(std::span<const std::vector<int32_t>> sequences);
absl::StatusOr<std::vector<std::vector<int32_t>>> ParseSequences(absl::string_view bytes,
                                                                 absl::string_view where);

std::string SerializeCompletions(std::span<const Generation> completions);
// `count` completions, else kDataLoss.
absl::StatusOr<std::vector<Generation>> ParseCompletions(absl::string_view bytes,
                                                         int64_t count,
                                                         absl::string_view where);

std::string SerializeMoments(const InputMoments& moments);
absl::StatusOr<InputMoments> ParseMoments(absl::string_view bytes, absl::string_view where);

std::string SerializeLayerOrder(std::span<const int> layers);
absl::StatusOr<std::vector<int>> ParseLayerOrder(absl::string_view bytes, absl::string_view where);

std::string SerializeOutputErrors(std::span<const double> errors);
// `count` errors, else kDataLoss.
absl::StatusOr<std::vector<double>> ParseOutputErrors(absl::string_view bytes,
                                                      int64_t count,
                                                      absl::string_view where);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_MESSAGES_H_
