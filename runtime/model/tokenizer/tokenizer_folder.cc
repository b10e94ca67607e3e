#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runtime/base/json.h"
#include "runtime/base/read_file.h"
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
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
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

// The token that is spelled so; -1: none.
int32_t FindToken(const TokenizerData& data, absl::string_view text) {
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.tokens[i].text == text) return static_cast<int32_t>(i);
  }
  return -1;
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

// A folder's tokenizer_config.json and special_tokens_map.json.
struct Facts {
  std::string folder;
  json config;
  json map;
};

// Sets `id` to the token that `name` spells out in one of the files, a string or an object with a
// "content"; the first file that has it decides.
absl::Status ReadNamedToken(
    const Facts& facts, const char* name, bool required, const TokenizerData& data, int32_t* id) {
  for (const auto& [object, file] : {std::pair(&facts.config, "tokenizer_config.json"),
                                     std::pair(&facts.map, "special_tokens_map.json")}) {
    auto found = object->find(name);
    if (found == object->end() || found->is_null()) continue;
    const json& value =
        found->is_object() && found->contains("content") ? (*found)["content"] : *found;
    if (value == "") continue;
    const int32_t named =
        value.is_string() ? FindToken(data, value.get_ref<const std::string&>()) : -1;
    if (named >= 0) *id = named;
    if (named >= 0 || !required) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(facts.folder, "/", file, ": ", name, ": ", ValueText(value), " is no token"));
  }
  return absl::OkStatus();
}

// A field of tokenizer_config.json; empty: absent or null.
absl::StatusOr<std::optional<bool>> ReadChoice(const Facts& facts, const char* name) {
  const auto found = facts.config.find(name);
  if (found == facts.config.end() || found->is_null()) return std::nullopt;
  if (found->is_boolean()) return found->get<bool>();
  return absl::InvalidArgumentError(absl::StrCat(facts.folder,
                                                 "/tokenizer_config.json: ",
                                                 name,
                                                 ": ",
                                                 ValueText(*found),
                                                 " is not true or false"));
}

// Classes of Hugging Face's library whose texts begin with a token unless a file says otherwise.
struct TokenizerClass {
  const char* name;  // or the beginning of it
  const char* bos;   // unless a file names another
};
constexpr TokenizerClass kBeginning[] = {{"LlamaTokenizer", "<s>"},
                                         {"CodeLlamaTokenizer", "<s>"},
                                         {"GemmaTokenizer", "<bos>"},
                                         {"CohereTokenizer", "<BOS_TOKEN>"}};

// Null: texts begin without a token.
const TokenizerClass* FindBeginningClass(const json& config, TokenizerKind kind) {
  const auto found = config.find("tokenizer_class");
  const std::string name =
      found != config.end() && found->is_string() ? found->get<std::string>() : "";
  for (const TokenizerClass& known : kBeginning) {
    if (absl::StartsWith(name, known.name)) return &known;
  }
  // Other classes of SentencePiece models do as Llama's, but for the bare library.
  const bool bare = absl::StartsWith(name, "PreTrainedTokenizer") || name == "TokenizersBackend";
  return kind == TokenizerKind::kByteLevelBpe || bare ? nullptr : &kBeginning[0];
}

// Decides which tokens go around a text, as Hugging Face's library does: add_bos_token and
// add_eos_token, else the post-processor (as read into `data`), else the class.
absl::Status ReadTokensAround(const Facts& facts, TokenizerData* data) {
  int32_t bos = -1;
  int32_t eos = -1;
  BB_RETURN_IF_ERROR(ReadNamedToken(facts, "bos_token", true, *data, &bos));
  BB_RETURN_IF_ERROR(ReadNamedToken(facts, "eos_token", true, *data, &eos));
  BB_ASSIGN_OR_RETURN(const std::optional<bool> add_bos, ReadChoice(facts, "add_bos_token"));
  BB_ASSIGN_OR_RETURN(const std::optional<bool> add_eos, ReadChoice(facts, "add_eos_token"));

  const bool processed = !add_bos.has_value() && data->add_bos.value_or(false);
  if (bos >= 0 && !processed) data->bos_id = bos;
  if (add_bos.has_value()) data->add_bos = add_bos;
  const TokenizerClass* const known = FindBeginningClass(facts.config, data->kind);
  if (!data->add_bos.has_value()) data->add_bos = known != nullptr;
  if (data->bos_id < 0 && known != nullptr) data->bos_id = FindToken(*data, known->bos);
  if (data->bos_id < 0) data->add_bos = false;

  if (eos >= 0 && eos != data->eos_id) {
    data->eos_id = eos;
    data->add_eos = false;  // the post-processor's was another token
  }
  if (add_eos.has_value()) data->add_eos = add_eos;
  if (!data->add_eos.has_value() || data->eos_id < 0) data->add_eos = false;
  return absl::OkStatus();
}

// What the post-processor of tokenizer.json says holds for the SentencePiece model beside it.
void TakeTokensAround(const TokenizerData& from, TokenizerData* to) {
  to->add_bos = from.add_bos;
  to->add_eos = from.add_eos;
  if (from.bos_id >= 0) to->bos_id = from.bos_id;
  if (from.eos_id >= 0) to->eos_id = from.eos_id;
}

absl::Status ReadFacts(const Facts& facts, TokenizerData* data) {
  BB_RETURN_IF_ERROR(ReadTokensAround(facts, data));
  // Programs add these to the vocabulary when they first need them.
  BB_RETURN_IF_ERROR(ReadNamedToken(facts, "unk_token", false, *data, &data->unknown_id));
  BB_RETURN_IF_ERROR(ReadNamedToken(facts, "pad_token", false, *data, &data->padding_id));

  const json& config = facts.config;
  const std::string template_path = facts.folder + "/chat_template.jinja";
  if (Exists(template_path)) {
    BB_ASSIGN_OR_RETURN(data->chat_template, ReadFile(template_path, kMaxTokenizerBytes));
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
    BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(json_path, kMaxTokenizerBytes));
    absl::StatusOr<TokenizerData> parsed = ParseTokenizerJson(text, json_path);
    if (parsed.ok()) {
      data = *std::move(parsed);
    } else if (!has_model || !absl::IsUnimplemented(parsed.status())) {
      return parsed.status();
    }
  }
  Facts facts;
  facts.folder = folder;
  BB_ASSIGN_OR_RETURN(facts.config, ReadObject(folder + "/tokenizer_config.json"));
  BB_ASSIGN_OR_RETURN(facts.map, ReadObject(folder + "/special_tokens_map.json"));
  // BPE over characters is what tokenizer.json makes of a SentencePiece model.
  if (has_model && (!data.has_value() || data->kind != TokenizerKind::kByteLevelBpe)) {
    BB_ASSIGN_OR_RETURN(std::string bytes, ReadFile(model_path, kMaxTokenizerBytes));
    BB_ASSIGN_OR_RETURN(TokenizerData pieces,
                        ParseSentencePieceModel(std::move(bytes), model_path));
    BB_RETURN_IF_ERROR(ReadAddedTokens(folder, data, facts.config, &pieces));
    if (data.has_value()) TakeTokensAround(*data, &pieces);
    data = std::move(pieces);
  }
  if (!data.has_value()) return std::nullopt;
  BB_RETURN_IF_ERROR(ReadFacts(facts, &*data));
  return data;
}

}  // namespace bitbudget
