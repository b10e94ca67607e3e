#include <algorithm>
#include <vector>

#include "absl/strings/str_replace.h"
#include "runtime/model/tokenizer/pre_tokenizer.h"

// The expressions stand in the tokenizer.json files of the models that the names come from.

namespace bitbudget {

const char kGpt2Expression[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// How models write the English contractions, and what GGUF's names mean by it: without the letters
// outside ASCII that fold to these (U+017F).
constexpr char kContractions[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
constexpr char kAsciiContractions[] = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";

#define BB_WORDS R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define BB_REST R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"

constexpr char kLlama3[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|" BB_WORDS R"(|\p{N}{1,3}|)" BB_REST;
constexpr char kQwen2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|" BB_WORDS R"(|\p{N}|)" BB_REST;
constexpr char kQwen35[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
                           R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kTekken[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kGpt4o[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kDeepSeekWords[] =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

#undef BB_WORDS
#undef BB_REST

const std::vector<KnownPreTokenizer>& Known() {
  static const auto* const known = new std::vector<KnownPreTokenizer>{
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion"},
       {{kGpt2Expression}},
       false,
       false},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0", "lfm2"},
       {{kLlama3}},
       true,
       true},
      {{"smaug-bpe", "dbrx", "chatglm-bpe", "glm4"}, {{kLlama3}}, false, false},
      {{"qwen2", "stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan"}, {{kQwen2}}, false, false},
      {{"qwen35"}, {{kQwen35}}, false, false},
      {{"tekken"}, {{kTekken}}, true, true},
      {{"gpt-4o", "llama4"}, {{kGpt4o}}, false, false},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
       {{R"(\p{N})"}, {kGpt2Expression}},
       false,
       false},
      {{"deepseek-v3", "hunyuan-dense"},
       {{R"(\p{N}{1,3})"}, {R"([一-龥぀-ゟ゠-ヿ]+)"}, {kDeepSeekWords}},
       false,
       false},
      {{"falcon"},
       {{R"([\p{P}\$\+<=>\^~\|`]+)"}, {kGpt2Expression}, {"[0-9][0-9][0-9]"}},
       false,
       false},
      {{"default"},
       {{R"([\p{P}\$\+<=>\^~\|]+)"}, {kGpt2Expression}, {R"(\p{N}+)"}, {"[0-9][0-9][0-9]"}},
       false,
       false},
  };
  return *known;
}

// Steps as GGUF's names mean them.
std::vector<SplitStep> InAscii(std::span<const SplitStep> steps) {
  std::vector<SplitStep> result(steps.begin(), steps.end());
  for (SplitStep& step : result) {
    absl::StrReplaceAll({{kContractions, kAsciiContractions}}, &step.expression);
  }
  return result;
}

}  // namespace

const KnownPreTokenizer* FindPreTokenizer(absl::string_view name) {
  static const auto* const in_ascii = [] {
    auto* known = new std::vector<KnownPreTokenizer>(Known());
    for (KnownPreTokenizer& one : *known) one.steps = InAscii(one.steps);
    return known;
  }();
  for (const KnownPreTokenizer& known : *in_ascii) {
    for (const char* const other : known.names) {
      if (name == other) return &known;
    }
  }
  return nullptr;
}

std::string NameOfPreTokenizer(std::span<const SplitStep> steps, bool ignore_merges) {
  const std::vector<SplitStep> meant = InAscii(steps);
  for (const KnownPreTokenizer& known : Known()) {
    if (InAscii(known.steps) == meant && known.ignore_merges == ignore_merges) {
      return known.names.front();
    }
  }
  return "";
}

}  // namespace bitbudget
