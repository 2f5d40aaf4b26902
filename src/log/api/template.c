/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/template.h"

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>
#include <string.h>

/* Limits for templates from annotations and files. */
#define TEXT_MAX  4096
#define WIDTH_MAX 256
#define DEPTH_MAX 16
#define ARGS_MAX  16

typedef enum {
        TEXT,
        NUMBER,
        LIST,
} Kind;

typedef struct {
        Kind kind;
        char *text;
        gint64 number;
        char **list;
} Value;

typedef struct {
        const char *at;
        const LogTemplateFields *fields;
        bool only_check; /* the values are not the real ones */
        unsigned depth;
        GError **error;
} Parser;

static void
value_clear(Value *v)
{
        g_free(v->text);
        g_strfreev(v->list);
        *v = (Value){0};
}

G_GNUC_PRINTF(2, 3)
static bool
fail(Parser *p, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        return error_set(p->error, CONMON_ERROR_USAGE, "%s", text);
}

/* Takes ownership of the text. */
static bool
return_text(Parser *p, char *text, Value *ret)
{
        *ret = (Value){.kind = TEXT, .text = text};
        if (strlen(text) <= TEXT_MAX)
                return true;
        value_clear(ret);
        return fail(p, "it makes a text of more than %d bytes", TEXT_MAX);
}

/* Placeholder values must not cause errors. */
static bool
fail_value(Parser *p, const char *what, Value *ret)
{
        return p->only_check ? return_text(p, g_strdup(""), ret) : fail(p, "%s", what);
}

static char *
print_value(const Value *v)
{
        if (v->kind == TEXT)
                return g_strdup(v->text);
        if (v->kind == NUMBER)
                return g_strdup_printf("%" G_GINT64_FORMAT, v->number);
        g_autofree char *joined = g_strjoinv(" ", v->list);
        return g_strconcat("[", joined, "]", NULL);
}

/* ---- functions; their arguments have the kinds that the table below says ---- */

static bool
call_json(Parser *p, const Value *args, size_t n, Value *ret)
{
        GString *json = g_string_new(args->kind == LIST ? "[" : NULL);
        if (args->kind == TEXT)
                json_append_string(json, args->text, strlen(args->text));
        else if (args->kind == NUMBER)
                g_string_append_printf(json, "%" G_GINT64_FORMAT, args->number);
        for (char **element = args->list; element && *element; element++) {
                g_string_append(json, element == args->list ? "" : ",");
                json_append_string(json, *element, strlen(*element));
        }
        g_string_append(json, args->kind == LIST ? "]" : "");
        return return_text(p, g_string_free(json, FALSE), ret);
}

/* Between all bytes, if there is no separator. */
static bool
call_split(Parser *p, const Value *args, size_t n, Value *ret)
{
        const char *text = args[0].text, *separator = args[1].text;
        if (*separator) {
                *ret = (Value){.kind = LIST, .list = g_strsplit(text, separator, -1)};
                return true;
        }
        size_t len = strlen(text);
        *ret = (Value){.kind = LIST, .list = g_new0(char *, len + 1)};
        for (size_t i = 0; i < len; i++)
                ret->list[i] = g_strndup(text + i, 1);
        return true;
}

static bool
call_join(Parser *p, const Value *args, size_t n, Value *ret)
{
        return return_text(p, g_strjoinv(args[1].text, args[0].list), ret);
}

static bool
call_lower(Parser *p, const Value *args, size_t n, Value *ret)
{
        return return_text(p, g_ascii_strdown(args->text, -1), ret);
}

static bool
call_upper(Parser *p, const Value *args, size_t n, Value *ret)
{
        return return_text(p, g_ascii_strup(args->text, -1), ret);
}

static bool
call_title(Parser *p, const Value *args, size_t n, Value *ret)
{
        char *text = g_strdup(args->text);
        bool first = true;
        for (char *c = text; *c; c++) {
                if (first)
                        *c = g_ascii_toupper(*c);
                first = !g_ascii_isalnum(*c) && *c != '_' && *c != '\'' && !(*c & 0x80);
        }
        return return_text(p, text, ret);
}

