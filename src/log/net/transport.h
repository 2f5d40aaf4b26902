/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Sends a queue over a connection. Most drivers use log_connection_transport as it is; those that compose
 * datagrams themselves, or do something between messages, combine its parts. */

#include "log/net/connection.h"

/* The transport of drivers whose messages are sent as they are: the connection is established when there is
 * something to send. A message that is too large for a datagram is dropped. The driver's instance begins with
 * a LogConnection. */
extern const LogTransport log_connection_transport;

/* Its LogTransport.send. */
int log_connection_deliver(void *connection, LogQueue *q);

/* Sends the queue over an established connection. Messages over a stream are done when they have arrived,
 * datagrams when they are written and, over UDP, not refused. Returns 0, LOG_SEND_WAIT, or -errno after
 * closing the connection; at -EMSGSIZE it stays open: the first message is too large for a datagram. */
int log_connection_send(LogConnection *c, LogQueue *q);

/* For drivers that write UDP datagrams themselves: returns 0, or the -errno with which a datagram was refused
 * (ICMP). */
int log_connection_refusal(LogConnection *c);

/* To be called after a refusal or a failed write, with its -errno: what is not done will be sent again.
 * Returns 0 if the host has another address, which is used from now on; otherwise closes the connection and
 * returns -errno. */
int log_connection_refused(LogConnection *c, LogQueue *q, int r);
