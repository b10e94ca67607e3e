#include "runtime/training/recovery_run.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Of a factor that a scale grows by: times the largest f16 it is far from the largest float.
constexpr float kLargestLog = 50;

constexpr absl::string_view kVectors = "vectors/";
constexpr absl::string_view kTransformed = "transformed";

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the saved state of the recovery has no ", what));
}

}  // namespace

void SaveEncoded(const ModelConfig& config,
                 const EncodedModel& encoded,
                 absl::string_view prefix,
                 SavedState* state) {
  for (const auto& [component, encoding] : encoded.encodings) {
    (*state)[absl::StrCat(prefix, component)] =
        std::string(encoding.bytes.begin(), encoding.bytes.end());
  }
  for (const auto& [layer, vectors] : encoded.vectors) {
    std::string& bytes = (*state)[absl::StrCat(prefix, kVectors, layer)];
    for (const LayerVector& vector : ListLayerVectors(config, layer)) {
      const std::vector<float>& values = vectors.*vector.values;
      bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    }
  }
  (*state)[absl::StrCat(prefix, kTransformed)] = absl::StrCat(encoded.transformed ? 1 : 0);
}

absl::StatusOr<EncodedModel> LoadEncoded(const ModelConfig& config,
                                         const SavedState& state,
                                         absl::string_view prefix,
                                         const EncodedModel& like) {
  EncodedModel encoded{like.encodings};
  for (auto& [component, encoding] : encoded.encodings) {
    const std::string name = absl::StrCat(prefix, component);
    const auto found = state.find(name);
    if (found == state.end() || found->second.size() != encoding.bytes.size()) {
      return Damaged(name);
    }
    encoding.bytes.assign(found->second.begin(), found->second.end());
  }
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string name = absl::StrCat(prefix, kVectors, layer);
    const auto found = state.find(name);
    if (found == state.end()) continue;
    absl::string_view bytes = found->second;
    LayerVectors& vectors = encoded.vectors[layer];
    for (const LayerVector& vector : ListLayerVectors(config, layer)) {
      const size_t size = vector.size * sizeof(float);
      if (bytes.size() < size) return Damaged(name);
      std::vector<float>& values = vectors.*vector.values;
      values.resize(vector.size);
      if (size > 0) std::memcpy(values.data(), bytes.data(), size);
      bytes.remove_prefix(size);
    }
    if (!bytes.empty()) return Damaged(name);
  }
  const auto transformed = state.find(absl::StrCat(prefix, kTransformed));
  if (transformed == state.end()) return Damaged(kTransformed);
  encoded.transformed = transformed->second == "1";
  return encoded;
}

absl::StatusOr<int64_t> LoadInteger(const SavedState& state, const std::string& name) {
  const auto found = state.find(name);
  int64_t value = 0;
  if (found == state.end() || !absl::SimpleAtoi(found->second, &value)) return Damaged(name);
  return value;
}

// A line per profile: step, loss, then every matrix's pair, all by spaces.
std::string SaveProfiles(std::span<const GradientProfile> profiles) {
  std::string text;
  for (const GradientProfile& profile : profiles) {
    absl::StrAppendFormat(&text, "%d %.17g", profile.step, profile.loss);
    for (const auto& layer : profile.layers) {
      for (const MatrixSignal& signal : layer) {
        absl::StrAppendFormat(&text, " %.17g %.17g", signal.gradient_norm, signal.sqnr_db);
      }
    }
    text += '\n';
  }
  return text;
}

absl::StatusOr<std::vector<GradientProfile>> LoadProfiles(const SavedState& state,
                                                          const std::string& name) {
  const auto found = state.find(name);
  if (found == state.end()) return Damaged(name);
  std::vector<GradientProfile> profiles;
  for (const absl::string_view line : absl::StrSplit(found->second, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
    GradientProfile& profile = profiles.emplace_back();
    if (parts.size() % (2 * kLayerMatrices) != 2 || !absl::SimpleAtoi(parts[0], &profile.step) ||
        !absl::SimpleAtod(parts[1], &profile.loss)) {
      return Damaged(name);
    }
    profile.layers.resize(parts.size() / (2 * kLayerMatrices));
    size_t next = 2;
    for (auto& layer : profile.layers) {
      for (MatrixSignal& signal : layer) {
        if (!absl::SimpleAtod(parts[next], &signal.gradient_norm) ||
            !absl::SimpleAtod(parts[next + 1], &signal.sqnr_db)) {
          return Damaged(name);
        }
        next += 2;
      }
    }
  }
  return profiles;
}

void RecoveryRun::Begin(SavedState ended, SavedState resumed) {
  begin_ = std::chrono::steady_clock::now();
  ended_ = std::move(ended);
  resumed_ = std::move(resumed);
}

bool RecoveryRun::MustStop() const {
  if (progress_->Interrupted()) return true;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin_;
  return options_.minutes > 0 && passed.count() > options_.minutes * 60;
}

absl::Status RecoveryRun::Save(SavedState state) {
  if (state_ == nullptr) return absl::OkStatus();
  state.insert(ended_.begin(), ended_.end());
  return state_->Save(state);
}

bool Diverges(double loss, std::span<ParameterArray* const> arrays) {
  return !std::isfinite(loss) ||
         !std::all_of(arrays.begin(), arrays.end(), [](const ParameterArray* array) {
           const Eigen::Map<const Eigen::ArrayXf> values(
               array->values.data(), static_cast<int64_t>(array->values.size()));
           return values.allFinite() && ((array->kind != ParameterKind::kLogScales &&
                                          array->kind != ParameterKind::kTransform) ||
                                         (values.abs() <= kLargestLog).all());
         });
}

double ZerosIn(const Format& format) {
  switch (format.sparsity.kind) {
    case SparsityKind::kDense:
      return 0;
    case SparsityKind::kShare:
      return format.sparsity.permille / 1000.0;
    case SparsityKind::k2of4:
      return 0.5;
  }
  return 0;
}

double PrunedRate(double zeros) { return 0.04 * zeros * zeros; }

double WeightRate(const Format& format) {
  if (format.IsFloat()) return PrunedRate(ZerosIn(format));
  switch (format.bits) {
    case 1:
      return 0.03;
    case 2:
      return 0.01;
    case 3:
      return 0.005;
    case 4:
      return 0.003;
    case 5:
    case 6:
      return 0.0015;
    default:
      return 0.0005;
  }
}

}  // namespace bitbudget
