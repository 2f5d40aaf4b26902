/* Syslog: the form of the local socket that Docker uses everywhere by default, BSD syslog (RFC
 * 3164), and RFC 5424. Messages end with a newline (RFC 6587, 3.4.2), but RFC 5424 over TCP has
 * its length in front (3.4.1). */

#include "base/clock.h"
#include "base/error.h"
#include "log/connection.h"
#include "log/metadata.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PORT 514

/* RFC 5424, 6. */
#define APP_NAME_MAX 48
#define MSGID_MAX    32
#define SD_NAME_MAX  32

/* Elements of our own need a number of an enterprise; this one is for documents and examples (RFC 5612). */
#define ENTERPRISE "32473"

/* rsyslog cuts messages at 8 KiB if it isn't told otherwise. */
#define RECORD_MAX 8000

/* "12345678 " */
#define COUNT_MAX 9

/* The longest text of a partial element. */
#define PARTIAL_MAX 112

typedef enum {
        FORMAT_RFC3164,
        FORMAT_RFC5424,
        FORMAT_RFC5424MICRO,
        FORMAT_LOCAL, /* RFC 3164 without host name */
} Format;

/* All that comes before the message, the structured data of a partial left out. */
typedef struct {
        int64_t time_ns;
        GString *text;
} Head;

typedef struct {
        LogConnection connection;
        Format format;
        bool counted;
        int priorities[N_STREAMS];
        ClockFormatter clock;
        Head heads[N_STREAMS];
        char *host;
        char *tag;
        char *msgid;
        char *elements;   /* structured data of the attributes; may be empty */
        char *whole_data; /* structured data of a record that is no partial, with a blank */
        size_t whole_data_len;
        size_t head_max;
} Syslog;

static const char *const facilities[] = {
        "kern",   "user",   "mail",   "daemon", "auth",   "syslog", "lpr",    "news",
        "uucp",   "cron",   "authpriv", "ftp",  "12",     "13",     "14",     "15",
        "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
};

/* Nothing at all is the local socket. */
static gboolean
parse_address(const char *text, LogAddress *ret, GError **error)
{
        unsigned all = (1u << N_LOG_TRANSPORTS) - 1;
        return !*text || log_address_parse("syslog", "syslog-address", text, all, DEFAULT_PORT, ret, error);
}

static gboolean
check_address(const char *driver, const char *text, GError **error)
{
        return parse_address(text, NULL, error);
}

static gboolean
parse_facility(const char *name, int *ret, GError **error)
{
        guint64 number;
        for (int i = 0; i < (int)G_N_ELEMENTS(facilities); i++) {
                if (strcmp(name, facilities[i]) == 0) {
                        *ret = i;
                        return TRUE;
                }
        }
        if (g_ascii_string_to_unsigned(name, 10, 0, G_N_ELEMENTS(facilities) - 1, &number, NULL)) {
                *ret = (int)number;
                return TRUE;
        }
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver syslog: option syslog-facility can't be '%s'; allowed: kern, user, "
                         "mail, daemon, "
                         "auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0 to local7, 0 to 23",
                         name);
}

static gboolean
check_facility(const char *driver, const char *name, GError **error)
{
        int number;
        return parse_facility(name, &number, error);
}

static const LogOption options[] = {
        {"syslog-address", LOG_OPTION_STRING, NULL,
         "udp://HOST[:PORT], tcp://HOST[:PORT], unix://PATH or unixgram://PATH; not set: the local socket",
         .check = check_address},
        {"syslog-facility", LOG_OPTION_STRING, "daemon", "facility: a name, or a number from 0 to 23",
         .check = check_facility},
        {"syslog-format", LOG_OPTION_ENUM, NULL, "format of messages; not set: RFC 3164 without host name",
         .choices = "rfc3164|rfc5424|rfc5424micro"},
        {NULL},
};

/* ---- opening ---- */

/* The places where a local syslog daemon listens, datagram sockets first. */
static LogAddress *
local_addresses(size_t *ret_n)
{
        static const char *const paths[] = {"/dev/log", "/var/run/syslog", "/var/run/log"};
        LogAddress *list = g_new0(LogAddress, 2 * G_N_ELEMENTS(paths));
        size_t n = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
                list[n++] = (LogAddress){.transport = LOG_TRANSPORT_UNIXGRAM, .host = g_strdup(paths[i])};
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
                list[n++] = (LogAddress){.transport = LOG_TRANSPORT_UNIX, .host = g_strdup(paths[i])};
        *ret_n = n;
        return list;
}

