#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_JSON_PART_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_JSON_PART_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

// A part of a JSON document and where it stands there ("<file>: <path>"), for messages.
class JsonPart {
 public:
  JsonPart(const nlohmann::json& value, std::string where)
      : value_(&value), where_(std::move(where)) {}

  const nlohmann::json& value() const { return *value_; }
  bool is_null() const { return value_->is_null(); }

  // A field of an object; null where there is none.
  JsonPart Get(const char* name) const {
    static const nlohmann::json* const null = new nlohmann::json();
    const std::string where = absl::StrCat(where_, where_.back() == ':' ? " " : ".", name);
    if (!value_->is_object()) return {*null, where};
    const auto found = value_->find(name);
    return {found == value_->end() ? *null : *found, where};
  }

  absl::StatusOr<bool> Bool(const char* name, bool absent) const {
    const JsonPart field = Get(name);
    if (field.is_null()) return absent;
    if (!field.value().is_boolean()) return field.Invalid("is not true or false");
    return field.value().get<bool>();
  }

  // Points into the document.
  absl::StatusOr<absl::string_view> Text(const char* name, absl::string_view absent) const {
    const JsonPart field = Get(name);
    if (field.is_null()) return absent;
    if (!field.value().is_string()) return field.Invalid("is not a string");
    return absl::string_view(field.value().get_ref<const std::string&>());
  }

  // The "type" of a component.
  absl::StatusOr<absl::string_view> Type() const {
    if (!value_->is_object()) return Invalid("is not an object with a type");
    return Text("type", "");
  }

  absl::StatusOr<std::vector<JsonPart>> Items(const char* name) const {
    const JsonPart field = Get(name);
    if (!field.value().is_array()) return field.Invalid("is not an array");
    std::vector<JsonPart> items;
    for (size_t i = 0; i < field.value().size(); ++i) {
      items.emplace_back(field.value()[i], absl::StrCat(field.where_, "[", i, "]"));
    }
    return items;
  }

  absl::Status Invalid(absl::string_view problem) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", ValueText(*value_), " ", problem));
  }
  absl::Status NotSupported(absl::string_view what) const {
    return absl::UnimplementedError(
        absl::StrCat(where_, ": ", ValueText(*value_), " is not supported", what));
  }

 private:
  const nlohmann::json* value_;
  std::string where_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_JSON_PART_H_
