/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Privileges of a process beyond those of its user: capabilities(7), and others that it can drop.
 *
 * Lowering keeps the permitted set. This is not a weakness: an attacker who controls a root process gets the
 * whole bounding set by executing any program, and the bounding set can't be lowered, because programs that
 * callers run need it. It is even required: a process with few permitted capabilities can be traced
 * (ptrace(2)) by every process of the same user that has these few, such as a container that sees the host's
 * processes. */

#include <linux/capability.h>
#include <stdint.h>

/* Sets of capabilities are bits. */
#define RIGHT(capability) (UINT64_C(1) << (capability))

/* Limits the effective capabilities to those in `keep`. Programs that the process executes still get all
 * permitted ones. A failure changes nothing. */
void rights_lower(uint64_t keep);

/* Makes all permitted capabilities effective again. Returns the previously effective ones, for
 * rights_lower. */
uint64_t rights_raise(void);

/* Programs that the process executes can't get privileges that it does not have (PR_SET_NO_NEW_PRIVS). */
void rights_seal(void);

/* For a child of the monitor: permanently drops all capabilities but `keep`, also for programs that it
 * executes, disables new privileges, and disables core dumps, which could contain the monitor's memory or the
 * container's output. */
void rights_give_up(uint64_t keep);
