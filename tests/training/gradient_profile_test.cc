#include "runtime/training/gradient_profile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "runtime/training/losses.h"
#include "runtime/training/recovery_run.h"
#include "tests/training/recovery_fixture.h"

namespace bitbudget {
namespace {

class GradientProfileTest : public RecoveryTest {
 protected:
  // Of the model in these codes on the first sequences that are kept aside: the squared norm of the
  // gradient, formed as training forms it.
  double GradientNorm(const ComponentEncodings& encodings, int layer, int matrix) const {
    struct KeepOne final : GradientVisitor<float> {
      LayerBackward<float> Want(int at) override { return {.gradient = &gradients[at]}; }
      std::vector<LayerParameters<float>> gradients;
    } visitor;
    visitor.gradients.resize(model_->config().num_hidden_layers);
    Progress progress;
    const auto original = *OriginalOutputs::Create(*model_, data_.kept_aside, 1, &progress);
    const EncodedModel encoded{encodings};
    const auto ends = DecodedEnds(*model_, encoded);
    DecodedLayers layers(*model_, encoded);
    ModelGradient<float> pass(*model_, {.max_positions = 24});
    pass.Forward(*ends, &layers, data_.kept_aside);
    const std::vector<int64_t> all = {0, 1, 2, 3};
    Distillation<float> loss(original->LogitsOf(all), NextTokens(data_.kept_aside), 1);
    pass.Backward(*ends, &layers, &loss, &visitor);
    return visitor.gradients[layer].matrices[matrix].cast<double>().squaredNorm();
  }
};

TEST_F(GradientProfileTest, HoldsTheGradientsAtTheStartOnTheWayAndAtTheEnd) {
  ComponentEncodings start = Start("int3-g32");
  start.erase(LayerComponentId(1, kDownMatrix));  // stays as stored
  options_.profile_every = 5;
  options_.steps = 12;
  options_.freeze = "ov";
  const auto recovered = Run(start, {"distill"});
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  const std::vector<GradientProfile>& profiles = recovered->steps[0].profiles;
  ASSERT_EQ(profiles.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(profiles[i].step, std::vector<int64_t>({0, 5, 10, 12})[i]);
    ASSERT_EQ(profiles[i].layers.size(), 2u);
  }
  EXPECT_NEAR(profiles[0].loss, Divergence(start), 1e-6);
  for (const int layer : {0, 1}) {
    for (int i = 0; i < kLayerMatrices; ++i) {  // frozen ones too
      const double wanted = GradientNorm(start, layer, i);
      EXPECT_GT(wanted, 0);
      EXPECT_NEAR(profiles[0].layers[layer][i].gradient_norm, wanted, 1e-3 * wanted);
      const double db = profiles[0].layers[layer][i].sqnr_db;
      if (layer == 1 && i == kDownMatrix) {
        EXPECT_TRUE(std::isinf(db));
      } else {
        EXPECT_GT(db, 5);  // about 6 dB a bit
        EXPECT_LT(db, 25);
      }
    }
  }
  // The end is that of the codes, whose scales are rounded.
  EXPECT_NEAR(profiles[3].loss, Divergence(recovered->model.encodings), 1e-3);
  EXPECT_LT(profiles[3].loss, profiles[0].loss);
}

TEST_F(GradientProfileTest, ChangesNothingAndIsTheSameResumed) {
  const ComponentEncodings start = Start("int3-g32");
  const std::vector<std::string> methods = {"scales", "distill"};
  options_.steps = 9;
  const auto plain = Run(start, methods);
  EXPECT_TRUE(plain->steps[1].profiles.empty());
  options_.profile_every = 2;
  const auto whole = Run(start, methods);
  ASSERT_TRUE(plain.ok() && whole.ok());
  EXPECT_TRUE(SameBytes(plain->model.encodings, whole->model.encodings));
  for (const int saves : {3, 8}) {  // within each of both
    MemoryState state;
    state.saves_left = saves;
    ASSERT_FALSE(Run(start, methods, &state).ok());
    state.saves_left = 1000;
    const auto resumed = Run(start, methods, &state);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    for (const int m : {0, 1}) {
      EXPECT_EQ(SaveProfiles(resumed->steps[m].profiles), SaveProfiles(whole->steps[m].profiles));
    }
  }
}

TEST(SaveProfiles, LoadsWhatWasSavedAndNothingElse) {
  std::vector<GradientProfile> profiles(2);
  profiles[1].step = 7;
  profiles[1].loss = 0.1;
  profiles[1].layers.resize(3);
  profiles[1].layers[2][kUpMatrix] = {1e-30, std::numeric_limits<double>::infinity()};
  const SavedState state = {{"p", SaveProfiles(profiles)}, {"short", "1 2 3"}, {"word", "1 x"}};
  const auto loaded = LoadProfiles(state, "p");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(SaveProfiles(*loaded), SaveProfiles(profiles));
  EXPECT_EQ((*loaded)[1].layers[2][kUpMatrix].gradient_norm, 1e-30);
  for (const char* name : {"short", "word", "missing"}) {
    EXPECT_TRUE(absl::IsDataLoss(LoadProfiles(state, name).status())) << name;
  }
}

}  // namespace
}  // namespace bitbudget
