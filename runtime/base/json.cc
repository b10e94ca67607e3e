#include "runtime/base/json.h"

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json_text.h"

namespace bitbudget {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxValues = 10'000'000;
constexpr size_t kMaxShown = 80;  // bytes of a value that a message shows

// Cut at a character boundary when it is long.
absl::string_view Cut(absl::string_view text) {
  if (text.size() <= kMaxShown) return text;
  size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

std::string Shown(absl::string_view text) {
  return absl::StrCat(Cut(text), text.size() > kMaxShown ? "..." : "");
}

// Builds the document from the parser's events. The parser's own builder has no limits, always
// takes the last of duplicate keys, and searches an ordered object from its start for every key.
template <typename Json>
class Builder : public nlohmann::json_sax<Json> {
 public:
  using typename nlohmann::json_sax<Json>::number_integer_t;
  using typename nlohmann::json_sax<Json>::number_unsigned_t;
  using typename nlohmann::json_sax<Json>::number_float_t;
  using typename nlohmann::json_sax<Json>::string_t;
  using typename nlohmann::json_sax<Json>::binary_t;

  explicit Builder(DuplicateKeys duplicates) : duplicates_(duplicates) {}

  Json& root() { return root_; }
  const std::string& error() const { return error_; }
  bool error_has_position() const { return error_position_ > 0; }
  size_t error_position() const { return error_position_; }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return Fail("binary data"); }

  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    auto& object = open_.back().value->template get_ref<typename Json::object_t&>();
    // An object that keeps its order is a vector of pairs.
    constexpr bool kOrdered = std::is_same_v<Json, nlohmann::ordered_json>;
    bool inserted = false;
    if constexpr (kOrdered) {
      const auto [index, is_new] = open_.back().index_of_key.emplace(name, object.size());
      if (is_new) object.emplace_back(name, nullptr);
      inserted = is_new;
      slot_ = &std::next(object.begin(), static_cast<ptrdiff_t>(index->second))->second;
    } else {
      const auto [slot, is_new] = object.emplace(name, nullptr);
      inserted = is_new;
      slot_ = &slot->second;
    }
    if (!inserted && duplicates_ == DuplicateKeys::kRefuse) {
      return Fail(absl::StrCat("duplicate key ", Quoted(name)));
    }
    return true;
  }

  bool parse_error(size_t position,
                   const std::string&,
                   const nlohmann::detail::exception& e) override {
    // what() is "[json.exception...] parse error at line 1, column 2: <reason>; last read: ...".
    // Or "[json.exception...] number overflow parsing '<number>'".
    absl::string_view reason = e.what();
    size_t prefix = reason.find(": ");
    if (prefix == absl::string_view::npos) prefix = reason.find("] ");
    if (prefix != absl::string_view::npos) reason.remove_prefix(prefix + 2);
    error_position_ = position;
    return Fail(Shown(reason.substr(0, reason.find("; last read"))));
  }

 private:
  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

  // A container being filled; it does not move meanwhile.
  struct OpenContainer {
    Json* value;
    absl::flat_hash_map<std::string, size_t> index_of_key;
  };

  Json* Add(Json value) {
    if (++values_ > kMaxValues) {
      Fail(absl::StrCat("more than ", kMaxValues, " values"));
      return nullptr;
    }
    Json* place = &root_;
    if (!open_.empty()) {
      Json& container = *open_.back().value;
      if (container.is_array()) {
        place = &container.template get_ref<typename Json::array_t&>().emplace_back();
      } else {
        place = slot_;
      }
    }
    *place = std::move(value);
    return place;
  }

  bool Open(Json container) {
    if (open_.size() == kMaxDepth) {
      return Fail(absl::StrCat("nested deeper than ", kMaxDepth, " levels"));
    }
    Json* place = Add(std::move(container));
    if (place == nullptr) return false;
    open_.push_back({place, {}});
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const DuplicateKeys duplicates_;
  Json root_;
  std::vector<OpenContainer> open_;
  Json* slot_ = nullptr;  // the value of the key just read
  size_t values_ = 0;
  std::string error_;
  size_t error_position_ = 0;
};

template <typename Json>
absl::StatusOr<Json> Parse(absl::string_view text,
                           const std::string& where,
                           DuplicateKeys duplicates) {
  // The parser takes a zero byte for the end of the input.
  if (const size_t zero = text.find('\0'); zero != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": bad JSON at byte ", zero, ": a zero byte"));
  }
  Builder<Json> builder(duplicates);
  if (!Json::sax_parse(text.data(), text.data() + text.size(), &builder)) {
    return absl::InvalidArgumentError(absl::StrCat(
        where,
        ": bad JSON",
        builder.error_has_position() ? absl::StrCat(" at byte ", builder.error_position()) : "",
        ": ",
        builder.error()));
  }
  return std::move(builder.root());
}

}  // namespace

absl::StatusOr<json> ParseJson(absl::string_view text, const std::string& where) {
  return Parse<json>(text, where, DuplicateKeys::kRefuse);
}

absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(absl::string_view text,
                                                        const std::string& where,
                                                        DuplicateKeys duplicates) {
  return Parse<nlohmann::ordered_json>(text, where, duplicates);
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat(
      "\"", absl::Utf8SafeCEscape(Cut(text)), text.size() > kMaxShown ? "...\"" : "\"");
}

std::string ValueText(const json& value) {
  if (value.is_string()) return Quoted(value.get_ref<const std::string&>());
  return Shown(DumpJson(value));  // escapes by itself
}

}  // namespace bitbudget
