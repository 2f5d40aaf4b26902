/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Threads that the program can do without. g_thread_try_new aborts it unless the failure is a lack of
 * resources; but filters of system calls that are older than clone3(2) refuse it, and thus any thread, with
 * EPERM. */

#include <pthread.h>
#include <stdbool.h>

/* Starts a thread, which the caller joins with pthread_join(3). False: there is none. */
bool thread_start(pthread_t *ret_thread, const char *name, void *(*func)(void *data), void *data);
