#include "runtime/model/architecture/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/model/architecture/config_test_util.h"

namespace bitbudget {
namespace {

TEST(ParseConfig, ReadsEveryFieldOfALlama) {
  TinyModelOptions options;
  options.head_dim = 16;
  options.tied = true;
  options.attention_bias = true;
  options.mlp_bias = true;
  options.rope_theta = 500000;
  const auto config = Parse(json::parse(MakeTinyCheckpoint(options).config));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, Architecture::kLlama);
  EXPECT_EQ(config->architecture_name, "LlamaForCausalLM");
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->intermediate_size, 48);
  EXPECT_EQ(config->num_hidden_layers, 2);
  EXPECT_EQ(config->num_attention_heads, 4);
  EXPECT_EQ(config->num_key_value_heads, 2);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->q_size(), 64);
  EXPECT_EQ(config->kv_size(), 32);
  EXPECT_EQ(config->vocab_size, 64);
  EXPECT_EQ(config->max_position_embeddings, 128);
  EXPECT_EQ(config->rms_norm_eps, 1e-5);
  EXPECT_EQ(config->rope_theta, 500000);
  EXPECT_EQ(config->rope_scaling.type, RopeType::kDefault);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_TRUE(config->o_bias);
  EXPECT_TRUE(config->mlp_bias);
  EXPECT_FALSE(config->sliding_window.has_value());
  EXPECT_EQ(config->bos_token_id, 1);
  EXPECT_EQ(config->eos_token_ids, Ids({2}));
}

TEST(ParseConfig, AbsentFieldsHaveLlamaConfigsDefaults) {
  const auto config = Parse(
      {{"architectures", {"LlamaForCausalLM"}}, {"hidden_size", 4096}, {"vocab_size", 32000}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->intermediate_size, 11008);
  EXPECT_EQ(config->num_hidden_layers, 32);
  EXPECT_EQ(config->num_attention_heads, 32);
  EXPECT_EQ(config->num_key_value_heads, 32);
  EXPECT_EQ(config->head_dim, 128);
  EXPECT_EQ(config->max_position_embeddings, 2048);
  EXPECT_EQ(config->rms_norm_eps, 1e-6);
  EXPECT_EQ(config->rope_theta, 10000.0);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_FALSE(config->o_bias);
  EXPECT_FALSE(config->mlp_bias);
  EXPECT_FALSE(config->sliding_window.has_value());
  EXPECT_EQ(config->bos_token_id, 1);
  EXPECT_EQ(config->eos_token_ids, Ids({2}));
}

TEST(ParseConfig, AbsentFieldsHaveMistralConfigsDefaults) {
  const json fields = {
      {"architectures", {"MistralForCausalLM"}}, {"hidden_size", 4096}, {"vocab_size", 32000}};
  const auto config = Parse(fields);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, Architecture::kMistral);
  EXPECT_EQ(config->intermediate_size, 14336);
  EXPECT_EQ(config->num_key_value_heads, 8);
  EXPECT_EQ(config->max_position_embeddings, 131072);
  EXPECT_EQ(config->sliding_window, 4096);

  // Null is not the same as absent for these two.
  json nulls = fields;
  nulls["num_key_value_heads"] = nullptr;
  nulls["sliding_window"] = nullptr;
  const auto with_nulls = Parse(nulls);
  ASSERT_TRUE(with_nulls.ok()) << with_nulls.status();
  EXPECT_EQ(with_nulls->num_key_value_heads, 32);
  EXPECT_FALSE(with_nulls->sliding_window.has_value());
}

TEST(ParseConfig, ModelTypeStandsInForAbsentArchitectures) {
  json config = Llama();
  config.erase("architectures");
  ASSERT_TRUE(Parse(config).ok()) << Parse(config).status();
  EXPECT_EQ(Parse(config)->architecture_name, "LlamaForCausalLM");
  config.erase("model_type");
  ExpectRefusedText(
      config.dump(), absl::StatusCode::kInvalidArgument, {"architectures: is missing"});
}

TEST(ParseConfig, ReadsEosAsNumberListOrNull) {
  EXPECT_EQ(Parse(With(Llama(), "eos_token_id", 5))->eos_token_ids, Ids({5}));
  EXPECT_EQ(Parse(With(Llama(), "eos_token_id", {5, 63}))->eos_token_ids, Ids({5, 63}));
  EXPECT_EQ(Parse(With(Llama(), "eos_token_id", nullptr))->eos_token_ids, Ids());
  EXPECT_EQ(Parse(With(Llama(), "eos_token_id", json::array()))->eos_token_ids, Ids());
}

