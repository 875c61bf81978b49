// SPDX-License-Identifier: MIT
#include <unistd.h>

#include "app/commands.h"

int main(int argc, char **argv) {
    return commands_run(argc, argv, environ);
}