/* Blanks before and after a text that is not empty. */
static bool
call_pad(Parser *p, const Value *args, size_t n, Value *ret)
{
        gint64 before = args[1].number, after = args[2].number;
        if (before < 0 || after < 0 || before > WIDTH_MAX || after > WIDTH_MAX)
                return fail(p, "pad adds from 0 to %d blanks", WIDTH_MAX);
        if (!*args->text)
                return return_text(p, g_strdup(""), ret);
        return return_text(p, g_strdup_printf("%*s%s%*s", (int)before, "", args->text, (int)after, ""), ret);
}

static bool
call_truncate(Parser *p, const Value *args, size_t n, Value *ret)
{
        if (args[1].number < 0)
                return fail(p, "truncate needs a length of at least 0");
        return return_text(p, g_strndup(args->text, (size_t)args[1].number), ret);
}

static bool
call_print(Parser *p, const Value *args, size_t n, Value *ret)
{
        GString *text = g_string_new(NULL);
        for (size_t i = 0; i < n; i++) {
                g_autofree char *part = print_value(&args[i]);
                bool blank = i > 0 && args[i - 1].kind != TEXT && args[i].kind != TEXT;
                g_string_append_printf(text, "%s%s", blank ? " " : "", part);
        }
        return return_text(p, g_string_free(text, FALSE), ret);
}

static bool
call_println(Parser *p, const Value *args, size_t n, Value *ret)
{
        GString *text = g_string_new(NULL);
        for (size_t i = 0; i < n; i++) {
                g_autofree char *part = print_value(&args[i]);
                g_string_append_printf(text, "%s%s", i > 0 ? " " : "", part);
        }
        g_string_append_c(text, '\n');
        return return_text(p, g_string_free(text, FALSE), ret);
}

static bool
call_len(Parser *p, const Value *args, size_t n, Value *ret)
{
        if (args->kind == NUMBER)
                return fail(p, "len needs a text or a list");
        size_t len = args->kind == LIST ? g_strv_length(args->list) : strlen(args->text);
        *ret = (Value){.kind = NUMBER, .number = (gint64)len};
        return true;
}

static bool
call_index(Parser *p, const Value *args, size_t n, Value *ret)
{
        gint64 i = args[1].number;
        if (i < 0 || i >= g_strv_length(args[0].list))
                return fail_value(p, "index asks for an element that the list does not have", ret);
        return return_text(p, g_strdup(args[0].list[i]), ret);
}

/* One or two indices. */
static bool
call_slice(Parser *p, const Value *args, size_t n, Value *ret)
{
        gint64 len = (gint64)strlen(args->text), from = args[1].number, to = n > 2 ? args[2].number : len;
        if (from < 0 || from > to || to > len)
                return fail_value(p, "slice asks for bytes that the text does not have", ret);
        return return_text(p, g_strndup(args->text + from, (size_t)(to - from)), ret);
}

/* One % of printf with its argument. *format is after the %, and then after the verb. */
static bool
format_value(Parser *p, const char **format, const Value *v, GString *out)
{
        const char *spec = *format;
        size_t flags = strspn(spec, "-0"), width = strspn(spec + flags, "0123456789"), point = 0;
        if (spec[flags + width] == '.')
                point = 1 + strspn(spec + flags + width + 1, "0123456789");
        char verb = spec[flags + width + point];
        gint64 columns = g_ascii_strtoll(spec + flags, NULL, 10);
        gint64 precision = point > 0 ? g_ascii_strtoll(spec + flags + width + 1, NULL, 10) : TEXT_MAX;
        if (!verb || !strchr("svdq", verb) || width > 3 || columns > WIDTH_MAX || point > 5 || !v)
                return fail(
                        p,
                        "printf knows %%s, %%v, %%d and %%q with widths of at most %d, each with an argument",
                        WIDTH_MAX);
        if ((verb == 'd') != (v->kind == NUMBER) && verb != 'v')
                return fail(p, "printf has an argument that %%%c is not for", verb);
        g_autofree char *text = print_value(v);
        g_autofree char *quoted = verb == 'q' ? g_strescape(text, NULL) : NULL;
        g_autofree char *whole =
                quoted ? g_strconcat("\"", quoted, "\"", NULL) : g_strndup(text, (size_t)precision);
        bool zeros = memchr(spec, '0', flags) && !memchr(spec, '-', flags);
        gint64 fill = MAX(columns - (gint64)strlen(whole), 0);
        g_autofree char *filling = g_strnfill((gsize)fill, zeros ? '0' : ' ');
        bool left = memchr(spec, '-', flags);
        g_string_append_printf(out, "%s%s", left ? whole : filling, left ? filling : whole);
        *format = spec + flags + width + point + 1;
        return true;
}

