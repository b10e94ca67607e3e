// What config.json says about the rotary embedding.

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/config_fields.h"
#include "runtime/model/architecture/families.h"

namespace bitbudget {
namespace {

using nlohmann::json;

// Wide of every model, and finite in every formula of the rotary embedding.
constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;
constexpr double kMinFrequencyFactor = 1e-6;

constexpr char kGlobalLayers[] = "full_attention";
constexpr char kSlidingLayers[] = "sliding_attention";

// A number that two places may hold, which must not contradict each other.
absl::Status CheckAgreement(const ConfigFields& inner, const ConfigFields& outer, const char* key) {
  const json* a = inner.Find(key);
  const json* b = outer.Find(key);
  if (a == nullptr || b == nullptr || *a == *b) return absl::OkStatus();
  return inner.Invalid(key, absl::StrCat("contradicts ", key, " ", ValueText(*b)));
}

absl::Status RefuseUnknown(const ConfigFields& fields, bool long_rope) {
  for (const auto& [name, value] : fields.object().items()) {
    bool known = value.is_null();
    for (const char* key : {"rope_type",
                            "type",
                            "rope_theta",
                            "partial_rotary_factor",
                            "factor",
                            "low_freq_factor",
                            "high_freq_factor",
                            "original_max_position_embeddings"}) {
      known = known || name == key;
    }
    for (const char* key : {"short_factor", "long_factor", "attention_factor"}) {
      known = known || (long_rope && name == key);
    }
    if (!known) return fields.Unknown(name, "is not supported");
  }
  return absl::OkStatus();
}

absl::Status Require(const ConfigFields& fields, const char* key, double low, double* out) {
  return fields.Find(key) == nullptr ? fields.Missing(key)
                                     : fields.ReadNumber(key, low, kMaxFactor, out);
}

absl::Status ReadLlama3(const ConfigFields& fields, RopeScaling* scaling) {
  scaling->type = RopeType::kLlama3;
  BB_RETURN_IF_ERROR(Require(fields, "factor", 1, &scaling->factor));
  BB_RETURN_IF_ERROR(
      Require(fields, "low_freq_factor", kMinFrequencyFactor, &scaling->low_freq_factor));
  BB_RETURN_IF_ERROR(
      Require(fields, "high_freq_factor", kMinFrequencyFactor, &scaling->high_freq_factor));
  constexpr char kOriginal[] = "original_max_position_embeddings";
  if (fields.Find(kOriginal) == nullptr) return fields.Missing(kOriginal);
  BB_RETURN_IF_ERROR(
      fields.ReadInteger(kOriginal, 1, kMaxPositions, &scaling->original_max_position));
  if (scaling->high_freq_factor <= scaling->low_freq_factor) {
    return fields.Invalid("high_freq_factor",
                          absl::StrCat("is not above low_freq_factor ", scaling->low_freq_factor));
  }
  return absl::OkStatus();
}

absl::Status ReadFactors(const ConfigFields& fields,
                         const char* key,
                         int64_t count,
                         std::vector<double>* out) {
  const json* list = fields.Find(key);
  if (list == nullptr) return fields.Missing(key);
  if (!list->is_array() || static_cast<int64_t>(list->size()) != count) {
    return fields.Invalid(key, absl::StrCat("is not a list of ", count, " numbers"));
  }
  for (const json& item : *list) {
    const double factor = item.is_number() ? item.get<double>() : 0;
    if (!(factor >= kMinFrequencyFactor && factor <= kMaxFactor)) {
      return fields.Invalid(key, absl::StrCat("holds ", ValueText(item), ", which is no factor"));
    }
    out->push_back(factor);
  }
  return absl::OkStatus();
}

// LongRoPE (Ding et al. 2024, arXiv 2402.13753) as Phi-3 uses it.
absl::Status ReadLongRope(const ConfigFields& fields,
                          const ConfigFields& root,
                          const ModelConfig& config,
                          RopeScaling* scaling) {
  constexpr char kOriginal[] = "original_max_position_embeddings";
  scaling->type = RopeType::kLongRope;
  BB_RETURN_IF_ERROR(CheckAgreement(fields, root, kOriginal));
  if (const int64_t absent = FamilyOf(config.architecture).long_rope_positions; absent != 0) {
    scaling->original_max_position = absent;
  } else if (root.Find(kOriginal) == nullptr && fields.Find(kOriginal) == nullptr) {
    return fields.Missing(kOriginal);
  }
  for (const ConfigFields* place : {&root, &fields}) {
    BB_RETURN_IF_ERROR(
        place->ReadInteger(kOriginal, 2, kMaxPositions, &scaling->original_max_position));
  }
  const int64_t pairs = config.rotary_dim / 2;
  BB_RETURN_IF_ERROR(ReadFactors(fields, "short_factor", pairs, &scaling->factors));
  BB_RETURN_IF_ERROR(ReadFactors(fields, "long_factor", pairs, &scaling->long_factors));

  const double original = static_cast<double>(scaling->original_max_position);
  const double ratio = static_cast<double>(config.max_position_embeddings) / original;
  double factor = ratio;
  BB_RETURN_IF_ERROR(fields.ReadNumber("factor", kMinFrequencyFactor, kMaxFactor, &factor));
  if (factor != ratio) {
    return fields.Invalid("factor",
                          absl::StrCat("contradicts max_position_embeddings ",
                                       config.max_position_embeddings,
                                       " / original_max_position_embeddings ",
                                       scaling->original_max_position));
  }
  scaling->attention_factor =
      factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
  return fields.ReadNumber(
      "attention_factor", kMinFrequencyFactor, kMaxFactor, &scaling->attention_factor);
}

// One object of rotary parameters.
absl::Status ReadScaling(const ConfigFields& fields,
                         const ConfigFields& root,
                         const ModelConfig& config,
                         double* theta,
                         RopeScaling* scaling) {
  const json* type = fields.Find("rope_type");
  const json* old_type = fields.Find("type");
  if (type != nullptr && old_type != nullptr && *type != *old_type) {
    return fields.Invalid("type", absl::StrCat("contradicts rope_type ", ValueText(*type)));
  }
  const char* type_key = type != nullptr ? "rope_type" : "type";
  if (type == nullptr) type = old_type;
  // "su" is what the first Phi-3 checkpoints call it.
  const bool long_rope = type != nullptr && (*type == "longrope" || *type == "su");
  BB_RETURN_IF_ERROR(RefuseUnknown(fields, long_rope));

  *scaling = RopeScaling();
  if (type == nullptr) {
    // There may be a theta alone; a factor without a type is not guessed at.
    if (fields.Find("factor") != nullptr) return fields.Missing("rope_type");
  } else if (*type == "linear") {
    scaling->type = RopeType::kLinear;
    BB_RETURN_IF_ERROR(Require(fields, "factor", 1, &scaling->factor));
  } else if (*type == "llama3") {
    BB_RETURN_IF_ERROR(ReadLlama3(fields, scaling));
  } else if (long_rope) {
    BB_RETURN_IF_ERROR(ReadLongRope(fields, root, config, scaling));
  } else if (*type != "default") {
    return fields.Unsupported(type_key,
                              "is not supported (default, linear, llama3 and longrope are)");
  }
  return fields.ReadNumber("rope_theta", 1, kMaxTheta, theta);
}

absl::Status ReadRotaryDim(const ConfigFields& root, ModelConfig* config) {
  constexpr char kKey[] = "partial_rotary_factor";
  double factor = 1;
  const auto read = [&](const ConfigFields& fields) -> absl::Status {
    BB_RETURN_IF_ERROR(CheckAgreement(fields, root, kKey));
    BB_RETURN_IF_ERROR(fields.ReadNumber(kKey, 0, 1, &factor));
    if (factor != 1 && !FamilyOf(config->architecture).partial_rotary) {
      return fields.Unsupported(kKey, "is not supported (1 is)");
    }
    config->rotary_dim = static_cast<int64_t>(static_cast<double>(config->head_dim) * factor);
    if (config->rotary_dim < 2 || config->rotary_dim % 2 != 0) {
      return fields.Invalid(
          kKey,
          absl::StrCat("of head_dim ",
                       config->head_dim,
                       " is ",
                       config->rotary_dim,
                       ": the rotary embedding needs an even number of dimensions"));
    }
    return absl::OkStatus();
  };
  BB_RETURN_IF_ERROR(read(root));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* object = root.Find(key);
    if (object == nullptr || !object->is_object()) continue;  // complained about below
    BB_RETURN_IF_ERROR(read(root.Inside(key)));
  }
  return absl::OkStatus();
}

// Gemma 3 in newer configs: an object for each kind of layers.
absl::Status ReadPerLayerType(const ConfigFields& fields,
                              const ConfigFields& root,
                              ModelConfig* config) {
  for (const auto& [name, value] : fields.object().items()) {
    if (name != kGlobalLayers && name != kSlidingLayers) {
      return fields.Unknown(name, "is not supported beside those of layer types");
    }
    if (!value.is_object()) return fields.Invalid(name.c_str(), "is not an object");
  }
  if (fields.Has(kGlobalLayers)) {
    BB_RETURN_IF_ERROR(ReadScaling(
        fields.Inside(kGlobalLayers), root, *config, &config->rope_theta, &config->rope_scaling));
  }
  if (!fields.Has(kSlidingLayers)) return absl::OkStatus();
  const ConfigFields sliding = fields.Inside(kSlidingLayers);
  RopeScaling scaling;
  double theta = *config->sliding_rope_theta;
  BB_RETURN_IF_ERROR(ReadScaling(sliding, root, *config, &theta, &scaling));
  if (scaling.type != RopeType::kDefault) {
    return sliding.Unsupported("rope_type", "is not supported in sliding layers (default is)");
  }
  if (root.Find("rope_local_base_freq") != nullptr && theta != *config->sliding_rope_theta) {
    return sliding.Invalid(
        "rope_theta",
        absl::StrCat("contradicts rope_local_base_freq ", *config->sliding_rope_theta));
  }
  config->sliding_rope_theta = theta;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadRope(const ConfigFields& root, ModelConfig* config) {
  BB_RETURN_IF_ERROR(ReadRotaryDim(root, config));
  BB_RETURN_IF_ERROR(root.ReadNumber("rope_theta", 1, kMaxTheta, &config->rope_theta));
  if (config->sliding_rope_theta.has_value()) {
    double theta = *config->sliding_rope_theta;
    BB_RETURN_IF_ERROR(root.ReadNumber("rope_local_base_freq", 1, kMaxTheta, &theta));
    config->sliding_rope_theta = theta;
  }
  const json* parameters = root.Find("rope_parameters");
  if (root.Find("rope_scaling") != nullptr && parameters != nullptr &&
      *root.Find("rope_scaling") != *parameters) {
    return root.Invalid("rope_scaling",
                        absl::StrCat("contradicts rope_parameters ", ValueText(*parameters)));
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* object = root.Find(key);
    if (object == nullptr) continue;
    if (!object->is_object()) return root.Invalid(key, "is not an object");
    const ConfigFields fields = root.Inside(key);
    if (config->sliding_rope_theta.has_value() &&
        (object->contains(kGlobalLayers) || object->contains(kSlidingLayers))) {
      BB_RETURN_IF_ERROR(ReadPerLayerType(fields, root, config));
      continue;
    }
    BB_RETURN_IF_ERROR(CheckAgreement(fields, root, "rope_theta"));
    BB_RETURN_IF_ERROR(
        ReadScaling(fields, root, *config, &config->rope_theta, &config->rope_scaling));
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
