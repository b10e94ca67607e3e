// What config.json says in the architectures that are not plain Llama.

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/model/architecture/config_test_util.h"

namespace bitbudget {
namespace {

json LongRope() {
  return With(Tiny(Architecture::kPhi3),
              "rope_scaling",
              {{"type", "longrope"},
               {"short_factor", {1.0, 1.5, 2.0, 3.0}},
               {"long_factor", {1.0, 2.5, 4.0, 9.0}}});
}

TEST(ParseConfig, AbsentFieldsHaveTheDefaultsOfNewerArchitectures) {
  struct Expected {
    Architecture architecture;
    int64_t intermediate, layers, heads, kv_heads, head_dim, positions;
    double eps, theta;
    std::optional<int32_t> bos;
    Ids eos;
  };
  const Expected all[] = {
      {Architecture::kQwen2, 22016, 32, 32, 32, 128, 32768, 1e-6, 1e4, {}, {}},
      {Architecture::kQwen3, 22016, 32, 32, 32, 128, 32768, 1e-6, 1e4, {}, {}},
      {Architecture::kGemma2, 9216, 26, 8, 4, 256, 8192, 1e-6, 1e4, 2, {1}},
      {Architecture::kGemma3, 9216, 26, 8, 4, 256, 131072, 1e-6, 1e6, 2, {1}},
      {Architecture::kPhi3, 8192, 32, 32, 32, 128, 4096, 1e-5, 1e4, 1, {32000}},
  };
  for (const Expected& expected : all) {
    SCOPED_TRACE(ArchitectureName(expected.architecture));
    const auto config = Parse({{"architectures", {ArchitectureName(expected.architecture)}},
                               {"hidden_size", 4096},
                               {"vocab_size", 32064}});
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->architecture, expected.architecture);
    EXPECT_EQ(config->intermediate_size, expected.intermediate);
    EXPECT_EQ(config->num_hidden_layers, expected.layers);
    EXPECT_EQ(config->num_attention_heads, expected.heads);
    EXPECT_EQ(config->num_key_value_heads, expected.kv_heads);
    EXPECT_EQ(config->head_dim, expected.head_dim);
    EXPECT_EQ(config->rotary_dim, expected.head_dim);
    EXPECT_EQ(config->max_position_embeddings, expected.positions);
    EXPECT_EQ(config->rms_norm_eps, expected.eps);
    EXPECT_EQ(config->rope_theta, expected.theta);
    EXPECT_EQ(config->bos_token_id, expected.bos);
    EXPECT_EQ(config->eos_token_ids, expected.eos);
  }
}

// What the transformer does differently for an architecture, in one line.
std::string Facts(const ModelConfig& c) {
  std::string slides;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    absl::StrAppend(&slides, c.Window(layer), layer + 1 < c.num_hidden_layers ? "," : "");
  }
  return absl::StrCat(
      absl::StrCat("gelu ", c.activation == Activation::kGeluTanh, " embed ", c.embedding_scale),
      absl::StrCat(" offset ", c.norm_weight_offset, " post ", c.post_norms, " qk ", c.qk_norm),
      absl::StrCat(" bias ", c.qkv_bias, c.o_bias, c.mlp_bias, " fused ", c.fused_projections),
      absl::StrCat(" tied ", c.tie_word_embeddings, " scale ", c.attention_scale),
      absl::StrCat(" caps ", c.attention_soft_cap, " ", c.final_soft_cap),
      absl::StrCat(" local ", c.sliding_rope_theta.value_or(0), " windows ", slides));
}