TEST(ParseConfig, ReadsBosAsNumberListOfOneOrNull) {
  EXPECT_EQ(Parse(With(Llama(), "bos_token_id", 0))->bos_token_id, 0);
  EXPECT_EQ(Parse(With(Llama(), "bos_token_id", json::array({7})))->bos_token_id, 7);
  EXPECT_EQ(Parse(With(Llama(), "bos_token_id", nullptr))->bos_token_id, std::nullopt);
}

TEST(ParseConfig, ReadsRopeScalingOfEveryType) {
  const json none = json::object();
  EXPECT_EQ(Parse(With(Llama(), "rope_scaling", none))->rope_scaling.type, RopeType::kDefault);
  EXPECT_EQ(Parse(With(Llama(), "rope_scaling", {{"rope_type", "default"}}))->rope_scaling.type,
            RopeType::kDefault);
  for (const char* key : {"type", "rope_type"}) {
    const auto config = Parse(With(Llama(), "rope_scaling", {{key, "linear"}, {"factor", 4}}));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope_scaling.type, RopeType::kLinear);
    EXPECT_EQ(config->rope_scaling.factor, 4.0);
  }
  const auto llama3 = Parse(With(Llama(),
                                 "rope_scaling",
                                 {{"rope_type", "llama3"},
                                  {"factor", 32.0},
                                  {"low_freq_factor", 1.5},
                                  {"high_freq_factor", 4.5},
                                  {"original_max_position_embeddings", 8000}}));
  ASSERT_TRUE(llama3.ok()) << llama3.status();
  EXPECT_EQ(llama3->rope_scaling.type, RopeType::kLlama3);
  EXPECT_EQ(llama3->rope_scaling.factor, 32.0);
  EXPECT_EQ(llama3->rope_scaling.low_freq_factor, 1.5);
  EXPECT_EQ(llama3->rope_scaling.high_freq_factor, 4.5);
  EXPECT_EQ(llama3->rope_scaling.original_max_position, 8000);
}

TEST(ParseConfig, ReadsRopeParametersOfNewerConfigs) {
  json config = Llama();
  config.erase("rope_theta");
  config.erase("rope_scaling");
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e6}};
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->rope_theta, 1e6);
  EXPECT_EQ(parsed->rope_scaling.type, RopeType::kLinear);
  EXPECT_EQ(parsed->rope_scaling.factor, 2.0);

  config["rope_theta"] = 1e5;
  ExpectRefusedText(config.dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"rope_parameters.rope_theta: 1000000.0 contradicts", "100000.0"});
  config.erase("rope_theta");
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 3.0}};
  ExpectRefusedText(config.dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"rope_scaling: {", "contradicts rope_parameters {"});
}

TEST(ParseConfig, RefusesWhatItCannotRun) {
  const std::vector<Refusal> refusals = {
      {"architectures", {"GemmaForCausalLM"}, R"(["GemmaForCausalLM"])"},
      {"architectures",
       {"Gemma3ForConditionalGeneration"},
       R"(["Gemma3ForConditionalGeneration"])"},
      {"model_type", "qwen2", R"("qwen2")"},
      {"sliding_window", 64, "64"},
      {"layer_types",
       {"full_attention", "linear_attention"},
       R"(["full_attention","linear_attention"])"},
      {"hidden_act", "gelu", R"("gelu")"},
      {"quantization_config", {{"bits", 4}}, R"({"bits":4})"},
      {"quantization", {{"bits", 4}}, R"({"bits":4})"},
      {"num_local_experts", 8, "8"},
      {"n_routed_experts", 64, "64"},
      {"num_experts_per_tok", 2, "2"},
      {"partial_rotary_factor", 0.5, "0.5"},
      {"layer_types",
       {"full_attention", "sliding_attention"},
       R"(["full_attention","sliding_attention"])"},
      {"auto_map",
       {{"AutoModelForCausalLM", "modeling_x.X"}},
       R"({"AutoModelForCausalLM":"modeling_x.X"})"},
      {"rope_scaling.type", "yarn", R"("yarn")"},
      {"rope_scaling.rope_type", "dynamic", R"("dynamic")"},
      {"rope_scaling.rope_type", 3, "3"},
      {"rope_scaling.attention_factor", 1.5, "1.5"},
  };
  for (const Refusal& refusal : refusals) {
    ExpectRefused(Llama(), absl::StatusCode::kUnimplemented, refusal);
  }
}