static bool
call_printf(Parser *p, const Value *args, size_t n, Value *ret)
{
        g_autoptr(GString) out = g_string_new(NULL);
        size_t next = 1;
        for (const char *at = args->text; *at;) {
                if (*at != '%' || at[1] == '%') {
                        g_string_append_c(out, *at);
                        at += *at == '%' ? 2 : 1;
                        continue;
                }
                at++;
                if (!format_value(p, &at, next < n ? &args[next] : NULL, out))
                        return false;
                next++;
        }
        if (next < n)
                return fail(p, "printf has more arguments than places for them");
        return return_text(p, g_strdup(out->str), ret);
}

/* The kinds of the arguments: Text, Number, List, or ? for any; the last one applies to all that follow. */
static const struct {
        const char *name;
        const char *kinds;
        size_t min, max;
        bool (*call)(Parser *p, const Value *args, size_t n, Value *ret);
} functions[] = {
        {"index", "LN", 2, 2, call_index},
        {"join", "LT", 2, 2, call_join},
        {"json", "?", 1, 1, call_json},
        {"len", "?", 1, 1, call_len},
        {"lower", "T", 1, 1, call_lower},
        {"pad", "TNN", 3, 3, call_pad},
        {"print", "?", 1, ARGS_MAX, call_print},
        {"printf", "T?", 1, ARGS_MAX, call_printf},
        {"println", "?", 0, ARGS_MAX, call_println},
        {"slice", "TNN", 2, 3, call_slice},
        {"split", "TT", 2, 2, call_split},
        {"title", "T", 1, 1, call_title},
        {"truncate", "TN", 2, 2, call_truncate},
        {"upper", "T", 1, 1, call_upper},
};

/* ---- parsing ---- */

static void
skip_blanks(Parser *p)
{
        p->at += strspn(p->at, " \t\r\n");
}

