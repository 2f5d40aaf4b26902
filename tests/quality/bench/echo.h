/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* An attach client that sends requests one at a time to a container that echoes them. */

#include <stddef.h>

/* Round trips in microseconds. */
typedef struct EchoResult {
        double p50;
        double p99;
} EchoResult;

/* Connects to the attach socket. Ends the program on failure. */
int echo_connect(const char *path);

/* Waits for the byte with which the container reports that it is ready, sends `count` requests of `size`
 * bytes, each after the previous answer, ends the container with a ^D, and closes the connection. Ends the
 * program if an answer is wrong. */
void echo_run(int fd, size_t count, size_t size, EchoResult *ret);
