#ifndef BITBUDGET_TESTS_MODEL_ARCHITECTURE_CONFIG_TEST_UTIL_H_
#define BITBUDGET_TESTS_MODEL_ARCHITECTURE_CONFIG_TEST_UTIL_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runtime/model/architecture/config.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

using nlohmann::json;
using Ids = std::vector<int32_t>;

inline constexpr char kPath[] = "folder/config.json";

inline json Llama() { return json::parse(MakeTinyCheckpoint({}).config); }

inline json Tiny(Architecture architecture, int64_t layers = 2) {
  TinyModelOptions options;
  options.architecture = architecture;
  options.layers = layers;
  return json::parse(MakeTinyCheckpoint(options).config);
}

inline absl::StatusOr<ModelConfig> Parse(const json& config) {
  return ParseConfig(config.dump(), kPath);
}

inline void ExpectRefusedText(const std::string& text,
                              absl::StatusCode code,
                              std::vector<std::string> parts) {
  parts.push_back(absl::StrCat(kPath, ": "));
  ExpectError(ParseConfig(text, kPath).status(), code, parts);
}

struct Refusal {
  std::string field;  // as the message names it
  json value;         // set at top level, or inside when the field has a dot
  std::string shown;  // the value as the message shows it
};

inline json With(json config, const std::string& field, const json& value) {
  const size_t dot = field.find('.');
  if (dot == std::string::npos) {
    config[field] = value;
  } else {
    config[field.substr(0, dot)][field.substr(dot + 1)] = value;
  }
  return config;
}

inline void ExpectRefused(const json& config, absl::StatusCode code, const Refusal& refusal) {
  SCOPED_TRACE(refusal.field + " = " + refusal.value.dump().substr(0, 100));
  ExpectRefusedText(With(config, refusal.field, refusal.value).dump(),
                    code,
                    {absl::StrCat(": ", refusal.field, ": ", refusal.shown, " ")});
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_MODEL_ARCHITECTURE_CONFIG_TEST_UTIL_H_
