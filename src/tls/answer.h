/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The answer to the monitor. */

#include "tls/protocol.h"

/* Answers TLS_FAILED with this sentence and ends the program. `error` is an errno. */
_Noreturn void answer_failure(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same answer in two steps, for signal handlers: composes it, and sends it. */
void answer_compose_failure(TlsAnswer *ret, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
_Noreturn void answer_send_failure(const TlsAnswer *answer);

/* Sends an answer of TLS_KERNEL or TLS_PROXY with the TCP socket. Ends the program if nobody reads it. */
void answer_success(const TlsAnswer *answer, int fd);
