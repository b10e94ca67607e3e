#include "plans/targets/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "plans/targets/units.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

Format F(const std::string& name) { return *ParseFormat(name); }

TargetModel SmallModel(const std::string& architecture, int layers, bool tied) {
  TargetModel model;
  model.architecture = architecture;
  const auto add = [&](const std::string& name, const char* kind, int layer, int rows, int cols) {
    model.components.push_back({name, kind, layer, rows, cols});
  };
  add("model.embed_tokens", "embed", -1, 512, 256);
  for (int b = 0; b < layers; ++b) {
    const std::string at = absl::StrCat("model.layers.", b, ".");
    add(at + "self_attn.q_proj", "q", b, 256, 256);
    add(at + "self_attn.k_proj", "k", b, 128, 256);
    add(at + "self_attn.v_proj", "v", b, 128, 256);
    add(at + "self_attn.o_proj", "o", b, 256, 256);
    add(at + "mlp.gate_proj", "gate", b, 768, 256);
    add(at + "mlp.up_proj", "up", b, 768, 256);
    add(at + "mlp.down_proj", "down", b, 256, 768);
  }
  if (!tied) add("lm_head", "head", -1, 512, 256);
  return model;
}

const TargetProfile& Target(const char* name) { return **FindTarget(name); }

TEST(Targets, AreFoundByName) {
  std::set<std::string> names;
  for (const TargetProfile* target : Targets()) {
    const std::string name(target->name());
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(*FindTarget(name), target);
    EXPECT_FALSE(target->summary().empty());
  }
  ExpectError(FindTarget("vllm").status(), kInvalid, {"unknown target 'vllm'", "llama.cpp"});
}

TEST(Targets, OfferFormatsOfThisBuild) {
  for (const TargetProfile* target : Targets()) {
    const std::vector<Format> formats = target->Formats();
    EXPECT_FALSE(formats.empty());
    for (const Format& format : formats) EXPECT_TRUE(IsSupported(format)) << format.Name();
    for (const Format& format : target->DefaultFormats()) {
      EXPECT_NE(std::find(formats.begin(), formats.end(), format), formats.end())
          << target->name() << " " << format.Name();
    }
  }
}

TEST(Targets, UnitsHoldEveryComponentOnceInExecutionOrder) {
  for (const char* architecture : {"LlamaForCausalLM", "Phi3ForCausalLM"}) {
    for (const bool tied : {false, true}) {
      const TargetModel model = SmallModel(architecture, 3, tied);
      for (const TargetProfile* target : Targets()) {
        std::vector<int> seen, firsts;
        std::set<std::string> names;
        for (const TargetUnit& unit : target->Units(model)) {
          int64_t rows = 0, name_rows = 0;
          firsts.push_back(unit.parts[0]);
          for (const int part : unit.parts) {
            seen.push_back(part);
            rows += model.components[part].rows;
            EXPECT_EQ(model.components[part].cols, unit.cols);
          }
          for (const int64_t n : unit.name_rows) name_rows += n;
          EXPECT_EQ(unit.rows, rows);
          EXPECT_EQ(unit.rows, name_rows);
          EXPECT_EQ(unit.names.size(), unit.name_rows.size());
          EXPECT_TRUE(unit.names.size() == 1 || unit.names.size() == unit.parts.size());
          for (const std::string& name : unit.names) {
            EXPECT_TRUE(names.insert(name).second) << target->name() << " " << name;
          }
        }
        EXPECT_TRUE(std::is_sorted(firsts.begin(), firsts.end())) << target->name();
        std::sort(seen.begin(), seen.end());
        ASSERT_EQ(seen.size(), model.components.size()) << target->name();
        for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<int>(i));
      }
    }
  }
}

TEST(Targets, TieWhatTheirLoadersJoin) {
  const TargetModel llama = SmallModel("LlamaForCausalLM", 1, true);
  const TargetModel phi3 = SmallModel("Phi3ForCausalLM", 1, true);
  const auto sizes = [](const char* target, const TargetModel& model) {
    std::vector<size_t> result;
    for (const TargetUnit& unit : Target(target).Units(model)) result.push_back(unit.parts.size());
    return result;
  };
  const std::vector<size_t> single(8, 1), joined = {1, 3, 1, 2, 1};
  for (const char* name : {"autoround", "gptqmodel", "compressed-tensors", "modelopt"}) {
    EXPECT_EQ(sizes(name, llama), joined) << name;
  }
  for (const char* name : {"llama.cpp", "ik_llama", "mlx", "torchao", "native"}) {
    EXPECT_EQ(sizes(name, llama), single) << name;
    EXPECT_EQ(sizes(name, phi3), std::string(name) == "native" ? single : joined) << name;
  }
  const auto units = Target("llama.cpp").Units(phi3);
  EXPECT_EQ(units[1].names[0], "blk.0.attn_qkv.weight");
  EXPECT_EQ(units[3].names[0], "blk.0.ffn_up.weight");
  EXPECT_EQ(Target("mlx").Units(phi3)[1].names[0], "model.layers.0.self_attn.qkv_proj");
  const auto vllm = Target("gptqmodel").Units(llama);
  EXPECT_EQ(vllm[1].fused_name, "model.layers.0.self_attn.qkv_proj");
  EXPECT_EQ(vllm[1].rows, 512);
}

