#include "runtime/model/tokenizer/post_processor.h"

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using nlohmann::json;
using TokenIds = absl::flat_hash_map<std::string, int32_t>;

absl::Status CheckId(const JsonPart& part, const json& id, const TokenizerData& data) {
  if (id.is_number_integer() && id >= 0 && id < data.tokens.size()) return absl::OkStatus();
  return part.Invalid(absl::StrCat("is none of ", data.tokens.size(), " tokens"));
}

// One more token ahead of a text, or behind it. A second one may only repeat the first: no text
// begins with it twice.
absl::Status Put(const JsonPart& part, int32_t id, std::optional<bool>* add, int32_t* place) {
  if (add->value_or(false) && *place != id) {
    return part.NotSupported(" beside another token on the same side of a text");
  }
  *add = true;
  *place = id;
  return absl::OkStatus();
}

// What a template's "SpecialToken" stands for: the ids that the template gives it, else the token
// that is spelled so.
absl::StatusOr<int32_t> SpecialToken(const JsonPart& item,
                                     const JsonPart& table,
                                     const TokenIds& ids,
                                     const TokenizerData& data) {
  const JsonPart name = item.Get("id");
  if (!name.value().is_string()) return name.Invalid("is not a string");
  const auto& text = name.value().get_ref<const std::string&>();
  const JsonPart own = table.Get(text.c_str()).Get("ids");
  if (own.is_null()) {
    const auto found = ids.find(text);
    if (found == ids.end()) return name.Invalid("is no token");
    return found->second;
  }
  if (!own.value().is_array() || own.value().size() != 1) {
    return name.NotSupported(absl::StrCat(" as ", ValueText(own.value()), " (one id is)"));
  }
  BB_RETURN_IF_ERROR(CheckId(name, own.value().front(), data));
  return own.value().front().get<int32_t>();
}

absl::Status ReadTemplate(const JsonPart& part, const TokenIds& ids, TokenizerData* data) {
  BB_ASSIGN_OR_RETURN(const std::vector<JsonPart> items, part.Items("single"));
  if (!data->add_bos.has_value()) data->add_bos = false;
  if (!data->add_eos.has_value()) data->add_eos = false;
  bool ahead = true;
  for (const JsonPart& item : items) {
    const JsonPart special = item.Get("SpecialToken");
    if (special.is_null()) {
      ahead = false;  // the text
      continue;
    }
    BB_ASSIGN_OR_RETURN(const int32_t id,
                        SpecialToken(special, part.Get("special_tokens"), ids, *data));
    BB_RETURN_IF_ERROR(Put(special,
                           id,
                           ahead ? &data->add_bos : &data->add_eos,
                           ahead ? &data->bos_id : &data->eos_id));
  }
  return absl::OkStatus();
}

// RobertaProcessing and BertProcessing: `cls` ahead of the text and `sep` behind it, each a token
// and its id.
absl::Status ReadPair(const JsonPart& part, TokenizerData* data) {
  for (const bool ahead : {true, false}) {
    const JsonPart token = part.Get(ahead ? "cls" : "sep");
    if (!token.value().is_array() || token.value().size() != 2) {
      return token.Invalid("is not a token and its id");
    }
    BB_RETURN_IF_ERROR(CheckId(token, token.value().back(), *data));
    BB_RETURN_IF_ERROR(Put(token,
                           token.value().back().get<int32_t>(),
                           ahead ? &data->add_bos : &data->add_eos,
                           ahead ? &data->bos_id : &data->eos_id));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadPostProcessor(const JsonPart& part, const TokenIds& ids, TokenizerData* data) {
  if (part.is_null()) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(const absl::string_view type, part.Type());
  if (type == "Sequence") {
    BB_ASSIGN_OR_RETURN(const std::vector<JsonPart> items, part.Items("processors"));
    for (const JsonPart& item : items) BB_RETURN_IF_ERROR(ReadPostProcessor(item, ids, data));
    return absl::OkStatus();
  }
  if (type == "TemplateProcessing") return ReadTemplate(part, ids, data);
  if (type == "RobertaProcessing" || type == "BertProcessing") return ReadPair(part, data);
  return absl::OkStatus();  // ByteLevel: offsets alone
}

}  // namespace bitbudget
