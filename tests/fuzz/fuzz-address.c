/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/address.h"
#include "log/net/resolver.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_autoptr(GError) error = NULL;
        LogAddress a = {0};
        struct sockaddr_storage numeric;
        gboolean ok =
                log_address_parse("driver", "option", text, (1 << N_LOG_SCHEMES) - 1, 1234, &a, &error);
        g_assert_cmpint(ok, ==, error == NULL);
        if (ok) {
                g_assert_cmpint(a.scheme, <, N_LOG_SCHEMES);
                g_assert_nonnull(a.host);
                g_assert_cmpstr(a.host, !=, "");
                g_assert_nonnull(strstr(text, a.host));
                if (a.scheme == LOG_SCHEME_TCP || a.scheme == LOG_SCHEME_UDP)
                        g_assert_cmpuint(a.port, >, 0);
                log_address_clear(&a);
        }
        (void)log_resolver_numeric(text, 80, &numeric);
        return 0;
}
