#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CONFIG_FIELDS_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CONFIG_FIELDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "runtime/model/architecture/config.h"
#include "runtime/model/architecture/limits.h"

namespace bitbudget {

// The fields of one object of config.json, which outlives this. Read* leave `out` alone when the
// field is absent or null, so that it keeps its default. Messages start with "<file>: <field>:
// <value> ".
class ConfigFields {
 public:
  // `prefix` goes ahead of field names in messages, "rope_scaling." for example.
  ConfigFields(const nlohmann::json& object, const std::string& path, std::string prefix);

  bool Has(const char* key) const { return object_.contains(key); }
  // Null when the field is absent or null.
  const nlohmann::json* Find(const char* key) const;
  const nlohmann::json& object() const { return object_; }
  // The fields of an object inside. REQUIRES: Find(key) is an object.
  ConfigFields Inside(const char* key) const;

  std::string Where(const char* key) const;
  absl::Status Invalid(const char* key, absl::string_view what) const;
  absl::Status Unsupported(const char* key, absl::string_view what) const;
  absl::Status Missing(const char* key) const;
  // A field that has no place here; its name may be any text.
  absl::Status Unknown(const std::string& key, absl::string_view what) const;

  absl::Status ReadInteger(const char* key, int64_t low, int64_t high, int64_t* out) const;
  absl::Status ReadNumber(const char* key, double low, double high, double* out) const;
  absl::Status ReadBool(const char* key, bool* out) const;
  // A token id or a list of them: appends them.
  absl::Status ReadTokenIds(const char* key, int64_t vocab_size, std::vector<int32_t>* ids) const;

 private:
  const nlohmann::json& object_;
  const std::string& path_;
  const std::string prefix_;
};

// Reads the scale of scores, soft caps, and which layers slide through which window.
// REQUIRES: the sizes are read and sliding_window is the family's default.
absl::Status ReadAttention(const ConfigFields& fields, ModelConfig* config);

// Reads rope_theta, rope_scaling, rope_parameters, partial_rotary_factor and, for Gemma 3, the
// rotation of sliding layers, in the spellings of older and newer configs.
// REQUIRES: the sizes are read and the family's defaults are set.
absl::Status ReadRope(const ConfigFields& fields, ModelConfig* config);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CONFIG_FIELDS_H_
