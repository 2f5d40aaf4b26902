/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Sends a queue over a connection. Most drivers use log_connection_transport as it is; those with datagrams
 * of their own, or with work between messages, combine its parts. */

#include "log/net/connection.h"

/* The transport of drivers whose messages are sent as they are: the connection is made when there is
 * something to send. A message that is too large for a datagram is dropped. The driver's instance begins with
 * a LogConnection. */
extern const LogTransport log_connection_transport;

/* LogTransport.send of it. */
int log_connection_deliver(void *connection, LogQueue *q);

/* Sends the queue over a connection that is there. Of a connection of bytes messages are done when they have
 * arrived, datagrams when they are written and, over UDP, nobody has refused them at once. Returns 0,
 * LOG_SEND_WAIT or -errno; then the connection is closed, but for -EMSGSIZE: the first message is too large
 * for a datagram. */
int log_connection_send(LogConnection *c, LogQueue *q);

/* For drivers that write datagrams of UDP themselves: returns 0, or the -errno by which somebody has refused
 * a datagram (ICMP). */
int log_connection_refusal(LogConnection *c);

/* After a refusal, or another -errno of writing: what is not done will be sent again. Returns 0 if the host
 * has another address, which is used from now on, else -errno; then the connection is closed. */
int log_connection_refused(LogConnection *c, LogQueue *q, int r);
