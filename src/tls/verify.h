/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Verification of the server's certificate. */

#include "tls/session.h"

/* For gnutls_session_set_verify_function; gnutls_session_get_ptr returns the Session, whose `refusal` gets
 * the reason. Returns 0 or an error of GnuTLS. */
int verify_server(gnutls_session_t tls);

/* Returns true if the host is a numeric address. */
bool verify_is_address(const char *host);
