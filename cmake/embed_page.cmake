# Writes a C++ file with the page of `bitbudget explore`: page.html of FOLDER with style, scripts, D3
# and its licence in place, as a string (tools/explore/page_template.h).
#   cmake -DFOLDER=tools/explore -DD3=d3.min.js -DSCRIPTS=data.js,state.js -DOUT=file.cc -P embed_page.cmake
cmake_minimum_required(VERSION 3.25)

file(READ ${FOLDER}/page.html page)
file(READ ${FOLDER}/page.css css)
file(READ ${D3} d3)
file(READ ${FOLDER}/d3_license.txt license)
set(js "'use strict';\n")
string(REPLACE "," ";" SCRIPTS "${SCRIPTS}")
foreach(script IN LISTS SCRIPTS)
  file(READ ${FOLDER}/${script} text)
  string(APPEND js "\n${text}")
endforeach()
set(d3 "/*\n${license}*/\n${d3}")

# What would end a script or style element early, or be taken for a place to fill.
foreach(part css d3 js)
  foreach(wrong "</script" "</style" "<!--" "{{")
    string(FIND "${${part}}" "${wrong}" at)
    # D3 is minified: braces follow each other there.
    if(NOT at EQUAL -1 AND NOT (part STREQUAL "d3" AND wrong STREQUAL "{{"))
      message(FATAL_ERROR "embed_page: ${part} contains ${wrong}")
    endif()
  endforeach()
endforeach()

# D3 goes in last, so that nothing is looked for in it.
foreach(part css js d3)
  string(REPLACE "{{${part}}}" "${${part}}" page "${page}")
endforeach()

# Every byte as \xNN, 64 of them a line: nothing in the page can be mistaken for C++.
file(WRITE ${OUT}.html "${page}")
file(READ ${OUT}.html hex HEX)
file(REMOVE ${OUT}.html)
string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${hex}")
string(REPEAT "." 256 line)
string(REGEX REPLACE "(${line})" "\\1\"\n\"" bytes "${bytes}")
file(WRITE ${OUT} "// Written by cmake/embed_page.cmake.
#include \"tools/explore/page_template.h\"

namespace bitbudget {

const char kPageTemplate[] =
\"${bytes}\";
const size_t kPageTemplateSize = sizeof(kPageTemplate) - 1;

}  // namespace bitbudget
")
