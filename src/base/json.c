#include "base/json.h"

static void
append_char(GString *out, gunichar c)
{
        if (c == '"' || c == '\\')
                g_string_append_printf(out, "\\%c", (char)c);
        else if (c == '\n')
                g_string_append(out, "\\n");
        else if (c < 0x20)
                g_string_append_printf(out, "\\u%04x", c);
        else
                g_string_append_unichar(out, c);
}

void
json_append_string(GString *out, const char *text, size_t len)
{
        const char *end = text + len;
        g_string_append_c(out, '"');
        while (text < end) {
                gunichar c = g_utf8_get_char_validated(text, end - text);
                /* (gunichar)-1 and -2 are errors; a NUL is also one, or is told as 0. */
                if (*text == '\0' || c >= (gunichar)-2) {
                        append_char(out, *text == '\0' ? 0 : 0xfffd);
                        text++;
                } else {
                        append_char(out, c);
                        text = g_utf8_next_char(text);
                }
        }
        g_string_append_c(out, '"');
}