TEST(ParseConfig, ArchitecturesDifferInTheseFacts) {
  // Hidden size 16 and two heads of 4, so that the scales are 4 and 1/2.
  const auto facts = [](Architecture architecture, const json& fields) {
    json config = {{"architectures", {ArchitectureName(architecture)}},
                   {"hidden_size", 16},
                   {"vocab_size", 32},
                   {"num_attention_heads", 2},
                   {"num_key_value_heads", 1},
                   {"num_hidden_layers", 7},
                   {"head_dim", 4}};
    config.update(fields);
    const auto parsed = Parse(config);
    return parsed.ok() ? Facts(*parsed) : std::string(parsed.status().message());
  };
  using A = Architecture;
  const std::string plain = "gelu 0 embed 1 offset 0 post 0 qk 0 bias 000 fused 0 tied 0 scale 0.5";
  EXPECT_EQ(facts(A::kLlama, json::object()), plain + " caps 0 0 local 0 windows 0,0,0,0,0,0,0");
  EXPECT_EQ(facts(A::kMistral, {{"sliding_window", 9}}),
            plain + " caps 0 0 local 0 windows 9,9,9,9,9,9,9");
  EXPECT_EQ(facts(A::kQwen2, json::object()),
            "gelu 0 embed 1 offset 0 post 0 qk 0 bias 100 fused 0 tied 0 scale 0.5"
            " caps 0 0 local 0 windows 0,0,0,0,0,0,0");
  EXPECT_EQ(facts(A::kQwen3,
                  {{"attention_bias", true},
                   {"use_sliding_window", true},
                   {"sliding_window", 9},
                   {"max_window_layers", 5}}),
            "gelu 0 embed 1 offset 0 post 0 qk 1 bias 110 fused 0 tied 0 scale 0.5"
            " caps 0 0 local 0 windows 0,0,0,0,0,9,9");
  EXPECT_EQ(facts(A::kGemma2, json::object()),
            "gelu 1 embed 4 offset 1 post 1 qk 0 bias 000 fused 0 tied 1 scale 0.0625"
            " caps 50 30 local 0 windows 4096,0,4096,0,4096,0,4096");
  EXPECT_EQ(facts(A::kGemma2,
                  {{"query_pre_attn_scalar", 16},
                   {"attn_logit_softcapping", nullptr},
                   {"final_logit_softcapping", 12.5},
                   {"sliding_window", 8}}),
            "gelu 1 embed 4 offset 1 post 1 qk 0 bias 000 fused 0 tied 1 scale 0.25"
            " caps 0 12.5 local 0 windows 8,0,8,0,8,0,8");
  EXPECT_EQ(facts(A::kGemma3, {{"sliding_window", 8}}),
            "gelu 1 embed 4 offset 1 post 1 qk 1 bias 000 fused 0 tied 1 scale 0.0625"
            " caps 0 0 local 10000 windows 8,8,8,8,8,0,8");
  EXPECT_EQ(facts(A::kGemma3, {{"sliding_window", 8}, {"sliding_window_pattern", 3}}),
            "gelu 1 embed 4 offset 1 post 1 qk 1 bias 000 fused 0 tied 1 scale 0.0625"
            " caps 0 0 local 10000 windows 8,8,0,8,8,0,8");
  EXPECT_EQ(facts(A::kPhi3, json::object()),
            "gelu 0 embed 1 offset 0 post 0 qk 0 bias 000 fused 1 tied 0 scale 0.5"
            " caps 0 0 local 0 windows 0,0,0,0,0,0,0");
}

TEST(ParseConfig, LayerTypesDecideWhereTheArchitectureLetsThem) {
  const json types = {"full_attention", "sliding_attention", "full_attention"};
  for (const Architecture architecture : {Architecture::kGemma2, Architecture::kGemma3}) {
    const auto config = Parse(With(Tiny(architecture, 3), "layer_types", types));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->sliding_layers, std::vector<bool>({false, true, false}));
    ExpectRefused(With(Tiny(architecture, 3), "layer_types", types),
                  absl::StatusCode::kInvalidArgument,
                  {"sliding_window", nullptr, "null"});
  }
  for (const Architecture architecture : {Architecture::kQwen2, Architecture::kQwen3}) {
    json qwen = With(Tiny(architecture, 3), "layer_types", types);
    ExpectRefused(qwen, absl::StatusCode::kInvalidArgument, {"sliding_window", 9, "9"});  // unused
    qwen["use_sliding_window"] = true;
    qwen["sliding_window"] = 9;
    const auto config = Parse(qwen);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->Window(0), 0);
    EXPECT_EQ(config->Window(1), 9);
  }
  for (const Architecture architecture : {Architecture::kMistral, Architecture::kPhi3}) {
    ExpectRefused(With(Tiny(architecture, 3), "sliding_window", 9),
                  absl::StatusCode::kUnimplemented,
                  {"layer_types", types, types.dump()});
  }
}