TEST(ParseConfig, AcceptsWhatOnlyLooksUnsupported) {
  EXPECT_TRUE(Parse(With(Llama(), "num_local_experts", 0)).ok());
  EXPECT_TRUE(Parse(With(Llama(), "num_local_experts", nullptr)).ok());
  EXPECT_TRUE(Parse(With(Llama(), "quantization_config", nullptr)).ok());
  EXPECT_TRUE(Parse(With(Llama(), "hidden_act", "swish")).ok());
  EXPECT_TRUE(Parse(With(Llama(), "sliding_window", 128)).ok());  // the whole context
  EXPECT_TRUE(Parse(With(Llama(), "partial_rotary_factor", 1.0)).ok());
  EXPECT_TRUE(Parse(With(Llama(), "layer_types", {"full_attention", "full_attention"})).ok());
  EXPECT_TRUE(Parse(With(Llama(), "auto_map", {{"AutoTokenizer", "x.Y"}})).ok());
}

TEST(ParseConfig, RefusesWrongTypesAndRanges) {
  std::vector<Refusal> refusals = {
      {"architectures", "LlamaForCausalLM", R"("LlamaForCausalLM")"},
      {"architectures", json::array(), "[]"},
      {"architectures",
       {"LlamaForCausalLM", "MistralForCausalLM"},
       R"(["LlamaForCausalLM","MistralForCausalLM"])"},
      {"layer_types", "full_attention", R"("full_attention")"},
      {"layer_types", {"full_attention"}, R"(["full_attention"])"},  // of two layers
      {"rms_norm_eps", "1e-5", R"("1e-5")"},
      {"rms_norm_eps", 0, "0"},
      {"rms_norm_eps", -1e-5, "-1e-05"},
      {"rope_theta", 0.5, "0.5"},
      {"rope_theta", 1e300, "1e+300"},
      {"tie_word_embeddings", 1, "1"},
      {"attention_bias", "yes", R"("yes")"},
      {"mlp_bias", json::array(), "[]"},
      {"sliding_window", 0, "0"},
      {"sliding_window", "4096", R"("4096")"},
      {"bos_token_id", 64, "64"},
      {"bos_token_id", -1, "-1"},
      {"bos_token_id", {1, 2}, "[1,2]"},
      {"bos_token_id", "<s>", R"("<s>")"},
      {"eos_token_id", 2.5, "2.5"},
      {"eos_token_id", {2, 64}, "[2,64]"},
      {"eos_token_id", 18446744073709551615u, "18446744073709551615"},
      {"head_dim", 15, "15"},
      {"num_attention_heads", 3, "3"},  // 2 kv heads
      {"hidden_size", 34, "34"},        // not a multiple of 4 heads
      {"hidden_size", 12, "12"},        // heads of 3 values
      {"rope_scaling", "linear", R"("linear")"},
      {"rope_scaling", json::array({2.0}), "[2.0]"},
  };
  for (const char* size : {"hidden_size",
                           "vocab_size",
                           "intermediate_size",
                           "num_hidden_layers",
                           "num_attention_heads",
                           "num_key_value_heads",
                           "head_dim",
                           "max_position_embeddings"}) {
    for (const json& value : {json("64"),
                              json(64.0),
                              json(true),
                              json(json::array({64})),
                              json(0),
                              json(-64),
                              json(int64_t{1} << 40),
                              json(INT64_MAX),
                              json(INT64_MIN),
                              json(UINT64_MAX),
                              json(1e30)}) {
      refusals.push_back({size, value, value.is_string() ? "\"64\"" : value.dump()});
    }
  }
  for (const Refusal& refusal : refusals) {
    ExpectRefused(Llama(), absl::StatusCode::kInvalidArgument, refusal);
  }
}

TEST(ParseConfig, RefusesSizesThatDoNotFitTogether) {
  ExpectRefusedText(With(Llama(), "num_key_value_heads", 3).dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"num_attention_heads: 4 is not a multiple of num_key_value_heads 3"});
  ExpectRefusedText(With(Llama(), "hidden_size", 34).dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"hidden_size: 34 is not a multiple of num_attention_heads 4"});
  json config = Llama();  // each size alone is accepted, the product is not
  config["num_attention_heads"] = 1 << 20;
  config["head_dim"] = 1 << 20;
  ExpectRefusedText(config.dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"num_attention_heads: 1048576 with head_dim 1048576"});
}

TEST(ParseConfig, RefusesMissingSizes) {
  for (const char* field : {"hidden_size", "vocab_size"}) {
    for (const bool null : {false, true}) {
      json config = Llama();
      config.erase(field);
      if (null) config[field] = nullptr;
      ExpectRefusedText(config.dump(),
                        absl::StatusCode::kInvalidArgument,
                        {absl::StrCat(": ", field, ": is missing")});
    }
  }
}

