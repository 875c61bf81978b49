# SPDX-License-Identifier: MIT
#
# The page /docs: our files and Swagger UI's, side by side in share/docs of the build, where the
# program looks for them. Without those of third_party/install there is no such page.
set(swagger ${PROJECT_SOURCE_DIR}/build/docs/node_modules/swagger-ui-dist)
set(docs ${PROJECT_BINARY_DIR}/share/docs)
foreach(file index.html docs.css docs.js)
  configure_file(share/docs/${file} ${docs}/${file} COPYONLY)
endforeach()
foreach(file swagger-ui.css swagger-ui-bundle.js LICENSE NOTICE)
  if(EXISTS ${swagger}/${file})
    configure_file(${swagger}/${file} ${docs}/${file} COPYONLY)
  else()
    file(REMOVE ${docs}/${file})
  endif()
endforeach()
install(DIRECTORY ${docs} DESTINATION share/latchkey)
