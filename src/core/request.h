/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Requests on the ctl FIFO that are answered, with the object "request" in log-status.json. Lines after such
 * a request wait until it is answered, so that a status requested after it has the result. */

#include "base/watch.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Monitor Monitor;

typedef struct Request {
        const char *kind; /* of the last one, as conmonctl(1) names it; NULL: there was none */
        bool answered;
        char *failure;       /* the error message; NULL: success */
        int64_t answered_ns; /* on the wall clock */
        Timer start;
        TimerFunc run;
        unsigned postponed; /* how often */
} Request;

/* Calls `run` with the monitor when no other callback is running, and if possible not in the stand-in. `run`,
 * or what it starts, calls request_answer once. */
void request_begin(Monitor *m, const char *kind, TimerFunc run);

/* The request succeeded (NULL), or failed with this message. Takes ownership of the message. */
void request_answer(Monitor *m, char *failure);

/* Appends `,"request":{...}` for an answered request. */
void request_describe(const Request *r, GString *json);

void request_done(Request *r);
