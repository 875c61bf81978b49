# SPDX-License-Identifier: MIT
#
# page/ as a C file, so that the simulated provider needs no files at run time. With -P it writes that
# file; included, it makes it a source of the library.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${CMAKE_CURRENT_LIST_DIR}/page/*)
  set(bytes "")
  set(table "")
  set(i 0)
  foreach(file IN LISTS files)
    cmake_path(GET file FILENAME name)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1," hex "${hex}")
    string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" hex
                         "${hex}")
    string(APPEND bytes "static const unsigned char file_${i}[] = {\n${hex}};\n")
    string(APPEND table "    {\"${name}\", file_${i}, sizeof file_${i}},\n")
    math(EXPR i "${i} + 1")
  endforeach()
  file(WRITE ${OUT} "#include \"provider/sim_page.h\"\n${bytes}"
                    "const struct sim_page_file sim_page_files[] = {\n${table}};\n"
                    "const size_t sim_page_file_count = ${i};\n")
  return()
endif()

file(GLOB page CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/page/*)
set(page_source ${PROJECT_BINARY_DIR}/sim_page_files.c)
add_custom_command(
  OUTPUT ${page_source}
  COMMAND ${CMAKE_COMMAND} -D OUT=${page_source} -P ${CMAKE_CURRENT_LIST_DIR}/page.cmake
  DEPENDS ${page} ${CMAKE_CURRENT_LIST_DIR}/page.cmake)
target_sources(lk_simprovider_objects PRIVATE ${page_source})
