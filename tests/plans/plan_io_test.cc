#include "plans/plan_io.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "plans/json_names.h"
#include "plans/validate.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/random.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {
namespace {

const char* const kGoldenBinary = BITBUDGET_PLANS_TEST_DATA "/golden_plan.pb";
const char* const kGoldenJson = BITBUDGET_PLANS_TEST_DATA "/golden_plan.json";

// The status of a refused read: one line that begins with the file's name.
std::string Refusal(const absl::StatusOr<plans::Plan>& plan, const std::string& name) {
  if (plan.ok()) return "accepted";
  const std::string message(plan.status().message());
  EXPECT_TRUE(absl::StartsWith(message, name + ": ")) << message;
  EXPECT_FALSE(absl::StrContains(message, "\n")) << message;
  EXPECT_LT(message.size(), 400u) << message;
  return message;
}

std::string Json(const plans::Plan& plan) {
  auto json = PlanToJson(plan);
  EXPECT_TRUE(json.ok()) << json.status();
  return json.ok() ? *json : "";
}

// Set BITBUDGET_UPDATE_GOLDEN=1 to write the golden files after a deliberate change of format.
TEST(PlanGoldenTest, SerializesToExactlyTheseBytes) {
  const plans::Plan plan = SmallPlan(2);
  ASSERT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
  if (getenv("BITBUDGET_UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(kGoldenBinary, SerializePlan(plan)).ok());
    ASSERT_TRUE(WriteFileAtomically(kGoldenJson, Json(plan)).ok());
  }
  const auto binary = ReadFile(kGoldenBinary);
  const auto json = ReadFile(kGoldenJson);
  ASSERT_TRUE(binary.ok() && json.ok());
  EXPECT_TRUE(SerializePlan(plan) == *binary);
  EXPECT_EQ(Json(plan), *json);
}

TEST(PlanGoldenTest, BothGoldenFilesReadAsTheSamePlan) {
  const auto binary = ParsePlan(*ReadFile(kGoldenBinary), kGoldenBinary);
  const auto json = ParsePlan(*ReadFile(kGoldenJson), kGoldenJson);
  ASSERT_TRUE(binary.ok()) << binary.status();
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(SerializePlan(*binary), SerializePlan(*json));
  EXPECT_EQ(SerializePlan(*binary), SerializePlan(SmallPlan(2)));
}

TEST(PlanJsonTest, ARecoverySurvivesBothForms) {
  const plans::Plan plan = RecoveredSmallPlan(1);
  ASSERT_TRUE(ValidatePlan(plan).ok()) << ValidatePlan(plan);
  for (const std::string& form : {SerializePlan(plan), Json(plan)}) {
    const auto read = ParsePlan(form, "plan");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(SerializePlan(*read), SerializePlan(plan));
  }
}

// A value of any magnitude, from the smallest subnormal to the largest double.
double RandomFinite(Random& random) {
  for (;;) {
    const uint64_t bits = random.Next();
    double value;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isfinite(value)) return std::fabs(value);
  }
}

TEST(PlanJsonTest, EveryDoubleSurvivesExactly) {
  Random random(1);
  std::vector<double> values = {0.0,
                                -0.0,
                                0.1,
                                1.0 / 3,
                                5e-324,
                                std::numeric_limits<double>::min(),
                                std::numeric_limits<double>::max(),
                                std::nextafter(1.0, 2.0),
                                9007199254740993.0,
                                1e22,
                                1e23};
  while (values.size() < 20000) values.push_back(RandomFinite(random));
  plans::Plan plan = SmallPlan(1);
  for (const double value : values) {
    plans::TraceStep* step = plan.mutable_search()->add_trace();
    step->set_what("round");
    step->set_size_bytes(plan.model().fixed_bytes());
    step->set_dppl(1);
    step->set_kl_mean(value);
  }
  const auto read = ParsePlan(Json(plan), "json");
  ASSERT_TRUE(read.ok()) << read.status();
  const int first = plan.search().trace_size() - static_cast<int>(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(read->search().trace(first + static_cast<int>(i)).kl_mean(), values[i]);
  }
  EXPECT_TRUE(SerializePlan(*read) == SerializePlan(plan));
}

TEST(PlanJsonTest, WritesProtoNamesAndDefaults) {
  const std::string json = Json(SmallPlan(1));
  EXPECT_TRUE(absl::StrContains(json, "\"format_version\": 1"));
  EXPECT_TRUE(absl::StrContains(json, "\"seed\": \"18446744073709551615\""));
  EXPECT_TRUE(absl::StrContains(json, "\"uniform_emitted\": false"));
  EXPECT_TRUE(absl::StrContains(json, "\"scorer\": \"\""));
}

TEST(PlanJsonTest, AcceptsLeadingWhiteSpace) {
  EXPECT_TRUE(ParsePlan("\n \t" + Json(SmallPlan(1)), "json").ok());
}

TEST(ParsePlanTest, RefusesWhatIsNotAPlan) {
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan("", "x"), "x"), "empty"));
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan(" \n", "x"), "x"), "empty"));
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan("GGUF....", "x"), "x"), "neither"));
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan("[1, 2]", "x"), "x"), "neither"));
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan("{\"a\" 1}", "x"), "x"), "JSON"));
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan("{\"vocab_size\": 1}", "x"), "x"), "vocab_size"));
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan("{}", "x"), "x"), "format_version: 0"));
}