static const char word_chars[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_";

/* "text" with the escapes of C, or `text` as it is. */
static bool
read_text(Parser *p, Value *ret)
{
        char quote = *p->at;
        const char *start = p->at + 1, *end = start;
        while (*end && *end != quote)
                end += quote == '"' && *end == '\\' && end[1] ? 2 : 1;
        if (!*end)
                return fail(p, "a text in it has no end");
        p->at = end + 1;
        g_autofree char *raw = g_strndup(start, (size_t)(end - start));
        return return_text(p, quote == '"' ? g_strcompress(raw) : g_steal_pointer(&raw), ret);
}

static bool
read_number(Parser *p, Value *ret)
{
        char *end = NULL;
        *ret = (Value){.kind = NUMBER, .number = g_ascii_strtoll(p->at, &end, 10)};
        p->at = end;
        return true;
}

static bool
read_field(Parser *p, Value *ret)
{
        size_t len = 1 + strspn(p->at + 1, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.");
        g_autofree char *name = g_strndup(p->at, len);
        p->at += len;
        char *value = p->fields->get(name, p->fields->data);
        return value ? return_text(p, value, ret)
                     : fail(p, "there is no field %s; fields are %s", name, p->fields->names);
}

static bool read_pipeline(Parser *p, Value *ret);

/* True if an argument begins here. */
static bool
has_operand(const Parser *p)
{
        return *p->at && (strchr(".\"`(", *p->at) || g_ascii_isdigit(*p->at) ||
                          (*p->at == '-' && g_ascii_isdigit(p->at[1])));
}

static bool
read_operand(Parser *p, Value *ret)
{
        if (*p->at == '"' || *p->at == '`')
                return read_text(p, ret);
        if (*p->at == '.')
                return read_field(p, ret);
        if (*p->at != '(')
                return read_number(p, ret);
        p->at++;
        if (!read_pipeline(p, ret))
                return false;
        if (*p->at == ')') {
                p->at++;
                return true;
        }
        value_clear(ret);
        return fail(p, "a parenthesis has no end");
}

static bool
call(Parser *p, size_t function, const Value *args, size_t n, Value *ret)
{
        const char *name = functions[function].name, *kinds = functions[function].kinds;
        if (n < functions[function].min || n > functions[function].max)
                return fail(p, "%s has %zu arguments", name, n);
        for (size_t i = 0; i < n; i++) {
                if (*kinds != '?' && *kinds != "TNL"[args[i].kind])
                        return fail(p, "argument %zu of %s must be a %s", i + 1, name,
                                    *kinds == 'T'   ? "text"
                                    : *kinds == 'N' ? "number"
                                                    : "list");
                kinds += kinds[1] != '\0';
        }
        return functions[function].call(p, args, n, ret);
}

/* Reads the arguments of a function; the value from the left of a |, if there is one, comes last. */
static bool
read_call(Parser *p, const Value *piped, Value *ret)
{
        size_t len = strspn(p->at, word_chars), i = 0, n = 0;
        g_autofree char *name = g_strndup(p->at, len > 0 ? len : strcspn(p->at, " }"));
        while (i < G_N_ELEMENTS(functions) && strcmp(functions[i].name, name) != 0)
                i++;
        if (i == G_N_ELEMENTS(functions))
                return fail(p,
                            "'%s' is not supported; functions are index, join, json, len, lower, pad, print, "
                            "printf, println, slice, split, title, truncate and upper",
                            name);
        p->at += len;
        Value args[ARGS_MAX + 1] = {0};
        bool ok = true;
        for (skip_blanks(p); ok && n < ARGS_MAX && has_operand(p); skip_blanks(p))
                if ((ok = read_operand(p, &args[n])))
                        n++;
        size_t own = n;
        if (piped)
                args[n++] = *piped;
        ok = ok && call(p, i, args, n, ret);
        for (size_t k = 0; k < own; k++)
                value_clear(&args[k]);
        return ok;
}

static bool
read_command(Parser *p, const Value *piped, Value *ret)
{
        skip_blanks(p);
        if (!has_operand(p))
                return read_call(p, piped, ret);
        if (piped)
                return fail(p, "what follows a | must be a function");
        return read_operand(p, ret);
}

static bool
read_commands(Parser *p, Value *ret)
{
        if (!read_command(p, NULL, ret))
                return false;
        for (skip_blanks(p); *p->at == '|'; skip_blanks(p)) {
                Value left = *ret;
                p->at++;
                bool ok = read_command(p, &left, ret);
                value_clear(&left);
                if (!ok)
                        return false;
        }
        return true;
}

static bool
read_pipeline(Parser *p, Value *ret)
{
        if (p->depth == DEPTH_MAX)
                return fail(p, "it has more than %d parentheses within each other", DEPTH_MAX);
        p->depth++;
        bool ok = read_commands(p, ret);
        p->depth--;
        return ok;
}

/* From after "{{" to after "}}". */
static bool
read_action(Parser *p, GString *out)
{
        Value value;
        if (p->at[0] == '-' && g_ascii_isspace(p->at[1])) {
                p->at++;
                while (out->len > 0 && g_ascii_isspace(out->str[out->len - 1]))
                        g_string_truncate(out, out->len - 1);
        }
        if (!read_pipeline(p, &value))
                return false;
        g_autofree char *text = print_value(&value);
        value_clear(&value);
        g_string_append(out, text);
        bool trims = *p->at == '-';
        p->at += trims;
        if (!g_str_has_prefix(p->at, "}}"))
                return fail(p, "a {{ has no }} where it should be");
        p->at += 2;
        if (trims)
                skip_blanks(p);
        return out->len <= TEXT_MAX || fail(p, "it makes a text of more than %d bytes", TEXT_MAX);
}

static char *
expand(const char *template, Parser *p)
{
        g_autoptr(GString) out = g_string_new(NULL);
        p->at = template;
        for (const char *open; (open = strstr(p->at, "{{"));) {
                g_string_append_len(out, p->at, open - p->at);
                p->at = open + 2;
                if (!read_action(p, out))
                        return NULL;
        }
        g_string_append(out, p->at);
        return g_strdup(out->str);
}

gboolean
log_template_check(const char *template, const LogTemplateFields *fields, GError **error)
{
        Parser p = {.fields = fields, .only_check = true, .error = error};
        g_autofree char *text = expand(template, &p);
        return text != NULL;
}

char *
log_template_expand(const char *template, const LogTemplateFields *fields, GError **error)
{
        Parser p = {.fields = fields, .error = error};
        return expand(template, &p);
}
