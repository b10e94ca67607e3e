#include "tools/explore_page.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "glog/logging.h"
#include "tools/explore/page_template.h"

namespace bitbudget {
namespace {

constexpr absl::string_view kTitle = "{{title}}";
constexpr absl::string_view kData = "{{data}}";

std::string HtmlText(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

// A script element ends at `</script`, and `<!--` changes where. In valid JSON `<` stands in
// strings only, where it has another spelling.
std::string JsonInScript(absl::string_view json) {
  return absl::StrReplaceAll(json, {{"<", "\\u003c"}});
}

}  // namespace

std::string ExplorePage(absl::string_view title, absl::string_view json) {
  const absl::string_view page(kPageTemplate, kPageTemplateSize);
  const size_t data = page.find(kData);
  CHECK_NE(data, absl::string_view::npos);
  // Titles stand before the data. What is filled in is not searched again.
  const std::string head = absl::StrReplaceAll(page.substr(0, data), {{kTitle, HtmlText(title)}});
  return absl::StrCat(head, JsonInScript(json), page.substr(data + kData.size()));
}

}  // namespace bitbudget
