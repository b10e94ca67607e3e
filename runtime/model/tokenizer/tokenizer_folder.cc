#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runtime/base/json.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/tokenizer/sentencepiece_model.h"
#include "runtime/model/tokenizer/tokenizer_data.h"
#include "runtime/model/tokenizer/tokenizer_json.h"

namespace bitbudget {
namespace {

using nlohmann::json;

// Added tokens lie close behind the others.
constexpr int64_t kMaxAddedTokens = 1 << 16;

// A dangling link counts as a file: it is reported, not skipped.
bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(std::filesystem::symlink_status(path, error));
}

// The document, an object; an empty one when there is no such file.
absl::StatusOr<json> ReadObject(const std::string& path) {
  if (!Exists(path)) return json::object();
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  BB_ASSIGN_OR_RETURN(json document, ParseJson(text, path));
  if (!document.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not an object"));
  }
  return document;
}

bool Flag(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// Adds a token that stands beside the SentencePiece model.
absl::Status AddToken(const std::string& where,
                      int64_t id,
                      VocabularyToken token,
                      TokenizerData* data) {
  token.added = true;
  const auto count = static_cast<int64_t>(data->tokens.size());
  if (id < 0 || id >= count + kMaxAddedTokens || token.text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(where,
                                                   ": ",
                                                   id,
                                                   " is not an id of an added token ",
                                                   Quoted(token.text),
                                                   " beside ",
                                                   count,
                                                   " pieces"));
  }
  if (id >= count) {
    data->tokens.resize(id + 1, {.text = "", .type = TokenType::kUnused, .added = true});
  } else if (data->tokens[id].text == token.text && data->tokens[id].type != TokenType::kNormal &&
             !data->tokens[id].added) {
    return absl::OkStatus();  // the model finds it itself
  }
  data->tokens[id] = std::move(token);
  return absl::OkStatus();
}

// The added tokens of a SentencePiece model, from the first file that lists any.
absl::Status ReadAddedTokens(const std::string& folder,
                             const std::optional<TokenizerData>& fast,
                             const json& config,
                             TokenizerData* data) {
  if (fast.has_value()) {
    for (size_t id = 0; id < fast->tokens.size(); ++id) {
      const VocabularyToken& token = fast->tokens[id];
      if (token.type == TokenType::kControl || token.type == TokenType::kUserDefined) {
        BB_RETURN_IF_ERROR(AddToken(fast->source, static_cast<int64_t>(id), token, data));
      }
    }
    return absl::OkStatus();
  }
  const std::string config_path = folder + "/tokenizer_config.json";
  if (const auto list = config.find("added_tokens_decoder");
      list != config.end() && list->is_object()) {
    for (const auto& [key, value] : list->items()) {
      const std::string where = absl::StrCat(config_path, ": added_tokens_decoder.", Quoted(key));
      int64_t id = 0;
      const auto content = value.is_object() ? value.find("content") : value.end();
      if (!absl::SimpleAtoi(key, &id) || content == value.end() || !content->is_string()) {
        return absl::InvalidArgumentError(
            absl::StrCat(where, ": ", ValueText(value), " is not the token of an id"));
      }
      VocabularyToken token;
      token.text = content->get<std::string>();
      token.type = Flag(value, "special") ? TokenType::kControl : TokenType::kUserDefined;
      token.left_strip = Flag(value, "lstrip");
      token.right_strip = Flag(value, "rstrip");
      BB_RETURN_IF_ERROR(AddToken(where, id, std::move(token), data));
    }
    return absl::OkStatus();
  }
  const std::string path = folder + "/added_tokens.json";
  BB_ASSIGN_OR_RETURN(const json list, ReadObject(path));
  for (const auto& [text, id] : list.items()) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", Quoted(text), ": ", ValueText(id), " is not an id"));
    }
    BB_RETURN_IF_ERROR(
        AddToken(path, id.get<int64_t>(), {.text = text, .type = TokenType::kUserDefined}, data));
  }
  return absl::OkStatus();
}

