#include "plans/plan_io.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/util/json_util.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/json_names.h"
#include "plans/validate.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The tag of field 1 (format_version, never 0): the first byte of every canonical plan.
constexpr char kBinaryFirstByte = 0x08;

// JSON has no negative zero, so canonical bytes have none either.
void NormalizeZeros(Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      if (reflection.GetDouble(message, field) == 0.0) reflection.ClearField(&message, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!field->is_repeated()) {
        NormalizeZeros(*reflection.MutableMessage(&message, field));
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        NormalizeZeros(*reflection.MutableRepeatedMessage(&message, field, i));
      }
    }
  }
}

absl::Status RefuseUnknownFields(const Message& message, const std::string& name) {
  const Reflection& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name,
                     ": ",
                     std::string(message.GetDescriptor()->name()),
                     " has a field number ",
                     unknown.field(0).number(),
                     ", unknown to plan version ",
                     kPlanFormatVersion,
                     "; not a plan, or written by a newer bitbudget"));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      BB_RETURN_IF_ERROR(RefuseUnknownFields(reflection.GetMessage(message, field), name));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      BB_RETURN_IF_ERROR(
          RefuseUnknownFields(reflection.GetRepeatedMessage(message, field, i), name));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckVersion(const plans::Plan& plan, const std::string& name) {
  if (plan.format_version() == kPlanFormatVersion) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name,
                                                 ": format_version: ",
                                                 plan.format_version(),
                                                 ", but this bitbudget reads plan version ",
                                                 kPlanFormatVersion));
}

// protobuf's messages span several lines; the later ones quote the text.
std::string OneLine(absl::string_view message) {
  constexpr size_t kLongest = 200;
  std::string line;
  for (const char c : message) {
    const bool space = absl::ascii_isspace(c);
    if (space && (line.empty() || line.back() == ' ')) continue;
    line.push_back(space ? ' ' : absl::ascii_isprint(c) ? c : '?');
    if (line.size() == kLongest) break;
  }
  absl::StripTrailingAsciiWhitespace(&line);
  if (absl::EndsWith(line, " ^")) line.resize(line.size() - 2);
  return line;
}

absl::StatusOr<plans::Plan> ParseJson(absl::string_view json, const std::string& name) {
  const std::string text = WithCurrentFieldNames(WithoutSummary(json));
  google::protobuf::util::JsonParseOptions options;
  plans::Plan plan;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &plan, options);
  if (status.ok()) {
    BB_RETURN_IF_ERROR(CheckVersion(plan, name));
    return plan;
  }
  // If unknown fields are all that is wrong, a newer version is the better explanation.
  options.ignore_unknown_fields = true;
  plans::Plan newer;
  if (google::protobuf::util::JsonStringToMessage(text, &newer, options).ok() &&
      newer.format_version() > kPlanFormatVersion) {
    BB_RETURN_IF_ERROR(CheckVersion(newer, name));
  }
  const auto reason = status.message();
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": not a plan in JSON: ", OneLine(absl::string_view(reason.data(), reason.size()))));
}

absl::StatusOr<plans::Plan> ParseBinary(absl::string_view bytes, const std::string& name) {
  plans::Plan plan;
  if (!plan.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": not a plan, or cut off: its ", bytes.size(), " bytes do not parse"));
  }
  BB_RETURN_IF_ERROR(CheckVersion(plan, name));
  BB_RETURN_IF_ERROR(RefuseUnknownFields(plan, name));
  return plan;
}

}  // namespace

std::string SerializePlan(const plans::Plan& plan) {
  plans::Plan canonical = plan;
  NormalizeZeros(canonical);
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    canonical.SerializeToCodedStream(&coded);
  }
  return bytes;
}

absl::StatusOr<std::string> PlanToJson(const plans::Plan& plan) {
  const google::protobuf::LogSilencer silence;
  plans::Plan canonical = plan;
  NormalizeZeros(canonical);
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(canonical, &json, options);
  if (!status.ok()) {
    const auto reason = status.message();
    return absl::InvalidArgumentError(
        absl::StrCat("the plan cannot be written as JSON: ",
                     OneLine(absl::string_view(reason.data(), reason.size()))));
  }
  return json;
}

absl::StatusOr<plans::Plan> ParsePlan(absl::string_view contents, const std::string& name) {
  if (static_cast<int64_t>(contents.size()) > kMaxPlanFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(name,
                                                   ": not a plan: ",
                                                   contents.size(),
                                                   " bytes, but a plan has at most ",
                                                   kMaxPlanFileBytes));
  }
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(contents);
  if (text.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": empty, not a plan"));
  // No field of a plan starts with '{' or with white space, and no JSON text with byte 8.
  const bool is_json = text.front() == '{';
  if (!is_json && contents.front() != kBinaryFirstByte) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": not a plan: it starts neither like a binary plan nor like JSON"));
  }
  // protobuf logs parse errors to stderr; the status carries them instead.
  const google::protobuf::LogSilencer silence;
  absl::StatusOr<plans::Plan> plan = is_json ? ParseJson(text, name) : ParseBinary(text, name);
  if (!plan.ok()) return plan;
  const absl::Status valid = ValidatePlan(*plan);
  if (!valid.ok()) return absl::Status(valid.code(), absl::StrCat(name, ": ", valid.message()));
  return plan;
}

}  // namespace bitbudget
