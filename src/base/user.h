/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The user of the monitor. */

#include <stdbool.h>

/* True for an ordinary user, also for one whom podman has made root of a user namespace. */
bool user_is_ordinary(void);
