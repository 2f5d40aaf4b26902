/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Live upgrade, on the side of the new program. See upgrade.h. */

#include <stdbool.h>

/* True if this process was started to take over, or to check whether it could; *ret_status is its exit
 * status. Called before anything is opened. */
bool resume_run(int argc, char **argv, int *ret_status);
