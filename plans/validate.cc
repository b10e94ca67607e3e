#include "plans/validate.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "plans/plan_io.h"
#include "plans/validate_internal.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/format.h"

namespace bitbudget {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using internal::Bad;
using internal::CheckFormat;
using internal::CheckMeasurements;
using internal::CheckRecovery;
using internal::CheckSource;
using internal::IsFingerprint;
using internal::SaturatingAdd;

// No matrix comes near this many weights, and SizeBits (at most 32 bits per weight with its scales)
// is far from overflow below it.
constexpr int64_t kMaxWeights = int64_t{1} << 48;

// In execution order within a layer; the embedding precedes all layers and the head follows them.
constexpr std::array<absl::string_view, 7> kLayerKinds = {"q", "k", "v", "o", "gate", "up", "down"};

// Holds for every field of every message: numbers are finite, text is printable ASCII (it goes to
// terminals and into other programs' configuration), integers are not negative. Component.layer,
// the one field that may be, has its own check.
absl::Status CheckValues(const Message& message, const std::string& prefix) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const auto path = [&] {
        return field->is_repeated() ? absl::StrCat(prefix, field->name(), "[", i, "]")
                                    : absl::StrCat(prefix, field->name());
      };
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_MESSAGE:
          BB_RETURN_IF_ERROR(CheckValues(field->is_repeated()
                                             ? reflection.GetRepeatedMessage(message, field, i)
                                             : reflection.GetMessage(message, field),
                                         path() + "."));
          break;
        case FieldDescriptor::CPPTYPE_DOUBLE: {
          const double value = reflection.GetDouble(message, field);
          if (!std::isfinite(value)) return Bad(path(), value, " is not a finite number");
          break;
        }
        case FieldDescriptor::CPPTYPE_INT64: {
          const int64_t value = reflection.GetInt64(message, field);
          if (value < 0) return Bad(path(), value, " is negative");
          break;
        }
        case FieldDescriptor::CPPTYPE_STRING: {
          std::string scratch;
          const std::string& text =
              field->is_repeated()
                  ? reflection.GetRepeatedStringReference(message, field, i, &scratch)
                  : reflection.GetStringReference(message, field, &scratch);
          if (field->type() == FieldDescriptor::TYPE_BYTES) break;  // CheckMeasurements
          if (!std::all_of(text.begin(), text.end(), absl::ascii_isprint)) {
            return Bad(path(), "text that is not printable ASCII");
          }
          break;
        }
        default:
          break;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSize(const plans::Component& c,
                       const Format& format,
                       int64_t size_bytes,
                       const std::string& path) {
  if (!Fits(format, c.cols())) {
    return Bad(path, "rows of ", c.cols(), " inputs are not whole blocks of ", format.Name());
  }
  const int64_t expected = SizeBytes(format, c.rows(), c.cols());
  if (size_bytes == expected) return absl::OkStatus();
  return Bad(path,
             size_bytes,
             ", but ",
             format.Name(),
             " [",
             c.rows(),
             ", ",
             c.cols(),
             "] takes ",
             expected);
}

// Codes that cannot be made again from the plan alone say what they were learned from.
absl::Status CheckCalibration(const plans::Plan& plan) {
  if (!plan.has_calibration()) {
    if (plan.has_recovery()) return absl::OkStatus();  // CheckRecovery
    for (int i = 0; i < plan.components_size(); ++i) {
      if (plan.components(i).encoding_sha256().empty()) continue;
      return Bad("calibration",
                 "missing, but components[",
                 i,
                 "].encoding_sha256 is that of codes learned from calibration text");
    }
    return absl::OkStatus();
  }
  const plans::Calibration& calibration = plan.calibration();
  BB_RETURN_IF_ERROR(CheckSource(calibration.source(), calibration.fingerprint(), "calibration."));
  if (calibration.sequences() < 1) return Bad("calibration.sequences", "0");
  if (calibration.tokens() < calibration.sequences()) {
    return Bad("calibration.tokens",
               calibration.tokens(),
               ", fewer than the ",
               calibration.sequences(),
               " sequences");
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const plans::Plan& plan) {
  const plans::Options& options = plan.options();
  if (options.search().empty()) return Bad("options.search", "empty");
  if (options.objective().empty()) return Bad("options.objective", "empty");
  if (options.activations().empty()) return Bad("options.activations", "empty");
  if (options.encoder().empty()) return Bad("options.encoder", "empty");
  for (int i = 0; i < options.formats_size(); ++i) {
    BB_RETURN_IF_ERROR(
        CheckFormat(options.formats(i), absl::StrCat("options.formats[", i, "]")).status());
  }
  if (options.probe_source().empty() && ChangesNothing(plan)) return absl::OkStatus();  // not run
  return CheckSource(options.probe_source(), options.probe_fingerprint(), "options.probe_");
}

// (layer, position in layer) in execution order; the embedding is in layer -1, the head in the
// last.
absl::StatusOr<std::pair<int64_t, int64_t>> ExecutionOrder(const plans::Component& c,
                                                           const std::string& path) {
  const auto kind = std::find(kLayerKinds.begin(), kLayerKinds.end(), c.kind());
  const bool in_layer = kind != kLayerKinds.end();
  if (!in_layer && c.kind() != "embed" && c.kind() != "head") {
    return Bad(path + ".kind", "'", c.kind(), "' is not a kind of component");
  }
  if (in_layer != (c.layer() >= 0) || c.layer() < -1) {
    return Bad(path + ".layer", c.layer(), ", not a layer for kind ", c.kind());
  }
  if (in_layer) return std::pair<int64_t, int64_t>(c.layer(), kind - kLayerKinds.begin());
  const int64_t outside = c.kind() == "embed" ? -1 : std::numeric_limits<int64_t>::max();
  return std::pair<int64_t, int64_t>(outside, 0);
}

absl::Status CheckComponent(const plans::Component& c, const std::string& path) {
  if (c.name().empty()) return Bad(path + ".name", "empty");
  if (c.rows() <= 0 || c.cols() <= 0 || c.rows() > kMaxWeights / c.cols()) {
    return Bad(path, "shape [", c.rows(), ", ", c.cols(), "] is not that of a matrix");
  }
  BB_ASSIGN_OR_RETURN(const Format format, CheckFormat(c.format(), path + ".format"));
  BB_RETURN_IF_ERROR(CheckSize(c, format, c.size_bytes(), path + ".size_bytes"));
  if (c.encoder().empty() && format.IsInteger()) {
    return Bad(path + ".encoder", "empty, but the format is ", c.format());
  }
  if (!c.encoding_sha256().empty() && !IsFingerprint(c.encoding_sha256())) {
    return Bad(path + ".encoding_sha256",
               "'",
               c.encoding_sha256(),
               "' is not a SHA-256 in 64 lower-case hex digits");
  }
  std::set<Format> measured;
  for (int i = 0; i < c.evidence_size(); ++i) {
    const plans::FormatEvidence& evidence = c.evidence(i);
    const std::string at = absl::StrCat(path, ".evidence[", i, "]");
    BB_ASSIGN_OR_RETURN(const Format tried, CheckFormat(evidence.format(), at + ".format"));
    if (!measured.insert(tried).second) {
      return Bad(at + ".format", evidence.format(), " appears twice");
    }
    BB_RETURN_IF_ERROR(CheckSize(c, tried, evidence.size_bytes(), at + ".size_bytes"));
    if (evidence.kl_mean() < -internal::kNatsSlack) {
      return Bad(at + ".kl_mean", evidence.kl_mean(), " is negative");
    }
    if (evidence.output_error() < 0) {
      return Bad(at + ".output_error", evidence.output_error(), " is negative");
    }
    if (evidence.estimate() < 0) {
      return Bad(at + ".estimate", evidence.estimate(), " is negative");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckComponents(const plans::Plan& plan) {
  if (plan.components().empty()) return Bad("components", "none");
  std::set<absl::string_view> names;
  std::pair<int64_t, int64_t> previous(std::numeric_limits<int64_t>::min(), 0);
  for (int i = 0; i < plan.components_size(); ++i) {
    const plans::Component& c = plan.components(i);
    const std::string path = absl::StrCat("components[", i, "]");
    BB_RETURN_IF_ERROR(CheckComponent(c, path));
    if (!names.insert(c.name()).second) return Bad(path + ".name", c.name(), " appears twice");
    BB_ASSIGN_OR_RETURN(const auto order, ExecutionOrder(c, path));
    if (order <= previous) {
      return Bad(path, c.name(), " is out of execution order (embed; q k v o gate up down; head)");
    }
    previous = order;
  }
  return absl::OkStatus();
}

// The components and the fixed part are the whole model. What no plan touches is stored in 2 bytes
// per weight (f16, bf16) or 4 (f32), so a component that is missing from the list shows there; the
// rest can be in a block format already.
absl::Status CheckModel(const plans::Plan& plan) {
  const plans::ModelInfo& model = plan.model();
  if (model.architecture().empty()) return Bad("model.architecture", "empty");
  if (!IsFingerprint(model.fingerprint())) {
    return Bad("model.fingerprint",
               "'",
               model.fingerprint(),
               "' is not a SHA-256 in 64 lower-case hex digits");
  }
  int64_t planned = 0;
  for (const plans::Component& c : plan.components()) {
    planned = SaturatingAdd(planned, c.rows() * c.cols());
  }
  if (model.parameter_count() < planned) {
    return Bad("model.parameter_count",
               model.parameter_count(),
               ", but the components alone have ",
               planned);
  }
  // Without the products that could overflow.
  const auto at_most_4 = [](int64_t bytes, int64_t weights) {
    return bytes / 4 + (bytes % 4 != 0) <= weights;
  };
  const int64_t stored = model.stored_bytes(), weights = model.parameter_count();
  if (!at_most_4(stored, weights) || stored < weights / 8) {
    return Bad("model.stored_bytes", stored, ", but ", weights, " weights take 1 to 32 bits each");
  }
  const int64_t fixed = model.fixed_bytes(), unplanned = weights - planned;
  if (!at_most_4(fixed, unplanned) || fixed / 2 < unplanned) {
    return Bad("model.fixed_bytes", fixed, ", but ", unplanned, " weights take 2 or 4 bytes each");
  }
  return absl::OkStatus();
}

// A budget that pays for more than weights is the sum of its parts.
absl::Status CheckBudgetSplit(const plans::Budget& budget) {
  const std::string& counts = budget.counts();
  const int64_t rest = SaturatingAdd(
      SaturatingAdd(budget.file_overhead_bytes(), budget.kv_cache_bytes()), budget.compute_bytes());
  if (counts.empty() || counts == "weights") {
    if (rest == 0 && budget.total_bytes() == 0 && budget.context() == 0) return absl::OkStatus();
    return Bad("budget.counts", "'", counts, "', but other fields divide the budget");
  }
  if (counts != "file" && counts != "memory") {
    return Bad("budget.counts", "'", counts, "' is none of weights, file, memory");
  }
  if (SaturatingAdd(budget.bytes(), rest) != budget.total_bytes()) {
    return Bad("budget.total_bytes",
               budget.total_bytes(),
               ", but its parts add up to ",
               SaturatingAdd(budget.bytes(), rest));
  }
  const bool memory = counts == "memory";
  if (memory != (budget.context() > 0) ||
      memory != (budget.kv_type() == "f16" || budget.kv_type() == "q8_0")) {
    return Bad("budget.context",
               budget.context(),
               " positions with keys and values in '",
               budget.kv_type(),
               "' do not belong to a budget for ",
               counts);
  }
  return absl::OkStatus();
}

absl::Status CheckBudget(const plans::Plan& plan) {
  if (plan.budget().requested().empty()) return Bad("budget.requested", "empty");
  BB_RETURN_IF_ERROR(CheckBudgetSplit(plan.budget()));
  const int64_t size = PlanSizeBytes(plan);
  if (size > plan.budget().bytes()) {
    return Bad("budget.bytes", plan.budget().bytes(), ", but the plan takes ", size);
  }
  return absl::OkStatus();
}

}  // namespace

bool internal::IsFingerprint(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

absl::Status internal::CheckSource(const std::string& source,
                                   const std::string& fingerprint,
                                   const std::string& path) {
  if (source != "model" && source != "text" && source != "prompts") {
    return Bad(path + "source", "'", source, "' is none of model, text, prompts");
  }
  if ((source != "model" || !fingerprint.empty()) && !IsFingerprint(fingerprint)) {
    return Bad(
        path + "fingerprint", "'", fingerprint, "' is not a SHA-256 in 64 lower-case hex digits");
  }
  return absl::OkStatus();
}

absl::Status ValidatePlan(const plans::Plan& plan) {
  if (plan.format_version() != kPlanFormatVersion) {
    return Bad("format_version", plan.format_version(), ", but this is ", kPlanFormatVersion);
  }
  BB_RETURN_IF_ERROR(CheckValues(plan, ""));
  if (plan.tool_version().empty()) return Bad("tool_version", "empty");
  BB_RETURN_IF_ERROR(CheckOptions(plan));
  BB_RETURN_IF_ERROR(CheckComponents(plan));
  BB_RETURN_IF_ERROR(CheckCalibration(plan));
  BB_RETURN_IF_ERROR(CheckModel(plan));
  BB_RETURN_IF_ERROR(CheckBudget(plan));
  BB_RETURN_IF_ERROR(CheckMeasurements(plan));
  return CheckRecovery(plan);
}

int64_t PlanSizeBytes(const plans::Plan& plan) {
  int64_t size = plan.model().fixed_bytes();
  for (const plans::Component& c : plan.components()) size = SaturatingAdd(size, c.size_bytes());
  return size;
}

bool ChangesNothing(const plans::Plan& plan) {
  return std::all_of(plan.components().begin(),
                     plan.components().end(),
                     [](const plans::Component& c) { return c.encoder().empty(); });
}

double PlanBitsPerWeight(const plans::Plan& plan) {
  const int64_t weights = plan.model().parameter_count();
  if (weights <= 0) return 0;
  return 8.0 * static_cast<double>(PlanSizeBytes(plan)) / static_cast<double>(weights);
}

}  // namespace bitbudget