TEST(ParseConfig, ReadsRopeParametersOfLayerTypes) {
  json config = Tiny(Architecture::kGemma3);
  for (const char* key : {"rope_theta", "rope_scaling", "rope_local_base_freq"}) config.erase(key);
  config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 2e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 3e4}}}};
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->rope_theta, 2e6);
  EXPECT_EQ(parsed->rope_scaling.type, RopeType::kLinear);
  EXPECT_EQ(parsed->rope_scaling.factor, 8);
  EXPECT_EQ(parsed->sliding_rope_theta, 3e4);

  ExpectRefusedText(With(config, "rope_local_base_freq", 1e4).dump(),
                    absl::StatusCode::kInvalidArgument,
                    {"rope_parameters.sliding_attention.rope_theta: 30000.0 contradicts"});
  json scaled = config;
  scaled["rope_parameters"]["sliding_attention"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  ExpectRefusedText(scaled.dump(),
                    absl::StatusCode::kUnimplemented,
                    {R"(rope_parameters.sliding_attention.rope_type: "linear" is not supported)"});
  ExpectRefusedText(With(config, "rope_parameters.other", 1).dump(),
                    absl::StatusCode::kUnimplemented,
                    {"rope_parameters.other: 1 is not supported"});
  // An architecture whose layers all rotate alike has no such objects.
  ExpectRefusedText(With(Llama(), "rope_parameters", config["rope_parameters"]).dump(),
                    absl::StatusCode::kUnimplemented,
                    {"rope_parameters.full_attention: "});
}

TEST(ParseConfig, ReadsLongRopeOfEverySpelling) {
  const auto config = Parse(LongRope());
  ASSERT_TRUE(config.ok()) << config.status();
  const RopeScaling& rope = config->rope_scaling;
  EXPECT_EQ(rope.type, RopeType::kLongRope);
  EXPECT_EQ(rope.original_max_position, 64);
  EXPECT_EQ(rope.factors, std::vector<double>({1, 1.5, 2, 3}));
  EXPECT_EQ(rope.long_factors, std::vector<double>({1, 2.5, 4, 9}));
  // sqrt(1 + ln 2 / ln 64) = sqrt(7 / 6), a few roundings.
  EXPECT_NEAR(rope.attention_factor, std::sqrt(7.0 / 6), 8 * 0x1p-53);

  json inside = LongRope();
  inside.erase("original_max_position_embeddings");
  inside["rope_scaling"]["original_max_position_embeddings"] = 32;
  inside["rope_scaling"]["attention_factor"] = 1.25;
  inside["rope_scaling"]["type"] = "su";
  inside["rope_scaling"]["factor"] = 4.0;
  const auto other = Parse(inside);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->rope_scaling.original_max_position, 32);
  EXPECT_EQ(other->rope_scaling.attention_factor, 1.25);

  const json short_context = With(LongRope(), "max_position_embeddings", 64);
  EXPECT_EQ(Parse(short_context)->rope_scaling.attention_factor, 1);

  json partial = LongRope();
  partial["head_dim"] = 16;
  partial["partial_rotary_factor"] = 0.5;
  const auto half = Parse(partial);
  ASSERT_TRUE(half.ok()) << half.status();
  EXPECT_EQ(half->rotary_dim, 8);

  const json base = LongRope();
  for (const Refusal& refusal : std::vector<Refusal>{
           {"rope_scaling.short_factor", {1.0, 2.0}, "[1.0,2.0]"},
           {"rope_scaling.short_factor", 1, "1"},
           {"rope_scaling.long_factor", {1.0, 2.0, 0.0, 4.0}, "[1.0,2.0,0.0,4.0]"},
           {"rope_scaling.long_factor", {1.0, 2.0, "3", 4.0}, R"([1.0,2.0,"3",4.0])"},
           {"rope_scaling.factor", 3.0, "3.0"},
           {"rope_scaling.original_max_position_embeddings", 32, "32"},
           {"rope_scaling.attention_factor", 0, "0"},
           {"original_max_position_embeddings", 1, "1"},
           {"partial_rotary_factor", 0.75, "0.75"},  // 6 of 8, but 4 factors
           {"partial_rotary_factor", 0.4, "0.4"},
           {"partial_rotary_factor", 1.5, "1.5"},
       }) {
    if (refusal.field == "partial_rotary_factor" && refusal.value == 0.75) {
      ExpectRefusedText(With(base, refusal.field, refusal.value).dump(),
                        absl::StatusCode::kInvalidArgument,
                        {"rope_scaling.short_factor: ", "is not a list of 3 numbers"});
      continue;
    }
    ExpectRefused(base, absl::StatusCode::kInvalidArgument, refusal);
  }
}

