#include "runtime/training/equalize.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "tests/training/uneven_layer.h"

namespace bitbudget {
namespace {

absl::StatusOr<LayerEqualization> Equalize(const UnevenLayer& layer,
                                           EqualizeOptions options,
                                           int threads = 1) {
  options.threads = threads;
  return EqualizeLayer(layer.Sample(), layer.held, *MakeClipEncoder(), options);
}

EqualizeOptions OptionsFor(const char* format, int token_bits = 0) {
  EqualizeOptions options;
  options.format = *ParseFormat(format);
  options.token_bits = token_bits;
  return options;
}

TEST(EqualizeLayer, EvensOutChannelsOfLargeInputs) {
  const UnevenLayer layer;
  for (const auto& options :
       {OptionsFor("int4-g64"), OptionsFor("int3z-g32"), OptionsFor("q4_0")}) {
    const auto result = Equalize(layer, options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_LT(result->error_after, 0.5 * result->error_before) << options.format.Name();
    EXPECT_LT(result->held_error_after, 0.5 * result->held_error_before);
    ASSERT_FALSE(result->scales.attention_input.empty());
    // What was found is what folding it gives.
    LayerParameters<float> folded = layer.parameters;
    FoldScales(layer.config, result->scales, &folded);
    const DecoderLayer<float> decoder(layer.config, 0, {.max_positions = 64});
    LayerTrace<float> exact;
    LayerTrace<float> encoded;
    decoder.Forward(layer.parameters, layer.held, &exact);
    decoder.Forward(
        *EncodedLayer(folded, *MakeClipEncoder(), options.format, 1), layer.held, &encoded);
    EXPECT_EQ(RelativeDistance(encoded.outputs, exact.outputs), result->held_error_after);
  }
}

// Not in every format: what is learned is encoded anew, and may then be no better.
TEST(EqualizeLayer, LearnsByGradientWhatRatiosDoNotFind) {
  const UnevenLayer layer;
  int better = 0;
  for (const char* format : {"int2z-g32", "int2-g64", "int2-g32", "int3-g64", "int2z-g128"}) {
    EqualizeOptions options = OptionsFor(format);
    options.iterations = 0;
    const auto ratios = Equalize(layer, options);
    options.iterations = 20;
    const auto learned = Equalize(layer, options);
    ASSERT_TRUE(ratios.ok() && learned.ok());
    EXPECT_LE(learned->error_after, ratios->error_after) << format;
    if (learned->error_after < ratios->error_after) ++better;
  }
  EXPECT_GE(better, 3);
}

TEST(EqualizeLayer, CountsRoundedActivations) {
  const UnevenLayer layer;
  const auto result = Equalize(layer, OptionsFor("int8", 4));
  ASSERT_TRUE(result.ok()) << result.status();
  const auto exact = Equalize(layer, OptionsFor("int8"));
  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_GT(result->held_error_before, 10 * exact->held_error_before);
  EXPECT_LT(result->held_error_after, 0.8 * result->held_error_before);
}

TEST(EqualizeLayer, DoesNotDependOnThreads) {
  const UnevenLayer layer;
  for (const auto& options : {OptionsFor("int3-g32"), OptionsFor("int4z-g64", 8)}) {
    const auto alone = Equalize(layer, options, 1);
    const auto shared = Equalize(layer, options, 3);
    ASSERT_TRUE(alone.ok() && shared.ok());
    EXPECT_EQ(alone->scales.attention_input, shared->scales.attention_input);
    EXPECT_EQ(alone->scales.value, shared->scales.value);
    EXPECT_EQ(alone->scales.mlp_input, shared->scales.mlp_input);
    EXPECT_EQ(alone->scales.query_key, shared->scales.query_key);
    EXPECT_EQ(alone->held_error_after, shared->held_error_after);
  }
}

}  // namespace
}  // namespace bitbudget
