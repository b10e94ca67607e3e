// Debian's libsentencepiece carries an older protobuf. This program uses both; see
// cmake/protobuf_beside_sentencepiece.cmake for what keeps them apart.

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace bitbudget {
namespace {

void UseProtobuf() {
  namespace pb = google::protobuf;
  pb::Struct message;
  for (int i = 0; i < 20; ++i) {
    pb::Value value;
    value.mutable_list_value()->add_values()->set_number_value(i);
    value.mutable_list_value()->add_values()->set_string_value(std::string(10 * i, 'x'));
    (*message.mutable_fields())[std::to_string(i)] = value;
  }
  pb::Struct copy;
  ASSERT_TRUE(copy.ParseFromString(message.SerializeAsString()));
  EXPECT_FALSE(copy.ParseFromString(message.SerializeAsString().substr(0, 100)));
  std::string json;
  ASSERT_TRUE(pb::util::MessageToJsonString(message, &json).ok());
  copy.Clear();
  ASSERT_TRUE(pb::util::JsonStringToMessage(json, &copy).ok());
  std::string text;
  ASSERT_TRUE(pb::TextFormat::PrintToString(copy, &text));
  ASSERT_TRUE(pb::TextFormat::ParseFromString(text, &message));
  EXPECT_EQ(message.fields_size(), 20);
}

TEST(ProtobufBesideSentencePiece, BothWorkInOneProgram) {
  for (int i = 0; i < 2; ++i) {
    UseProtobuf();
    const auto tokenizer =
        OpenTokenizer(absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/novel-1m"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const std::vector<int32_t> ids = *(*tokenizer)->Encode("hello there");
    EXPECT_EQ((*tokenizer)->Decode(ids), "hello there");
  }
}

}  // namespace
}  // namespace bitbudget
