// What config.json says about attention: its scale, soft caps and sliding windows.

#include <cmath>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/config_fields.h"
#include "runtime/model/architecture/families.h"

namespace bitbudget {
namespace {

using nlohmann::json;

absl::Status ReadScale(const ConfigFields& fields, ModelConfig* config) {
  double scalar = static_cast<double>(config->head_dim);
  if (const std::optional<double> absent = FamilyOf(config->architecture).query_scalar) {
    scalar = *absent;
    BB_RETURN_IF_ERROR(fields.ReadNumber("query_pre_attn_scalar", 1e-6, 1e12, &scalar));
  }
  config->attention_scale = 1 / std::sqrt(scalar);
  return absl::OkStatus();
}

absl::Status ReadSoftCaps(const ConfigFields& fields, ModelConfig* config) {
  const Family& family = FamilyOf(config->architecture);
  const std::tuple<const char*, std::optional<double>, double*> caps[] = {
      {"attn_logit_softcapping", family.attention_soft_cap, &config->attention_soft_cap},
      {"final_logit_softcapping", family.final_soft_cap, &config->final_soft_cap},
  };
  for (const auto& [key, absent, cap] : caps) {
    if (!absent.has_value()) continue;
    if (!fields.Has(key)) *cap = *absent;
    BB_RETURN_IF_ERROR(fields.ReadNumber(key, 1e-3, 1e6, cap));
  }
  return absl::OkStatus();
}

// Null: the checkpoint has no window.
absl::Status ReadWindow(const ConfigFields& fields, ModelConfig* config) {
  constexpr char kKey[] = "sliding_window";
  if (fields.Has(kKey)) config->sliding_window.reset();
  if (fields.Find(kKey) != nullptr) {
    int64_t window = 0;
    BB_RETURN_IF_ERROR(fields.ReadInteger(kKey, 1, kMaxPositions, &window));
    config->sliding_window = window;
  }
  const Family& family = FamilyOf(config->architecture);
  if (family.window_rule == WindowRule::kFromLayer) {
    bool used = false;
    BB_RETURN_IF_ERROR(fields.ReadBool("use_sliding_window", &used));
    if (!used) config->sliding_window.reset();
  }
  if (family.window_rule == WindowRule::kNone && config->sliding_window.has_value()) {
    if (*config->sliding_window < config->max_position_embeddings) {
      return fields.Unsupported(
          kKey, absl::StrCat("is not supported: a ", family.spoken, " attends to all positions"));
    }
    config->sliding_window.reset();
  }
  return absl::OkStatus();
}

// The layers that slide by the family's own rule.
absl::Status SlidingByRule(const ConfigFields& fields,
                           const ModelConfig& config,
                           std::vector<bool>* slides) {
  const Family& family = FamilyOf(config.architecture);
  int64_t period = family.window_period;
  if (family.window_period_field) {
    for (const char* key : {"_sliding_window_pattern", "sliding_window_pattern"}) {
      BB_RETURN_IF_ERROR(fields.ReadInteger(key, 1, kMaxLayers, &period));
    }
  }
  int64_t first = 0;
  if (family.window_rule == WindowRule::kFromLayer) {
    first = 28;
    BB_RETURN_IF_ERROR(fields.ReadInteger("max_window_layers", 0, kMaxSize, &first));
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    slides->push_back(family.window_rule == WindowRule::kPeriodic
                          ? (layer + 1) % period != 0
                          : config.sliding_window.has_value() && layer >= first);
  }
  return absl::OkStatus();
}

// Replaces `slides` by what layer_types lists, where it is there.
absl::Status ReadLayerTypes(const ConfigFields& fields,
                            const ModelConfig& config,
                            std::vector<bool>* slides) {
  constexpr char kKey[] = "layer_types";
  const json* types = fields.Find(kKey);
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array()) return fields.Invalid(kKey, "is not a list");
  std::vector<bool> listed;
  for (const json& type : *types) {
    if (type != "full_attention" && type != "sliding_attention") {
      return fields.Unsupported(kKey,
                                "is not supported (full_attention and sliding_attention are)");
    }
    listed.push_back(type == "sliding_attention");
  }
  if (listed.size() != slides->size()) {
    return fields.Invalid(
        kKey,
        absl::StrCat("has ", listed.size(), " entries, but num_hidden_layers is ", slides->size()));
  }
  const WindowRule rule = FamilyOf(config.architecture).window_rule;
  const bool list_decides = rule == WindowRule::kFromLayer || rule == WindowRule::kPeriodic;
  if (!list_decides && listed != *slides) {
    return fields.Unsupported(
        kKey,
        absl::StrCat("is not supported: the layers of this ",
                     config.architecture_name,
                     config.sliding_window.has_value() ? " all slide" : " do not slide"));
  }
  *slides = std::move(listed);
  return absl::OkStatus();
}

absl::Status ReadSlidingLayers(const ConfigFields& fields, ModelConfig* config) {
  BB_RETURN_IF_ERROR(ReadWindow(fields, config));
  std::vector<bool> slides;
  BB_RETURN_IF_ERROR(SlidingByRule(fields, *config, &slides));
  BB_RETURN_IF_ERROR(ReadLayerTypes(fields, *config, &slides));
  bool any = false;
  for (const bool slide : slides) any = any || slide;
  if (!any) {
    config->sliding_window.reset();
    return absl::OkStatus();
  }
  if (!config->sliding_window.has_value()) {
    return fields.Invalid("sliding_window", "is not in use, but there are sliding layers");
  }
  config->sliding_layers = std::move(slides);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadAttention(const ConfigFields& fields, ModelConfig* config) {
  BB_RETURN_IF_ERROR(ReadScale(fields, config));
  BB_RETURN_IF_ERROR(ReadSoftCaps(fields, config));
  return ReadSlidingLayers(fields, config);
}

}  // namespace bitbudget