static gboolean
read_address(Syslog *self, const LogDriverConfig *config, GError **error)
{
        const char *text = log_options_string(config->options, "syslog-address");
        LogAddress address = {0};
        size_t n = 1;
        if (!parse_address(text ? text : "", &address, error))
                return FALSE;
        LogAddress *list = address.host ? g_new(LogAddress, 1) : local_addresses(&n);
        if (address.host)
                *list = address;
        self->counted = list->transport == LOG_TRANSPORT_TCP &&
                        (self->format == FORMAT_RFC5424 || self->format == FORMAT_RFC5424MICRO);
        log_connection_init(&self->connection, config->sink, list, n);
        return TRUE;
}

/* A copy in which every byte that could end the field early is '_'; "-" if nothing is left. */
static char *
make_safe(const char *text, size_t max, const char *forbidden)
{
        char *safe = g_strndup(text, MIN(strlen(text), max));
        for (char *c = safe; *c; c++)
                if (*c <= ' ' || *c >= 127 || strchr(forbidden, *c))
                        *c = '_';
        if (*safe)
                return safe;
        g_free(safe);
        return g_strdup("-");
}

/* RFC 5424, 6.3: " \ and ] have a backslash in front. */
static void
append_parameter(GString *out, const char *name, const char *value)
{
        g_autofree char *safe = make_safe(name, SD_NAME_MAX, "=]\"");
        g_string_append_printf(out, " %s=\"", safe);
        for (; *value; value++) {
                if (strchr("\"\\]", *value))
                        g_string_append_c(out, '\\');
                g_string_append_c(out, *value == '\n' ? ' ' : *value);
        }
        g_string_append_c(out, '"');
}

static char *
make_elements(const LogMetadata *m)
{
        GString *out = g_string_new(NULL);
        if (m->n_attributes > 0)
                g_string_append(out, "[attributes@" ENTERPRISE);
        for (size_t i = 0; i < m->n_attributes; i++)
                append_parameter(out, m->attributes[i].key, m->attributes[i].value);
        if (m->n_attributes > 0)
                g_string_append_c(out, ']');
        return g_string_free(out, FALSE);
}

static void
make_names(Syslog *self, const LogMetadata *m)
{
        bool new_style = self->format == FORMAT_RFC5424 || self->format == FORMAT_RFC5424MICRO;
        char host[256] = "";
        (void)gethostname(host, sizeof host - 1);
        self->host = make_safe(host, sizeof host - 1, "");
        self->tag = make_safe(m->tag, new_style ? APP_NAME_MAX : SIZE_MAX, new_style ? "" : "[]:");
        self->msgid = make_safe(m->tag, MSGID_MAX, "");
        self->elements = make_elements(m);
        self->whole_data = g_strconcat(*self->elements ? self->elements : "-", " ", NULL);
        self->whole_data_len = strlen(self->whole_data);
        /* Priority, version, time, pid, blanks and brackets are less than 80 bytes. */
        self->head_max =
                80 + strlen(self->host) + strlen(self->tag) + strlen(self->msgid) + strlen(self->elements);
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->heads[i].text = g_string_new(NULL);
}

static void
syslog_close(void *data)
{
        Syslog *self = data;
        if (self->connection.addresses)
                log_connection_done(&self->connection);
        for (StreamId i = 0; i < N_STREAMS; i++)
                if (self->heads[i].text)
                        g_string_free(self->heads[i].text, TRUE);
        g_free(self->host);
        g_free(self->tag);
        g_free(self->msgid);
        g_free(self->elements);
        g_free(self->whole_data);
        g_free(self);
}

static void *
syslog_open(const LogDriverConfig *config, GError **error)
{
        const LogOptions *o = config->options;
        Syslog *self = g_new0(Syslog, 1);
        int facility = 0;
        self->format = log_options_has(o, "syslog-format") ? (Format)log_options_number(o, "syslog-format")
                                                           : FORMAT_LOCAL;
        g_autoptr(LogMetadata) metadata = NULL;
        if (parse_facility(log_options_string(o, "syslog-facility"), &facility, error) &&
            read_address(self, config, error))
                metadata = log_metadata_new(config, "{{.ID}}", error);
        if (!metadata) {
                syslog_close(self);
                return NULL;
        }
        self->priorities[STREAM_STDOUT] = facility * 8 + 6;
        self->priorities[STREAM_STDERR] = facility * 8 + 3;
        make_names(self, metadata);
        return self;
}

