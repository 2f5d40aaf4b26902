/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/diag.h"

#include "base/fd.h"

#include <errno.h>
#include <paths.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static DiagLevel shown_level = DIAG_WARNING;
static char *syslog_id;

static const struct {
        const char *name;
        DiagLevel level;
} level_names[] = {
        {"panic", DIAG_ERROR},     {"fatal", DIAG_ERROR}, {"error", DIAG_ERROR}, {"warn", DIAG_WARNING},
        {"warning", DIAG_WARNING}, {"info", DIAG_INFO},   {"debug", DIAG_DEBUG}, {"trace", DIAG_TRACE},
};

static const struct {
        char letter;
        const char *kind;
        int priority;
} level_marks[] = {
        [DIAG_ERROR] = {'e', "error", LOG_ERR},     [DIAG_WARNING] = {'w', "nwarn", LOG_INFO},
        [DIAG_INFO] = {'i', "ninfo", LOG_INFO},     [DIAG_DEBUG] = {'d', "ndebug", LOG_INFO},
        [DIAG_TRACE] = {'d', "ntrace", LOG_INFO},
};

bool
diag_parse_level(const char *name, DiagLevel *ret_level)
{
        for (size_t i = 0; i < G_N_ELEMENTS(level_names); i++)
                if (g_ascii_strcasecmp(name, level_names[i].name) == 0) {
                        *ret_level = level_names[i].level;
                        return true;
                }
        return false;
}

void
diag_set_level(DiagLevel level)
{
        shown_level = level;
}

DiagLevel
diag_level(void)
{
        return shown_level;
}

void
diag_use_syslog(const char *cid, const char *tag)
{
        g_autofree char *whole = tag ? g_strdup_printf("%s: %s", cid, tag) : g_strdup(cid);
        g_free(syslog_id);
        syslog_id = g_strndup(whole, 20);
}

/* Returns 0 or -errno. */
static int
send_to_socket(int type, const char *bytes, size_t len)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = _PATH_LOG};
        autofd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            send(fd, bytes, len, MSG_NOSIGNAL) < 0)
                return -errno;
        return 0;
}

/* Like syslog(3), but without waiting for a daemon that does not read: then the message is lost. */
static void
send_to_syslog(DiagLevel level, const char *text)
{
        struct tm tm = {0};
        char when[32] = "";
        time_t now = time(NULL);
        (void)strftime(when, sizeof when, "%b %e %T", localtime_r(&now, &tm));
        g_autofree char *message =
                g_strdup_printf("<%d>%s %s: conmon %s <%s>: %s", LOG_USER | level_marks[level].priority, when,
                                program_invocation_short_name, syslog_id, level_marks[level].kind, text);
        size_t len = strlen(message);
        if (send_to_socket(SOCK_DGRAM, message, len) == -EPROTOTYPE)
                (void)send_to_socket(SOCK_STREAM, message, len + 1); /* the NUL separates it from the next */
}

void
diag_message(DiagLevel level, const char *format, ...)
{
        if (level > shown_level)
                return;
        int saved = errno;
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);

        /* One write, so that lines of several monitors do not mix on one terminal. */
        g_autoptr(GString) line = g_string_new(NULL);
        g_string_printf(line, "[conmon:%c]: %s\n", level_marks[level].letter, text);
        (void)fd_write_all(STDERR_FILENO, line->str, line->len);
        if (syslog_id)
                send_to_syslog(level, text);
        errno = saved;
}
