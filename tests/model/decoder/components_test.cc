#include "runtime/model/decoder/components.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/model/decoder/stages.h"
#include "tests/model/architecture/config_test_util.h"

namespace bitbudget {
namespace {

TEST(ListComponents, GivesExecutionOrderShapesAndNames) {
  TinyModelOptions options;
  options.head_dim = 16;  // q_size 64, kv_size 32: neither is the hidden size by chance
  options.hidden = 40;
  const auto config = Parse(json::parse(MakeTinyCheckpoint(options).config));
  ASSERT_TRUE(config.ok()) << config.status();
  const std::vector<Component> components = ListComponents(*config);
  const auto describe = [&](size_t i) {
    const Component& c = components[i];
    return absl::StrCat(ComponentKindName(c.kind),
                        " ",
                        c.layer,
                        " ",
                        c.name,
                        " ",
                        c.rows,
                        "x",
                        c.cols,
                        " @",
                        FirstAffectedStage(c, *config));
  };
  ASSERT_EQ(components.size(), 16u);
  EXPECT_EQ(describe(0), "embed -1 model.embed_tokens 64x40 @0");
  EXPECT_EQ(describe(1), "q 0 model.layers.0.self_attn.q_proj 64x40 @1");
  EXPECT_EQ(describe(2), "k 0 model.layers.0.self_attn.k_proj 32x40 @1");
  EXPECT_EQ(describe(3), "v 0 model.layers.0.self_attn.v_proj 32x40 @1");
  EXPECT_EQ(describe(4), "o 0 model.layers.0.self_attn.o_proj 40x64 @1");
  EXPECT_EQ(describe(5), "gate 0 model.layers.0.mlp.gate_proj 48x40 @2");
  EXPECT_EQ(describe(6), "up 0 model.layers.0.mlp.up_proj 48x40 @2");
  EXPECT_EQ(describe(7), "down 0 model.layers.0.mlp.down_proj 40x48 @2");
  EXPECT_EQ(describe(8), "q 1 model.layers.1.self_attn.q_proj 64x40 @3");
  EXPECT_EQ(describe(14), "down 1 model.layers.1.mlp.down_proj 40x48 @4");
  EXPECT_EQ(describe(15), "head -1 lm_head 64x40 @5");
  EXPECT_EQ(NumStages(*config), 6);

  for (const Component& c : components) {
    EXPECT_EQ(c.stored_name, c.name + ".weight");
    EXPECT_EQ(c.stored_row, 0);
    EXPECT_EQ(c.stored_rows, c.rows);
  }

  options.tied = true;
  const auto tied = Parse(json::parse(MakeTinyCheckpoint(options).config));
  EXPECT_EQ(ListComponents(*tied).size(), 15u);
  EXPECT_EQ(ListComponents(*tied).back().kind, ComponentKind::kDown);
}

TEST(ListComponents, TellsWhereFusedProjectionsAreStored) {
  TinyModelOptions options;
  options.architecture = Architecture::kPhi3;
  options.head_dim = 16;  // 64 rows of q, 32 of k and of v
  const auto config = Parse(json::parse(MakeTinyCheckpoint(options).config));
  ASSERT_TRUE(config.ok()) << config.status();
  const std::vector<Component> components = ListComponents(*config);
  ASSERT_EQ(components.size(), 16u);
  const auto stored = [&](size_t i) {
    const Component& c = components[i];
    return absl::StrCat(c.name, " ", c.stored_name, " ", c.stored_row, "/", c.stored_rows);
  };
  const std::string layer = "model.layers.1.";
  const std::string qkv = " model.layers.1.self_attn.qkv_proj.weight ";
  EXPECT_EQ(stored(8), layer + "self_attn.q_proj" + qkv + "0/128");
  EXPECT_EQ(stored(9), layer + "self_attn.k_proj" + qkv + "64/128");
  EXPECT_EQ(stored(10), layer + "self_attn.v_proj" + qkv + "96/128");
  EXPECT_EQ(stored(11), layer + "self_attn.o_proj " + layer + "self_attn.o_proj.weight 0/32");
  EXPECT_EQ(stored(12), layer + "mlp.gate_proj " + layer + "mlp.gate_up_proj.weight 0/96");
  EXPECT_EQ(stored(13), layer + "mlp.up_proj " + layer + "mlp.gate_up_proj.weight 48/96");
  EXPECT_EQ(stored(14), layer + "mlp.down_proj " + layer + "mlp.down_proj.weight 0/32");
}

TEST(Stages, EveryComponentBelongsToTheStageThatItAffectsFirst) {
  for (const bool tied : {false, true}) {
    TinyModelOptions options;
    options.layers = 3;
    options.tied = tied;
    const auto config = Parse(json::parse(MakeTinyCheckpoint(options).config));
    ASSERT_TRUE(config.ok()) << config.status();
    const std::vector<Component> components = ListComponents(*config);
    std::vector<ComponentId> in_order;
    for (int stage = 0; stage < NumStages(*config); ++stage) {
      for (const ComponentId id : StageComponents(stage, *config)) {
        const Component& component = components[id];
        if (component.layer >= 0) {
          EXPECT_EQ(IdOf(component.layer, component.kind), id);
        }
        if (tied && stage == NumStages(*config) - 1) continue;  // the embedding once more
        EXPECT_EQ(FirstAffectedStage(component, *config), stage) << component.name;
        in_order.push_back(id);
      }
    }
    ASSERT_EQ(in_order.size(), components.size());
    for (size_t i = 0; i < in_order.size(); ++i) EXPECT_EQ(in_order[i], static_cast<int>(i));
  }
}

}  // namespace
}  // namespace bitbudget
