/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Frees the pages below the current end of the main thread's stack, which earlier calls have used. */
void stack_trim(void);
