/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/value.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        int64_t decimal = -1, binary = -1, usec = -1, flag = -1;
        bool is_decimal = value_parse(&(ValueType){VALUE_SIZE}, text, &decimal);
        bool is_binary = value_parse(&(ValueType){VALUE_BINARY_SIZE}, text, &binary);
        /* The unit changes the value, which may become too large, but not the grammar. */
        if (is_binary)
                g_assert_true(is_decimal);
        if (is_decimal)
                g_assert_cmpint(decimal, >=, 0);
        if (is_binary)
                g_assert_cmpint(binary, >=, decimal);
        if (value_parse(&(ValueType){VALUE_DURATION}, text, &usec))
                g_assert_cmpint(usec, >=, 0);
        if (value_parse(&(ValueType){VALUE_BOOL}, text, &flag))
                g_assert_cmpuint(strlen(text), <=, strlen("false"));
        return 0;
}
