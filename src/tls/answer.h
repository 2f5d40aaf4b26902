/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The answer to the monitor. */

#include "tls/protocol.h"

/* Answers TLS_FAILED with this reason and exits. `error` is an errno. */
_Noreturn void answer_failure(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same in two steps: composes the answer, and sends it. */
void answer_compose_failure(TlsAnswer *ret, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
_Noreturn void answer_send_failure(const TlsAnswer *answer);

/* Sends TLS_CONNECTED. */
void answer_connected(void);

/* Sends an answer of TLS_KERNEL or TLS_PROXY with the TCP socket. Exits if that fails. */
void answer_success(const TlsAnswer *answer, int fd);