/* ---- encoding ---- */

/* Z is what Go writes for UTC. */
static const char *
offset_of(const char *local)
{
        const char *offset = local + CLOCK_LOCAL_LEN - 6;
        return strcmp(offset, "+00:00") == 0 ? "Z" : offset;
}

static void
make_new_head(const Syslog *self, int priority, const char *local, GString *out)
{
        int digits = self->format == FORMAT_RFC5424MICRO ? 26 : 19;
        g_string_printf(out, "<%d>1 %.*s%s %s %s %d %s ", priority, digits, local, offset_of(local),
                        self->host, self->tag, (int)getpid(), self->msgid);
}

static void
make_old_head(const Syslog *self, int priority, const char *local, GString *out)
{
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        int month = (local[5] - '0') * 10 + local[6] - '1';
        bool host = self->format == FORMAT_RFC3164;
        g_string_printf(out, "<%d>%.3s %c%c %.8s %s%s%s[%d]: ", priority, months + 3 * month,
                        local[8] == '0' ? ' ' : local[8], local[9], local + 11, host ? self->host : "",
                        host ? " " : "", self->tag, (int)getpid());
}

static const GString *
get_head(Syslog *self, const LogRecord *r)
{
        Head *head = &self->heads[r->stream];
        if (head->text->len > 0 && head->time_ns == r->time_ns)
                return head->text;
        char local[CLOCK_LOCAL_LEN + 1] = "";
        clock_format_local(&self->clock, r->time_ns, local);
        head->time_ns = r->time_ns;
        if (self->format == FORMAT_RFC5424 || self->format == FORMAT_RFC5424MICRO)
                make_new_head(self, self->priorities[r->stream], local, head->text);
        else
                make_old_head(self, self->priorities[r->stream], local, head->text);
        return head->text;
}

/* The structured data of one record with a blank behind it; nothing for the old formats. */
static size_t
put_data(const Syslog *self, const LogRecord *r, char *at, size_t room)
{
        if (self->format != FORMAT_RFC5424 && self->format != FORMAT_RFC5424MICRO)
                return 0;
        if (r->ordinal == 0) {
                memcpy(at, self->whole_data, self->whole_data_len);
                return self->whole_data_len;
        }
        return (size_t)snprintf(at, room,
                                "%s[partial@" ENTERPRISE " id=\"%016" G_GINT64_MODIFIER
                                "x\" ordinal=\"%u\" last=\"%s\"] ",
                                self->elements, r->partial_id, r->ordinal,
                                r->flags & LOG_RECORD_PARTIAL ? "false" : "true");
}

static size_t
syslog_bound(void *data, size_t len)
{
        const Syslog *self = data;
        return COUNT_MAX + self->head_max + PARTIAL_MAX + len + 1;
}

/* The length in front, when it is known. */
static size_t
put_count(char *at, size_t len)
{
        char count[COUNT_MAX + 1];
        size_t n = (size_t)snprintf(count, sizeof count, "%zu ", len);
        memmove(at + n, at, len);
        memcpy(at, count, n);
        return n + len;
}

static size_t
put_message(Syslog *self, const LogRecord *r, char *at)
{
        const GString *head = get_head(self, r);
        char *end = at;
        memcpy(end, head->str, head->len);
        end += head->len;
        end += put_data(self, r, end, self->head_max + PARTIAL_MAX);
        memcpy(end, r->bytes, r->len);
        end += r->len;
        if (self->counted)
                return put_count(at, (size_t)(end - at));
        *end++ = '\n';
        return (size_t)(end - at);
}

static size_t
syslog_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        for (size_t i = 0; i < n; i++) {
                char *at = log_block_room(block, syslog_bound(data, records[i].len));
                if (!at)
                        return i;
                log_block_add(block, put_message(data, &records[i], at), &records[i]);
        }
        return n;
}

/* ---- the rest is the connection's ---- */

static int
syslog_send(void *data, LogQueue *q)
{
        return log_connection_deliver(&((Syslog *)data)->connection, q);
}

static const char *
syslog_target(void *data)
{
        return ((Syslog *)data)->connection.target;
}

const LogDriver log_driver_syslog = {
        .name = "syslog",
        .help = "a syslog server, local or remote",
        .options = options,
        .flags = LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_UTF8,
        .max_record = RECORD_MAX,
        .open = syslog_open,
        .encode = syslog_encode,
        .bound = syslog_bound,
        .send = syslog_send,
        .target = syslog_target,
        .close = syslog_close,
};
