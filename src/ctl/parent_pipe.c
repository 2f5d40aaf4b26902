/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/parent_pipe.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The time limit for a full pipe. */
#define SEND_TIMEOUT_MS 5000

G_STATIC_ASSERT(PARENT_PIPE_LINE_MAX <= PIPE_BUF);

static int
parse_fd(const char *text, int *ret_fd)
{
        char *end = NULL;
        errno = 0;
        long n = strtol(text, &end, 10);
        if (errno)
                return -errno;
        if (*end || n < G_MININT || n > G_MAXINT)
                return -EINVAL;
        *ret_fd = (int)n;
        return 0;
}

gboolean
parent_pipe_open(const char *variable, int *ret_fd, GError **error)
{
        const char *text = getenv(variable);
        *ret_fd = -1;
        if (!text || !*text)
                return TRUE;
        int fd = -1;
        int r = parse_fd(text, &fd);
        if (r < 0)
                return error_set(error, CONMON_ERROR_USAGE, "unable to parse %s %s", variable, strerror(-r));
        if (fd == STDIN_FILENO)
                return TRUE;
        r = fd_set_cloexec(fd, true);
        if (r < 0)
                return error_set(error, CONMON_ERROR_USAGE, "unable to make %s CLOEXEC %s", variable,
                                 strerror(-r));
        *ret_fd = fd;
        return TRUE;
}

/* Length of the character at `text`: a complete UTF-8 sequence, or one invalid byte. */
static size_t
character_length(const char *text)
{
        gunichar c = g_utf8_get_char_validated(text, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2)
                return 1;
        return (size_t)(g_utf8_next_char(text) - text);
}

/* Writes the JSON form of the character to `out`, at most 6 bytes without a NUL. Returns its length. */
static size_t
escape(const char *text, size_t len, char *out)
{
        static const char specials[] = "\"\\/\n\r\t\b\f", letters[] = "\"\\/nrtbf";
        const char *special = strchr(specials, *text);
        if (special) {
                out[0] = '\\';
                out[1] = letters[special - specials];
                return 2;
        }
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
                static const char hex[] = "0123456789abcdef";
                memcpy(out, "\\u00", 4);
                out[4] = hex[c >> 4];
                out[5] = hex[c & 15];
                return 6;
        }
        memcpy(out, text, len);
        return len;
}

GString *
parent_pipe_format(const char *key, int value, const char *text)
{
        GString *line = g_string_new(NULL);
        g_string_printf(line, "{\"%s\": %d", key, value);
        if (text && *text) {
                const size_t tail = strlen("\"}\n");
                g_string_append(line, ", \"message\": \"");
                while (*text) {
                        char unit[8];
                        size_t taken = character_length(text);
                        size_t len = escape(text, taken, unit);
                        if (line->len + len + tail > PARENT_PIPE_LINE_MAX)
                                break;
                        g_string_append_len(line, unit, (gssize)len);
                        text += taken;
                }
                g_string_append_c(line, '"');
        }
        g_string_append(line, "}\n");
        return line;
}

/* Writes without blocking, even to a blocking pipe: its flags may be shared with other processes, and can't
 * be changed. A pipe that poll(2) reports as writable has space for PIPE_BUF bytes, and there is no other
 * writer. */
static ssize_t
write_at_once(int fd, const char *bytes, size_t len)
{
        ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0 || errno != ENOTSOCK)
                return n;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 0) == 0) {
                errno = EAGAIN;
                return -1;
        }
        return write(fd, bytes, MIN(len, PIPE_BUF));
}

/* Returns false after a timeout. */
static bool
wait_for_room(int fd, gint64 until)
{
        gint64 left = (until - g_get_monotonic_time()) / 1000;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        return left > 0 && poll(&p, 1, (int)left) != 0;
}

/* A single write(2), because a SEQPACKET reader gets each as a record. */
static int
write_message(int fd, const GString *line)
{
        gint64 until = g_get_monotonic_time() + (gint64)SEND_TIMEOUT_MS * 1000;
        size_t done = 0;
        while (done < line->len) {
                ssize_t n = write_at_once(fd, line->str + done, line->len - done);
                if (n >= 0)
                        done += (size_t)n;
                else if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
                        return -errno;
                else if (errno != EINTR && !wait_for_room(fd, until))
                        return -ETIMEDOUT;
        }
        return 0;
}

void
parent_pipe_send(int *fd, const char *key, int value, const char *text)
{
        if (*fd < 0)
                return;
        GString *line = parent_pipe_format(key, value, text);
        int r = write_message(*fd, line);
        g_string_free(line, TRUE);
        if (r == 0)
                return;
        if (r != -EPIPE)
                diag_error("Unable to send the message \"%s\": %d to the caller: %s", key, value,
                           strerror(-r));
        fd_close(fd);
}