// Sets `id` to the token that `name` spells out in one of the objects, a string or an object with a
// "content"; the first object that has it decides.
absl::Status ReadNamedToken(const std::string& folder,
                            const char* name,
                            const json& config,
                            const json& map,
                            bool required,
                            TokenizerData* data,
                            int32_t* id) {
  for (const auto& [object, file] :
       {std::pair(&config, "tokenizer_config.json"), std::pair(&map, "special_tokens_map.json")}) {
    auto found = object->find(name);
    if (found == object->end() || found->is_null()) continue;
    const json& value =
        found->is_object() && found->contains("content") ? (*found)["content"] : *found;
    if (value.is_string()) {
      for (size_t i = 0; i < data->tokens.size(); ++i) {
        if (data->tokens[i].text != value.get_ref<const std::string&>()) continue;
        *id = static_cast<int32_t>(i);
        return absl::OkStatus();
      }
    }
    if (!required) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/", file, ": ", name, ": ", ValueText(value), " is no token"));
  }
  return absl::OkStatus();
}

absl::Status ReadFacts(const std::string& folder, const json& config, TokenizerData* data) {
  BB_ASSIGN_OR_RETURN(const json map, ReadObject(folder + "/special_tokens_map.json"));
  const auto read = [&](const char* name, bool required, int32_t* id) {
    return ReadNamedToken(folder, name, config, map, required, data, id);
  };
  BB_RETURN_IF_ERROR(read("bos_token", true, &data->bos_id));
  BB_RETURN_IF_ERROR(read("eos_token", true, &data->eos_id));
  // Programs add these to the vocabulary when they first need them.
  BB_RETURN_IF_ERROR(read("unk_token", false, &data->unknown_id));
  BB_RETURN_IF_ERROR(read("pad_token", false, &data->padding_id));
  if (config.contains("add_bos_token") && config["add_bos_token"].is_boolean()) {
    data->add_bos = config["add_bos_token"].get<bool>();
  }
  if (config.contains("add_eos_token") && config["add_eos_token"].is_boolean()) {
    data->add_eos = config["add_eos_token"].get<bool>();
  }

  const std::string template_path = folder + "/chat_template.jinja";
  if (Exists(template_path)) {
    BB_ASSIGN_OR_RETURN(data->chat_template, ReadFile(template_path));
    return absl::OkStatus();
  }
  const auto chat_template = config.find("chat_template");
  if (chat_template == config.end()) return absl::OkStatus();
  if (chat_template->is_string()) {
    data->chat_template = chat_template->get<std::string>();
  } else if (chat_template->is_array()) {  // several by name
    for (const json& item : *chat_template) {
      if (item.is_object() && item.value("name", json()) == "default" &&
          item.contains("template") && item["template"].is_string()) {
        data->chat_template = item["template"].get<std::string>();
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<TokenizerData>> ReadTokenizerData(const std::string& folder) {
  const std::string json_path = folder + "/tokenizer.json";
  const std::string model_path = folder + "/tokenizer.model";
  const bool has_model = Exists(model_path);
  std::optional<TokenizerData> data;
  if (Exists(json_path)) {
    BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(json_path));
    absl::StatusOr<TokenizerData> parsed = ParseTokenizerJson(text, json_path);
    if (parsed.ok()) {
      data = *std::move(parsed);
    } else if (!has_model || !absl::IsUnimplemented(parsed.status())) {
      return parsed.status();
    }
  }
  BB_ASSIGN_OR_RETURN(const json config, ReadObject(folder + "/tokenizer_config.json"));
  // BPE over characters is what tokenizer.json makes of a SentencePiece model.
  if (has_model && (!data.has_value() || data->kind != TokenizerKind::kByteLevelBpe)) {
    BB_ASSIGN_OR_RETURN(std::string bytes, ReadFile(model_path));
    BB_ASSIGN_OR_RETURN(TokenizerData pieces,
                        ParseSentencePieceModel(std::move(bytes), model_path));
    BB_RETURN_IF_ERROR(ReadAddedTokens(folder, data, config, &pieces));
    data = std::move(pieces);
  }
  if (!data.has_value()) return std::nullopt;
  BB_RETURN_IF_ERROR(ReadFacts(folder, config, &*data));
  return data;
}

}  // namespace bitbudget
