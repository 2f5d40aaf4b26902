/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Keeps the main loop running while its thread is blocked in a call on a file.
 *
 * A call on a file whose disk is frozen, or whose server is down, blocks. No signal interrupts it, and files
 * have no non-blocking mode. So the main thread makes such calls between stand_in_lend and
 * stand_in_take_back. Meanwhile a second thread checks how long they take. After 200 ms, in one call or in
 * several slow ones, that thread runs the loop until the call returns, like a nested loop inside that call.
 * From then on it does so after 10 to 20 ms, until no call has been slow for a second.
 *
 * There are two threads then, but only one of them runs, except for the call itself: no lock is needed. The
 * functions on the stack above the call must allow a nested loop at that point.
 *
 * Without a stall, a call costs two atomic instructions. The thread is started by the first call and ends a
 * second after the last one; once it has run the loop, it only sleeps, because a child that it has started
 * may be told when it ends (PR_SET_PDEATHSIG). While it runs the loop it uses one descriptor, to be woken up
 * when the call returns; if there is none, it looks every 20 ms. */

#include <glib.h>
#include <stdbool.h>

typedef struct StandIn StandIn;

/* Runs the loop, in the second thread, until stand_in_is_over. */
typedef void (*StandInFunc)(void *data);

StandIn *stand_in_new(StandInFunc serve, void *data);

/* Allows the stand-in, or forbids it for good; it is not allowed initially. Without it calls just block. The
 * thread gets the privileges that the main thread has when it is started. */
void stand_in_allow(StandIn *s, bool allowed);

/* To be called before and after calls that may block. Between the two, the main thread may use only data that
 * no callback of the loop uses. The second function gets the result of the first, which is NULL in the
 * stand-in itself and if s is NULL: then the calls just block. It does not change errno. */
StandIn *stand_in_lend(StandIn *s);
void stand_in_take_back(StandIn *lent);

/* Ends the thread, until the next call: none of its locks is held any more, so fork(2) is possible. Not to be
 * called in the stand-in. */
void stand_in_rest(StandIn *s);

/* True while the loop is run by the stand-in. */
bool stand_in_serves(const StandIn *s);

/* For the stand-in: true when the call has returned, and the main thread waits to continue. */
bool stand_in_is_over(const StandIn *s);

/* Waits for the end of the thread, and frees. NULL is allowed. */
void stand_in_free(StandIn *s);