// llama.cpp's substitutes for rows of 96 (whole blocks of 32) and of 48 (of none).
TEST(LlamaCpp, SubstitutesAsItsQuantizerDoes) {
  const struct {
    const char *format, *for_96, *for_48;
  } kCases[] = {
      {"q2_k", "q4_0", "f16"},
      {"q3_k", "q4_0", "f16"},
      {"q4_k", "q5_0", "f16"},
      {"q5_k", "q5_1", "f16"},
      {"q6_k", "q8_0", "f16"},
      {"iq4_xs", "iq4_nl", "f16"},
      {"tq1_0", "q4_0", "f16"},
      {"tq2_0", "q4_0", "f16"},
      {"q2_0", "q4_0", "f16"},
      {"q4_0", "q4_0", nullptr},
      {"q8_0", "q8_0", nullptr},
      {"iq4_nl", "iq4_nl", nullptr},
      {"mxfp4", "mxfp4", nullptr},
      {"q1_0", nullptr, nullptr},
      {"bf16", "bf16", "bf16"},
  };
  const TargetProfile& target = Target("llama.cpp");
  TargetUnit unit;
  unit.names = {"blk.0.attn_q.weight"};
  for (const auto& c : kCases) {
    for (const auto& [cols, expected] : {std::pair(96, c.for_96), std::pair(48, c.for_48)}) {
      unit.cols = cols;
      const absl::StatusOr<Format> resolved = target.Resolve(unit, F(c.format));
      if (expected == nullptr) {
        ExpectError(
            resolved.status(), kInvalid, {"blk.0.attn_q.weight", c.format, "no substitute"});
      } else {
        ASSERT_TRUE(resolved.ok()) << resolved.status();
        EXPECT_EQ(resolved->Name(), expected) << c.format << " " << cols;
      }
    }
    unit.cols = 512;
    EXPECT_EQ(target.Resolve(unit, F(c.format))->Name(), c.format);
  }
}

TEST(IkLlama, SubstitutesAsItsQuantizerDoes) {
  const TargetProfile& target = Target("ik_llama");
  TargetUnit unit;
  unit.names = {"blk.0.attn_q.weight"};
  unit.cols = 96;
  EXPECT_EQ(target.Resolve(unit, F("q4_k"))->Name(), "q5_0");
  EXPECT_EQ(target.Resolve(unit, F("q6_k"))->Name(), "q8_0");
  EXPECT_EQ(target.Resolve(unit, F("iq4_xs"))->Name(), "iq4_nl");
  EXPECT_EQ(target.Resolve(unit, F("q2_k"))->Name(), "f16");
  ExpectError(target.Resolve(unit, F("q5_k")).status(), kInvalid, {"would take q6_0"});
  ExpectError(target.Resolve(unit, F("tq2_0")).status(), kInvalid, {"no such type"});
}

TEST(ModuleTargets, RefuseShapesThatTheirKernelsDoNotTake) {
  const auto resolve = [](const char* target, int rows, int cols, const char* format) {
    TargetUnit unit;
    unit.names = {"m"};
    unit.name_rows = {rows};
    unit.rows = rows;
    unit.cols = cols;
    return Target(target).Resolve(unit, F(format)).status();
  };
  EXPECT_TRUE(resolve("gptqmodel", 64, 256, "int4-g32").ok());
  ExpectError(resolve("gptqmodel", 64, 192, "int4-g32"), kInvalid, {"128 divides", "192"});
  ExpectError(resolve("gptqmodel", 96, 256, "int4-g32"), kInvalid, {"64 divides", "96"});
  EXPECT_TRUE(resolve("autoround", 96, 96, "int4-g32").ok());
  ExpectError(resolve("autoround", 96, 96, "int4-g64"), kInvalid, {"64 divides", "96"});
  ExpectError(resolve("autoround", 48, 96, "int4-g32"), kInvalid, {"outputs", "32 divides", "48"});
  ExpectError(resolve("mlx", 64, 96, "affine4-g64"), kInvalid, {"64 divides", "96"});
  EXPECT_TRUE(resolve("mlx", 3, 96, "affine4-g32").ok());
  EXPECT_TRUE(resolve("torchao", 3, 5, "int8").ok());
}

TEST(Mlx, HoldsItsOwnBlocksAndNamesTheNeighbourOfAnInteger) {
  const auto resolve = [](const std::string& format) {
    TargetUnit unit;
    unit.names = {"m"};
    unit.name_rows = {64};
    unit.rows = 64;
    unit.cols = 128;
    return Target("mlx").Resolve(unit, *ParseFormat(format)).status();
  };
  int affine = 0;
  for (const Format& format : Target("mlx").Formats()) {
    affine += format.kind == FormatKind::kAffine;
    EXPECT_TRUE(resolve(format.Name()).ok()) << format.Name();
  }
  EXPECT_EQ(affine, 18);
  for (const Format& format : Target("mlx").DefaultFormats()) {
    EXPECT_EQ(format.kind, FormatKind::kAffine) << format.Name();
  }
  EXPECT_TRUE(resolve("mxfp4").ok());
  for (const char* format : {"int4-g64", "int4z-g64"}) {
    ExpectError(resolve(format), kInvalid, {"m in int4", "affine4-g64", "make the plan again"});
  }
  for (const char* format : {"int8", "q4_1"}) {
    ExpectError(resolve(format), kInvalid, {format, "no such format"});
  }
}

TEST(UnitsOfPlan, RefusesAPlanThatNeedsASubstitute) {
  plans::Plan plan;
  plans::Component* c = plan.add_components();
  c->set_name("model.embed_tokens");
  c->set_kind("embed");
  c->set_layer(-1);
  c->set_rows(8);
  c->set_cols(96);
  c->set_format("q4_k");
  const TargetProfile& target = Target("llama.cpp");
  ExpectError(internal::UnitsOfPlan(target, plan).status(),
              kInvalid,
              {"model.embed_tokens", "rows of 96", "q4_k", "q5_0 instead"});
}

}  // namespace
}  // namespace bitbudget