TEST(ParseConfig, RefusesWhatTheNewerArchitecturesCannotMean) {
  const auto gemma2 = Tiny(Architecture::kGemma2);
  const auto gemma3 = Tiny(Architecture::kGemma3);
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  const auto invalid = absl::StatusCode::kInvalidArgument;
  for (const json& gemma : {gemma2, gemma3}) {
    ExpectRefused(gemma, unimplemented, {"tie_word_embeddings", false, "false"});
    ExpectRefused(gemma, unimplemented, {"hidden_activation", "silu", R"("silu")"});
    ExpectRefused(gemma, unimplemented, {"use_bidirectional_attention", true, "true"});
    ExpectRefused(gemma, unimplemented, {"partial_rotary_factor", 0.5, "0.5"});
    ExpectRefused(With(gemma, "rope_scaling", {{"type", "default"}}),
                  unimplemented,
                  {"rope_scaling.partial_rotary_factor", 0.5, "0.5"});
    ExpectRefused(gemma, invalid, {"query_pre_attn_scalar", 0, "0"});
    ExpectRefused(gemma, invalid, {"attn_logit_softcapping", 0, "0"});
    ExpectRefused(gemma, invalid, {"final_logit_softcapping", "30", R"("30")"});
    ExpectRefused(gemma, invalid, {"sliding_window", nullptr, "null"});
  }
  ExpectRefused(gemma3, invalid, {"rope_local_base_freq", 0.5, "0.5"});
  ExpectRefused(gemma3, invalid, {"sliding_window_pattern", 0, "0"});
  ExpectRefused(Tiny(Architecture::kQwen2), invalid, {"use_sliding_window", 1, "1"});
  ExpectRefused(Tiny(Architecture::kQwen2), invalid, {"max_window_layers", -1, "-1"});
  ExpectRefused(Tiny(Architecture::kQwen3), unimplemented, {"num_experts", 64, "64"});
  ExpectRefused(Tiny(Architecture::kPhi3), unimplemented, {"hidden_act", "gelu", R"("gelu")"});
  ExpectRefused(Tiny(Architecture::kPhi3),
                unimplemented,
                {"auto_map",
                 {{"AutoModelForCausalLM", "modeling_mine.Phi3ForCausalLM"}},
                 R"({"AutoModelForCausalLM":"modeling_mine.Phi3ForCausalLM"})"});
  EXPECT_TRUE(Parse(With(Tiny(Architecture::kPhi3),
                         "auto_map",
                         {{"AutoModelForCausalLM", "modeling_phi3.Phi3ForCausalLM"}}))
                  .ok());
}

TEST(ParseConfig, EveryTinyCheckpointIsOfItsArchitecture) {
  for (const Architecture architecture : AllArchitectures()) {
    const json tiny = Tiny(architecture);
    const auto config = Parse(tiny);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->architecture, architecture);
    json unnamed = tiny;
    unnamed.erase("architectures");
    ASSERT_TRUE(Parse(unnamed).ok()) << Parse(unnamed).status();
    EXPECT_EQ(Parse(unnamed)->architecture, architecture);
  }
}

TEST(CheckContext, RefusesPositionsThatTheLongFactorsAreFor) {
  const auto config = Parse(LongRope());  // 128 positions, 64 of them original
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(CheckContext(*config, kPath, 64).ok());
  ExpectError(CheckContext(*config, kPath, 65),
              absl::StatusCode::kUnimplemented,
              {"folder/config.json: original_max_position_embeddings: 64 is shorter", "65 tokens"});

  const auto window = Parse(With(Tiny(Architecture::kMistral), "sliding_window", 64));
  ASSERT_TRUE(window.ok()) << window.status();
  EXPECT_TRUE(CheckContext(*window, kPath, int64_t{1} << 40).ok());
}

}  // namespace
}  // namespace bitbudget