TEST(ParsePlanTest, RefusesEveryTruncationWithOneLineAndNothingOnStderr) {
  const std::string bytes = SerializePlan(SmallPlan(1));
  const std::string json = Json(SmallPlan(1));
  testing::internal::CaptureStderr();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(Refusal(ParsePlan(bytes.substr(0, size), "x"), "x"), "accepted") << size;
  }
  for (size_t size = 0; size + 1 < json.size(); size += 17) {
    EXPECT_NE(Refusal(ParsePlan(json.substr(0, size), "x"), "x"), "accepted") << size;
  }
  std::string not_utf8 = bytes;
  not_utf8[bytes.find("LlamaForCausalLM")] = '\xff';
  EXPECT_NE(Refusal(ParsePlan(not_utf8, "x"), "x"), "accepted");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(PlanVersionTest, RefusesAnotherVersionByItsNumber) {
  plans::Plan plan = SmallPlan(1);
  plan.set_format_version(2);
  const std::string expected = "x: format_version: 2, but this bitbudget reads plan version 1";
  EXPECT_EQ(Refusal(ParsePlan(SerializePlan(plan), "x"), "x"), expected);
  EXPECT_EQ(Refusal(ParsePlan(Json(plan), "x"), "x"), expected);
  // A newer version's own fields must not hide the version.
  const std::string with_new_field =
      absl::StrReplaceAll(Json(plan), {{"\"complete\": true", "\"complete\": true, \"new\": [1]"}});
  EXPECT_EQ(Refusal(ParsePlan(with_new_field, "x"), "x"), expected);
}

TEST(PlanVersionTest, RefusesUnknownFieldsAtAnyDepth) {
  plans::Plan plan = SmallPlan(1);
  const std::string json = absl::StrReplaceAll(
      Json(plan), {{"\"kind\": \"embed\"", "\"kind\": \"embed\", \"rotation\": 1"}});
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan(json, "x"), "x"), "rotation"));

  plans::Component* c = plan.mutable_components(3);
  c->GetReflection()->MutableUnknownFields(c)->AddVarint(77, 1);
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan(SerializePlan(plan), "x"), "x"),
                                "Component has a field number 77"));
  plan = SmallPlan(1);
  plan.GetReflection()->MutableUnknownFields(&plan)->AddVarint(78, 1);
  EXPECT_TRUE(absl::StrContains(Refusal(ParsePlan(SerializePlan(plan), "x"), "x"),
                                "Plan has a field number 78"));
}

TEST(ParsePlanTest, RefusesAPlanThatContradictsItself) {
  plans::Plan plan = SmallPlan(1);
  plan.mutable_components(1)->set_size_bytes(1024);
  EXPECT_EQ(Refusal(ParsePlan(SerializePlan(plan), "x"), "x"),
            "x: components[1].size_bytes: 1024, but int4-g64 [64, 64] takes 2176");
}

// The field names of earlier versions.
TEST(PlanJsonTest, ReadsPlansOfEarlierVersions) {
  plans::Plan plan = SmallPlan(2);
  plan.mutable_options()->mutable_method()->set_sparsity_permille(400);
  const std::string before = absl::StrReplaceAll(
      Json(plan), {{"\"layer\":", "\"block\" :"}, {"\"sparsity_permille\"", "\"zero_permille\""}});
  ASSERT_TRUE(absl::StrContains(before, "\"block\"") && absl::StrContains(before, "zero_permille"));
  const auto read = ParsePlan(before, "old.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializePlan(*read), SerializePlan(plan));
}

TEST(JsonNamesTest, RenamesKeysAndNothingElse) {
  EXPECT_EQ(WithCurrentFieldNames(R"({"block": "block", "a\"block": ["block"]})"),
            R"({"layer": "block", "a\"block": ["block"]})");
  EXPECT_EQ(WithCurrentFieldNames(R"({"zeroPermille":1,"blocks":2,"ablock":3,"block"
  :4})"),
            R"({"sparsityPermille":1,"blocks":2,"ablock":3,"layer"
  :4})");
  // Text that is not JSON is the parser's to refuse.
  for (const char* text : {"", "\"", "{\"block\\", "\"block", "block:", "\"block\""}) {
    EXPECT_EQ(WithCurrentFieldNames(text), text);
  }
}

TEST(JsonNamesTest, ASummaryBesideTheFieldsIsIgnored) {
  std::string json = Json(SmallPlan(2));
  const std::string fields = json;
  json.insert(json.find('{') + 1, R"("summary": {"components": [1, {"summary": "}"}]},)");
  const auto read = ParsePlan(json, "shown.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializePlan(*read), SerializePlan(SmallPlan(2)));
  EXPECT_EQ(WithoutSummary(fields), fields);
  // Elsewhere it is an unknown field, and text that is not JSON is the parser's to refuse.
  for (const char* text : {R"({"model":{"summary":1}})", R"({"summary": })", R"(["summary"])"}) {
    EXPECT_EQ(WithoutSummary(text), text);
  }
}

}  // namespace
}  // namespace bitbudget
