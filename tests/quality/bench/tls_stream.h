/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The server's side of one TLS connection, for a receiver that only reads. Errors end the program. */

#include <stddef.h>
#include <sys/types.h>

/* Loads a certificate and its key from a PEM file that has both. */
void tls_stream_load(const char *file);

/* Completes the handshake on the blocking socket, instead of an earlier connection. */
void tls_stream_accept(int fd);

/* Reads one record. Returns its size; 0: the connection has ended. */
size_t tls_stream_read(void *data, size_t size);
