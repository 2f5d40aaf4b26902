/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What the monitor and conmon-tls say to each other. conmon-tls makes one TLS connection for the monitor,
 * which links no TLS library.
 *
 * The monitor starts the program without arguments. Descriptor TLS_HELPER_FD is its end of a socketpair
 * (AF_UNIX, SOCK_STREAM). The monitor may ask at once; it reads the answer when there is one.
 *
 * The request is a list of texts, "KEY=VALUE", each with a NUL at its end. An empty text ends it.
 *
 *   protocol  TLS_HELPER_PROTOCOL; the first one
 *   host      a host name, or an IPv4 or IPv6 address without brackets; the server's certificate must have
 *             it as a subjectAltName
 *   port      a number
 *   ca        a file with the certificates of authorities (PEM); without it the system's trust store is used
 *   cert, key files with the client's certificate, which may be followed by those that issued it, and with
 *             its key (PEM); both or none
 *   verify    "no": the server's certificate is not looked at. Anything else is an error
 *   addresses from an earlier answer: those of the host, with spaces between them. They are used if the name
 *             server does not answer
 *
 * The answer is one TlsAnswer. It comes in one piece: recvmsg(2) gets all of it or nothing. What it means:
 *
 *   TLS_FAILED  `reason` says why; the program has ended.
 *   TLS_KERNEL  The answer comes with a descriptor (SCM_RIGHTS): a TCP socket whose records the kernel
 *               encrypts and decrypts. It is not blocking. The program has ended.
 *   TLS_PROXY   The kernel can't. From now on the socketpair is the connection: what the monitor writes goes
 *               to the server, and what it reads comes from there. When the server ends the connection, the
 *               monitor reads the end. When the monitor closes or shuts down its side, the server gets what
 *               is still on its way, and close_notify; the program then ends by itself, also if the monitor
 *               has gone.
 *               The answer comes with the TCP socket to the server, too, for the monitor to see what has been
 *               acknowledged (SIOCOUTQ, TCP_INFO) and to set options, but not to be read or written. No byte
 *               is missing between the two: the program takes it off the socketpair when it has written it
 *               to the TCP socket.
 *
 * An end of the socketpair before the answer means that the program was not started or has crashed. A monitor
 * that closes its side before the answer stops the program. */

#include <stdint.h>

#define TLS_HELPER_FD       3
#define TLS_HELPER_PROTOCOL "1"

/* Limits. Bytes are with the NUL, times are milliseconds.
 *
 *   request                  16384  three paths of PATH_MAX, a name, and some room
 *   reason, addresses          952  long lists of names are cut
 *   looking up the name      10000
 *   the same, with addresses  2000  after that these are tried, while the name is still looked up
 *   connecting                2000  to an address
 *   the same, the last one   10000
 *   TLS handshake            15000
 *   certificate turned down    500  how long an alert is waited for if the server asked for a certificate:
 *                                   in TLS 1.3 it comes when the handshake is over
 *   the end of a proxy       10000  how long data and close_notify may take when the monitor has gone
 *   proxy's buffers          16384  for each direction: the largest record
 *
 * Whether the server is still there is for the monitor to find out, which has the TCP socket. */
#define TLS_HELPER_REQUEST_MAX   16384
#define TLS_HELPER_TEXT_MAX      952
#define TLS_HELPER_LOOKUP_MS     10000
#define TLS_HELPER_STALE_MS      2000
#define TLS_HELPER_NEXT_MS       2000
#define TLS_HELPER_CONNECT_MS    10000
#define TLS_HELPER_HANDSHAKE_MS  15000
#define TLS_HELPER_ALERT_MS      500
#define TLS_HELPER_END_MS        10000
#define TLS_HELPER_BUFFER        16384

typedef enum {
        TLS_FAILED,
        TLS_KERNEL,
        TLS_PROXY,
} TlsMode;

/* All texts end with a NUL. */
typedef struct TlsAnswer {
        uint32_t mode;
        uint32_t error; /* of TLS_FAILED, an errno: ENOENT the name is not known, EKEYREJECTED the certificate
                           is not accepted, EPROTO no handshake, EINVAL the request or its files, or that
                           of looking up or connecting */
        char version[16]; /* "TLS1.3" */
        char cipher[48];  /* "AES-256-GCM" */
        union {
                char reason[TLS_HELPER_TEXT_MAX];    /* of TLS_FAILED; no full stop */
                char addresses[TLS_HELPER_TEXT_MAX]; /* of the others: those of the host */
        };
} TlsAnswer;

_Static_assert(sizeof(TlsAnswer) == 1024, "programs of different builds may talk to each other");
