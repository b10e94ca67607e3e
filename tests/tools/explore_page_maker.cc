// Writes the page of a document: explore_page_maker TITLE JSON_FILE > page.html
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "tools/explore_page.h"

int main(int argc, char** argv) {
  std::ifstream file(argc == 3 ? argv[2] : "");
  if (!file) {
    std::cerr << "usage: explore_page_maker TITLE JSON_FILE\n";
    return 2;
  }
  const std::string json{std::istreambuf_iterator<char>(file), {}};
  std::cout << bitbudget::ExplorePage(argv[1], json);
  return std::cout.flush() ? 0 : 1;
}