TEST(ParseConfig, RefusesIncompleteRopeScaling) {
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
  for (const auto& [field, value] : llama3.items()) {
    json incomplete = llama3;
    incomplete.erase(field);
    ExpectRefusedText(With(Llama(), "rope_scaling", incomplete).dump(),
                      absl::StatusCode::kInvalidArgument,
                      {absl::StrCat(": rope_scaling.", field, ": is missing")});
  }
  const json base = With(Llama(), "rope_scaling", llama3);
  for (const Refusal& refusal : std::vector<Refusal>{
           {"rope_scaling.factor", "8", R"("8")"},
           {"rope_scaling.factor", 0.5, "0.5"},
           {"rope_scaling.factor", 1e9, "1000000000.0"},
           {"rope_scaling.low_freq_factor", 0, "0"},
           {"rope_scaling.high_freq_factor", 1.0, "1.0"},  // not above low_freq_factor
           {"rope_scaling.original_max_position_embeddings", 0, "0"},
           {"rope_scaling.type", "linear", R"("linear")"},  // contradicts rope_type
       }) {
    ExpectRefused(base, absl::StatusCode::kInvalidArgument, refusal);
  }
  ExpectRefusedText(With(Llama(), "rope_scaling", {{"type", "linear"}}).dump(),
                    absl::StatusCode::kInvalidArgument,
                    {": rope_scaling.factor: is missing"});
}

TEST(ParseConfig, RefusesTextThatIsNotOneJsonObject) {
  const auto code = absl::StatusCode::kInvalidArgument;
  ExpectRefusedText("", code, {"bad JSON at byte"});
  ExpectRefusedText("{\"hidden_size\": 32,}", code, {"bad JSON at byte 20"});
  ExpectRefusedText(Llama().dump() + "x", code, {"bad JSON at byte"});
  ExpectRefusedText("[1, 2]", code, {"[1,2] is not a JSON object"});
  ExpectRefusedText("null", code, {"null is not a JSON object"});
  ExpectRefusedText("{\"rope_theta\": 1e999}", code, {"bad JSON", "number overflow", "1e999"});
  ExpectRefusedText(std::string("{\"a\": \"\0\"}", 10), code, {"bad JSON at byte"});
  ExpectRefusedText("{\"a\xff\": 1}", code, {"bad JSON at byte", "UTF-8"});
  ExpectRefusedText(
      R"({"vocab_size": 1, "vocab_size": 2})", code, {R"(duplicate key "vocab_size")"});
  ExpectRefusedText("{\"a\\nb\": 1, \"a\\nb\": 2}", code, {R"("a\nb")"});
  ExpectRefusedText("{\"" + std::string(100000, 'x') + "\": ", code, {"bad JSON"});
}

TEST(ParseConfig, DeepNestingNeitherOverflowsTheStackNorPasses) {
  json nested = json::array();
  for (int depth = 3; depth <= 32; ++depth) nested = json::array({nested});
  EXPECT_TRUE(Parse(With(Llama(), "unused", nested)).ok());  // 1 + 31 levels
  nested = json::array({nested});
  ExpectRefusedText(With(Llama(), "unused", nested).dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"nested deeper than 32 levels"});
  for (const std::string& open : {std::string("["), std::string("{\"a\":")}) {
    std::string text;
    for (int i = 0; i < 1000000; ++i) text += open;
    ExpectRefusedText(text, absl::StatusCode::kInvalidArgument, {"nested deeper than 32 levels"});
  }
}

TEST(ParseConfig, LongAndStrangeValuesStayOneShortLine) {
  ExpectRefused(
      Llama(), absl::StatusCode::kUnimplemented, {"hidden_act", "a\nb\x01", R"("a\nb\001")"});
  ExpectRefusedText(With(Llama(), "hidden_act", std::string(1 << 20, 'x')).dump(),
                    absl::StatusCode::kUnimplemented,
                    {"xxx..."});
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "\xe2\x82\xac";  // cut between characters, not inside one
  // Also names of fields.
  const std::string strange = "a\nb" + std::string(1000, 'x');
  ExpectRefusedText(With(Llama(), "rope_scaling", {{strange, 1}, {"type", "default"}}).dump(),
                    absl::StatusCode::kUnimplemented,
                    {": rope_scaling.\"a\\nbxx", ": 1 is not supported"});
  const absl::Status status = Parse(With(Llama(), "hidden_act", wide)).status();
  EXPECT_NO_THROW(json(std::string(status.message())).dump());
}

}  // namespace
}  // namespace bitbudget
