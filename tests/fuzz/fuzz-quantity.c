#include "base/quantity.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        int64_t decimal = -1, binary = -1, usec = -1;
        bool is_decimal = quantity_parse_size(text, 1000, &decimal);
        bool is_binary = quantity_parse_size(text, 1024, &binary);
        /* Which unit it is changes the value, and that may be too large, but not the grammar. */
        if (is_binary)
                g_assert_true(is_decimal);
        if (is_decimal)
                g_assert_cmpint(decimal, >=, 0);
        if (is_binary)
                g_assert_cmpint(binary, >=, decimal);
        if (quantity_parse_duration(text, &usec))
                g_assert_cmpint(usec, >=, 0);
        bool value;
        if (quantity_parse_bool(text, &value))
                g_assert_cmpuint(strlen(text), <=, strlen("false"));
        return 0;
}
