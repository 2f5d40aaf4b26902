/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The help of log drivers. */

/* The text for --log-driver help or NAME:help; NULL if it is not that, or there is no such driver. The
 * caller frees it. */
char *log_help(const char *name, const char *arg);
