/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Whether the server is who it says. */

#include "tls/session.h"

/* For gnutls_session_set_verify_function; the session's pointer is the Session, whose `refusal` gets the
 * reason. Returns 0 or an error of GnuTLS. */
int verify_server(gnutls_session_t tls);

/* Of a host name or the text of an address. */
bool verify_is_address(const char *host);
