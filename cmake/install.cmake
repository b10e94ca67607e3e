# `cmake --install` puts the command, its manual page and shell completions into place, the library with
# its header and what finds it (CMake, pkg-config), and the Python module; `cpack` makes a Debian package
# of them. Page and completions come from the command that was built.
include(CMakePackageConfigHelpers)

install(TARGETS bitbudget RUNTIME)
set(generated ${PROJECT_BINARY_DIR}/install)
install(CODE "
  function(bitbudget_print file)
    execute_process(COMMAND $<TARGET_FILE:bitbudget> \${ARGN}
      OUTPUT_FILE ${generated}/\${file} COMMAND_ERROR_IS_FATAL ANY)
  endfunction()
  file(MAKE_DIRECTORY ${generated})
  bitbudget_print(bitbudget.1 manual)
  bitbudget_print(bitbudget completion bash)
  bitbudget_print(_bitbudget completion zsh)
")
install(FILES ${generated}/bitbudget.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${generated}/bitbudget DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${generated}/_bitbudget DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES plans/plan.proto DESTINATION ${CMAKE_INSTALL_DATADIR}/bitbudget)

if(TARGET bitbudget_api)
  set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/bitbudget)
  set_target_properties(bitbudget_api PROPERTIES INSTALL_RPATH "")
  install(TARGETS bitbudget_api EXPORT bitbudgetTargets LIBRARY)
  install(TARGETS bitbudget_sentencepiece_plugin LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/bitbudget)
  install(DIRECTORY tools/api/bitbudget TYPE INCLUDE)
  install(EXPORT bitbudgetTargets NAMESPACE bitbudget:: DESTINATION ${package_folder}
    FILE bitbudgetConfig.cmake)
  write_basic_package_version_file(${generated}/bitbudgetConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
  install(FILES ${generated}/bitbudgetConfigVersion.cmake DESTINATION ${package_folder})
  file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  configure_file(cmake/bitbudget.pc.in ${generated}/bitbudget.pc @ONLY)
  install(FILES ${generated}/bitbudget.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

if(TARGET bitbudget_python)
  # Where Debian's python3 looks, below /usr; for other prefixes PYTHONPATH names it.
  set(BITBUDGET_PYTHON_DIR lib/python3/dist-packages CACHE STRING "Where the Python module is installed")
  file(RELATIVE_PATH library_folder /${BITBUDGET_PYTHON_DIR} /${CMAKE_INSTALL_LIBDIR})
  set_target_properties(bitbudget_python PROPERTIES INSTALL_RPATH "$ORIGIN/${library_folder}")
  install(TARGETS bitbudget_python LIBRARY DESTINATION ${BITBUDGET_PYTHON_DIR})
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME bitbudget)
set(CPACK_PACKAGE_CONTACT "The bitbudget authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "fits a language model into a memory budget")
set(CPACK_PACKAGE_DESCRIPTION
  "Decides which bit width, block format or sparsity every weight matrix of a language model gets,\nproves the decision by running it, and writes a plan that llama.cpp and other quantizers execute.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# The package's own library, which no package provides before this one is installed.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/tools/api)
if(TARGET bitbudget_python)
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS python3)
endif()
include(CPack)
