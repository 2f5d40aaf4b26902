/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The protocol between the monitor, which links no TLS library, and conmon-tls, which makes one TLS
 * connection for it.
 *
 * The monitor starts the program without arguments. Descriptor TLS_HELPER_FD is the program's end of a
 * socketpair (AF_UNIX, SOCK_STREAM). The monitor may send the request at once.
 *
 * The request is a list of strings "KEY=VALUE", each terminated by a NUL. An empty string ends the list.
 *
 *   protocol  TLS_HELPER_PROTOCOL; the first one
 *   host      a host name, or an IPv4 or IPv6 address without brackets; the server's certificate must have
 *             it as a subjectAltName
 *   port      a number
 *   ca        a file with CA certificates (PEM); without it the system's trust store is used
 *   cert, key files with the client's certificate, which may be followed by its issuers' certificates, and
 *             with its key (PEM); both or none
 *   verify    "no": the server's certificate is not verified. Any other value is an error
 *   addresses those of the host, from an earlier answer, separated by spaces. They are used if the name
 *             server does not answer
 *
 * An answer is a TlsAnswer. recvmsg(2) gets all of it or nothing. Its modes:
 *
 *   TLS_CONNECTED  The server has accepted the connection, and the handshake begins. Another answer follows:
 *                  this one again if the handshake fails and the host has further addresses.
 *   TLS_FAILED     `reason` says why; the program has exited.
 *   TLS_KERNEL     The answer comes with a descriptor (SCM_RIGHTS): a non-blocking TCP socket with kernel
 *                  TLS. The program has exited.
 *   TLS_PROXY      The kernel does not support it. From now on the socketpair is the connection: the program
 *                  passes bytes between it and the server. When the server closes the connection, the monitor
 *                  reads the end. When the monitor closes or shuts down its side, the program sends what is
 *                  still in flight and close_notify, and then exits, also if the monitor has exited.
 *                  The answer comes with the TCP socket to the server, too, so that the monitor can query
 *                  what was acknowledged (SIOCOUTQ, TCP_INFO) and set options; it must not read or write it.
 *                  Every byte is in at least one of the two sockets: the program removes it from the
 *                  socketpair only after it has written it to the TCP socket. For a while it may be in both:
 *                  what they hold together is an upper bound of what was not acknowledged.
 *
 * If the socketpair ends before the last answer, the program was not started or has crashed. If the monitor
 * closes its side before that, the program exits. */

#include <stdint.h>

#define TLS_HELPER_FD       3
#define TLS_HELPER_PROTOCOL "1"

/* Limits. Sizes are bytes, including the NUL; times are milliseconds.
 *
 *   request                  16384  three paths of PATH_MAX, a name, and some space
 *   reason, addresses          952  long lists of names are truncated
 *   resolving the name       10000
 *   the same, with addresses  2000  then these are tried while the look-up continues
 *   connecting                2000  to an address
 *   the same, the last one   10000
 *   TLS handshake            15000  with an address
 *   alert after it             500  in TLS 1.3 the server refuses the client's certificate only after the
 *                                   handshake; this is how long the program waits if the server requested one
 *   the end of a proxy       10000  for data and close_notify after the monitor has closed its side
 *   proxy's buffers          65536  to the server: four records, so that the processes take turns less often
 *                            16384  from the server: the largest record
 *
 * The monitor, which has the TCP socket, detects a server that has vanished. */
#define TLS_HELPER_REQUEST_MAX   16384
#define TLS_HELPER_TEXT_MAX      952
#define TLS_HELPER_LOOKUP_MS     10000
#define TLS_HELPER_STALE_MS      2000
#define TLS_HELPER_NEXT_MS       2000
#define TLS_HELPER_CONNECT_MS    10000
#define TLS_HELPER_HANDSHAKE_MS  15000
#define TLS_HELPER_ALERT_MS      500
#define TLS_HELPER_END_MS        10000
#define TLS_HELPER_UP_BUFFER     65536
#define TLS_HELPER_DOWN_BUFFER   16384

typedef enum {
        TLS_FAILED,
        TLS_KERNEL,
        TLS_PROXY,
        TLS_CONNECTED,
} TlsMode;

/* All strings are terminated by a NUL. */
typedef struct TlsAnswer {
        uint32_t mode;
        uint32_t error; /* of TLS_FAILED, an errno: ENOENT unknown host, EKEYREJECTED certificate not
                           accepted, EPROTO handshake failed, EINVAL invalid request or file, or that of
                           resolving or connecting */
        char version[16]; /* of TLS_KERNEL and TLS_PROXY: "TLS1.3", */
        char cipher[48];  /* and "AES-256-GCM" */
        union {
                char reason[TLS_HELPER_TEXT_MAX];    /* of TLS_FAILED; no full stop */
                char addresses[TLS_HELPER_TEXT_MAX]; /* of these two: those of the host */
        };
} TlsAnswer;

_Static_assert(sizeof(TlsAnswer) == 1024, "programs of different builds may exchange it");
