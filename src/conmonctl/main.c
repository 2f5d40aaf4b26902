/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* conmonctl: shows the container monitors of a host, and sends requests to them. */

#include "base/atomic_file.h"
#include "base/error.h"
#include "build-config.h"
#include "conmonctl/metrics.h"
#include "conmonctl/monitor_info.h"
#include "conmonctl/request.h"
#include "conmonctl/show.h"
#include "conmonctl/table.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Exit statuses, the same as those of systemctl(1) where it has them. */
enum {
        STATUS_OK = 0,
        STATUS_FAILED = 1, /* a monitor did not answer, or its request failed */
        STATUS_USAGE = 2,
        STATUS_NOTHING = 4, /* there is no such container */
};

/* How long a monitor may take to answer. An upgrade waits up to a second for a slow disk, 5 for the check and
 * 10 for the new program to take over. */
#define ANSWER_USEC  (1 * G_USEC_PER_SEC)
#define REQUEST_USEC (20 * G_USEC_PER_SEC)

typedef struct Settings {
        gboolean all;
        gboolean exec;
        gboolean http;
        gboolean json;
        gboolean no_legend;
        gboolean version;
        double interval; /* seconds */
        int iterations;  /* by default so many that they take years */
        char *textfile;
        char **words; /* the command and its arguments */
} Settings;

typedef struct Command {
        const char *name;
        const char *line; /* for the ctl FIFO; NULL: only the status is requested */
        const char *done; /* the participle for the summary */
        int (*run)(const struct Command *command, const Settings *s, GPtrArray *monitors);
        bool whole; /* without arguments it applies to all containers */
        const char *usage;
        const char *help;
} Command;

/* ---- printing ---- */

static int
print(GString *text)
{
        bool ok = fwrite(text->str, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
        g_string_free(text, TRUE);
        return ok ? STATUS_OK : STATUS_FAILED;
}

/* Names and reasons are untrusted: any user may have named a process "conmon". */
G_GNUC_PRINTF(1, 2)
static void
complain(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        table_make_printable(text);
        g_printerr("conmonctl: %s\n", text);
}

static ShowConfig
show_config(const Settings *s)
{
        return (ShowConfig){.color = table_use_color(), .legend = !s->no_legend};
}

/* Reports each monitor that did not answer. */
static int
report_errors(const GPtrArray *monitors)
{
        int status = STATUS_OK;
        for (guint i = 0; i < monitors->len; i++) {
                const MonitorInfo *m = g_ptr_array_index(monitors, i);
                if (m->error == 0)
                        continue;
                complain("no status of %s (pid %d): %s", m->name ? m->name : m->cid, (int)m->pid,
                         request_describe(m->error));
                status = STATUS_FAILED;
        }
        return status;
}

/* ---- commands ---- */

static int
run_list(const Command *command, const Settings *s, GPtrArray *monitors)
{
        GString *out = g_string_new(NULL);
        ShowConfig config = show_config(s);
        request_status(monitors, NULL, ANSWER_USEC);
        if (s->json)
                show_json(monitors, out);
        else
                show_list(monitors, &config, out);
        return print(out);
}

static int
run_status(const Command *command, const Settings *s, GPtrArray *monitors)
{
        GString *out = g_string_new(NULL);
        ShowConfig config = show_config(s);
        request_status(monitors, NULL, ANSWER_USEC);
        if (s->json)
                show_json(monitors, out);
        else
                show_status(monitors, &config, out);
        int printed = print(out), answered = report_errors(monitors);
        return MAX(printed, answered);
}

static guint
terminal_rows(void)
{
        struct winsize size;
        return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

static bool
is_wanted(const MonitorInfo *m, char **names)
{
        if (!names || !*names)
                return true;
        for (; *names; names++)
                if (monitor_info_matches(m, *names))
                        return true;
        return false;
}

static GPtrArray *
find_monitors(bool exec, char **names)
{
        GPtrArray *found = monitor_info_list();
        for (guint i = found->len; i > 0; i--) {
                MonitorInfo *m = g_ptr_array_index(found, i - 1);
                if ((m->exec && !exec) || !is_wanted(m, names))
                        g_ptr_array_remove_index(found, i - 1);
        }
        return found;
}

static int
run_top(const Command *command, const Settings *s, GPtrArray *monitors)
{
        bool tty = isatty(STDOUT_FILENO);
        for (int i = 0; i < s->iterations; i++) {
                g_autoptr(GPtrArray) now = find_monitors(s->exec, s->words + 1);
                GString *out = g_string_new(tty ? "\033[H\033[J" : "");
                ShowConfig config = show_config(s);
                guint rows = terminal_rows();
                /* Header, empty line, two lines of legend, and the line of the cursor. */
                config.max_rows = rows > 6 ? rows - 5 : 0;
                request_status(now, NULL, ANSWER_USEC);
                show_list(now, &config, out);
                if (print(out) != STATUS_OK)
                        return STATUS_FAILED;
                if (i + 1 < s->iterations)
                        g_usleep((gulong)(s->interval * G_USEC_PER_SEC));
        }
        return STATUS_OK;
}

/* The result of the request is in "request" of the status, which monitors without that request lack. */
static bool
was_done(const MonitorInfo *m, const Command *command, const char **ret_why)
{
        const GArray *members = m->status->others;
        const char *kind = monitor_status_member(members, "request.kind");
        const char *result = monitor_status_member(members, "request.result");
        if (strcmp(command->name, "reopen") == 0)
                return true;
        *ret_why = "the container has ended"; /* an earlier request may have been answered */
        if (m->status->ended)
                return false;
        *ret_why = "the version of this monitor does not support it";
        if (g_strcmp0(kind, command->name) != 0)
                return false;
        *ret_why = monitor_status_member(members, "request.message");
        return g_strcmp0(result, "ok") == 0;
}

/* reopen, reload, upgrade: prints one line for each failure, and a summary. */
static int
run_request(const Command *command, const Settings *s, GPtrArray *monitors)
{
        guint done = 0;
        request_status(monitors, command->line, REQUEST_USEC);
        for (guint i = 0; i < monitors->len; i++) {
                const MonitorInfo *m = g_ptr_array_index(monitors, i);
                const char *why = m->error ? request_describe(m->error) : NULL;
                if (!m->error && was_done(m, command, &why)) {
                        done++;
                        continue;
                }
                complain("failed to %s %s (pid %d): %s", command->name, m->name ? m->name : m->cid,
                         (int)m->pid, why ? why : "no reason was given");
        }
        if (!s->no_legend)
                printf("%u of %u monitor%s %s.\n", done, monitors->len, monitors->len == 1 ? "" : "s",
                       command->done);
        return done == monitors->len ? STATUS_OK : STATUS_FAILED;
}

/* Reads and ignores the header of the request, up to the empty line. */
static void
skip_http_request(void)
{
        char line[4096];
        while (fgets(line, sizeof line, stdin) && strcmp(line, "\r\n") != 0 && strcmp(line, "\n") != 0)
                ;
}

static int
run_metrics(const Command *command, const Settings *s, GPtrArray *monitors)
{
        g_autoptr(GError) error = NULL;
        GString *out = g_string_new(NULL);
        if (s->http)
                skip_http_request();
        request_status(monitors, NULL, ANSWER_USEC);
        metrics_format(monitors, out);
        if (s->textfile) {
                bool written = atomic_file_write(s->textfile, out->str, out->len, &error);
                g_string_free(out, TRUE);
                if (!written)
                        complain("%s", error->message);
                return written ? STATUS_OK : STATUS_FAILED;
        }
        if (s->http) {
                g_autofree char *header =
                        g_strdup_printf("HTTP/1.0 200 OK\r\n"
                                        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                                        "Content-Length: %zu\r\n\r\n",
                                        out->len);
                g_string_prepend(out, header);
        }
        return print(out);
}

static const Command commands[] = {
        {"list", NULL, NULL, run_list, true, "[CONTAINER...]", "List monitors (the default)"},
        {"status", NULL, NULL, run_status, false, "CONTAINER...|--all", "Show the full status of monitors"},
        {"top", NULL, NULL, run_top, true, "[CONTAINER...]", "List monitors repeatedly"},
        {"reopen", "2 0 0", "reopened their logs", run_request, false, "CONTAINER...|--all",
         "Reopen log files after they were renamed"},
        {"reload", "5 0 0", "reloaded", run_request, false, "CONTAINER...|--all",
         "Read the configuration files again"},
        {"upgrade", "4 0 0", "upgraded", run_request, false, "CONTAINER...|--all",
         "Replace running monitors by the installed program"},
        {"metrics", NULL, NULL, run_metrics, true, "[CONTAINER...]", "Print counters for Prometheus"},
};

/* ---- the command line ---- */

static const Command *
find_command(const char *name)
{
        for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
                if (strcmp(name, commands[i].name) == 0)
                        return &commands[i];
        return NULL;
}

static char *
describe_commands(void)
{
        GString *text = g_string_new("Commands:\n");
        for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
                g_autofree char *left = g_strdup_printf("%s %s", commands[i].name, commands[i].usage);
                g_string_append_printf(text, "  %-28s %s\n", left, commands[i].help);
        }
        g_string_append(
                text,
                "\nCONTAINER is a name, a pattern of names, an id or the beginning of one. conmonctl(1) "
                "describes the rest.");
        return g_string_free(text, FALSE);
}

/* GLib's help has an ellipsis, which not every locale can print. */
static void
print_help(const char *text)
{
        const char *ellipsis = strstr(text, "\xe2\x80\xa6");
        int before = ellipsis ? (int)(ellipsis - text) : (int)strlen(text);
        printf("%.*s%s%s", before, text, ellipsis ? "..." : "", ellipsis ? ellipsis + 3 : "");
}

static gboolean
parse(Settings *s, int argc, char **argv, GError **error)
{
        const GOptionEntry entries[] = {
                {"all", 'a', 0, G_OPTION_ARG_NONE, &s->all, "The monitors of all containers", NULL},
                {"exec", 0, 0, G_OPTION_ARG_NONE, &s->exec, "Show monitors of exec sessions, too", NULL},
                {"http", 0, 0, G_OPTION_ARG_NONE, &s->http, "metrics: answer an HTTP request on stdin", NULL},
                {"interval", 'd', 0, G_OPTION_ARG_DOUBLE, &s->interval, "top: time between two lists (2)",
                 "SECONDS"},
                {"iterations", 'n', 0, G_OPTION_ARG_INT, &s->iterations, "top: exit after this many lists",
                 "N"},
                {"json", 'j', 0, G_OPTION_ARG_NONE, &s->json, "list, status: print JSON", NULL},
                {"no-legend", 0, 0, G_OPTION_ARG_NONE, &s->no_legend, "Omit header and summary", NULL},
                {"textfile", 0, 0, G_OPTION_ARG_FILENAME, &s->textfile,
                 "metrics: replace this file, for node_exporter's textfile collector", "PATH"},
                {"version", 0, 0, G_OPTION_ARG_NONE, &s->version, "Print the version and exit", NULL},
                {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &s->words, NULL,
                 "[COMMAND [CONTAINER...]]"},
                {0},
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);
        g_autofree char *description = describe_commands();
        g_option_context_set_summary(context, "Shows container monitors, and sends requests to them.");
        g_option_context_set_description(context, description);
        g_option_context_add_main_entries(context, entries, NULL);
        g_set_print_handler(print_help);
        return g_option_context_parse(context, &argc, &argv, error);
}

static gboolean
check(const Settings *s, const Command *command, GError **error)
{
        bool named = s->words && s->words[0] && s->words[1];
        bool metrics = strcmp(command->name, "metrics") == 0;
        if (named && s->all)
                return error_set(error, CONMON_ERROR_USAGE, "containers and --all can't be combined");
        if (!named && !s->all && !command->whole)
                return error_set(error, CONMON_ERROR_USAGE, "'%s' requires containers, or --all",
                                 command->name);
        if ((s->http || s->textfile) && !metrics)
                return error_set(error, CONMON_ERROR_USAGE, "--http and --textfile are options of 'metrics'");
        if (!(s->interval >= 0.1 && s->interval <= 3600))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "--interval must be between 0.1 and 3600 seconds");
        if (s->iterations < 1)
                return error_set(error, CONMON_ERROR_USAGE, "--iterations must be at least 1");
        return TRUE;
}

/* Reports arguments that match no monitor. */
static bool
report_missing(const GPtrArray *monitors, char **names)
{
        bool missing = false;
        for (; names && *names; names++) {
                bool found = false;
                for (guint i = 0; i < monitors->len && !found; i++)
                        found = monitor_info_matches(g_ptr_array_index(monitors, i), *names);
                if (!found)
                        complain("none of your running containers has this name or id: '%s'", *names);
                missing = missing || !found;
        }
        return missing;
}

static int
run(const Settings *s)
{
        g_autoptr(GError) error = NULL;
        char **names = s->words && s->words[0] ? s->words + 1 : NULL;
        const char *name = s->words && s->words[0] ? s->words[0] : "list";
        const Command *command = find_command(name);
        if (!command) {
                complain("there is no command '%s'; see 'conmonctl --help'", name);
                return STATUS_USAGE;
        }
        if (!check(s, command, &error)) {
                complain("%s", error->message);
                return STATUS_USAGE;
        }
        bool request = command->run == run_request;
        g_autoptr(GPtrArray) monitors = find_monitors(s->exec || request, names);
        bool missing = report_missing(monitors, names);
        if (missing && monitors->len == 0)
                return STATUS_NOTHING;
        int status = command->run(command, s, monitors);
        return missing && status == STATUS_OK ? STATUS_NOTHING : status;
}

int
main(int argc, char **argv)
{
        g_autoptr(GError) error = NULL;
        Settings settings = {.interval = 2, .iterations = G_MAXINT};
        int status = STATUS_USAGE;
        (void)setlocale(LC_CTYPE, "");
        /* A monitor may exit while its FIFO is written to. */
        (void)signal(SIGPIPE, SIG_IGN);
        if (!parse(&settings, argc, argv, &error)) {
                complain("%s", error->message);
        } else if (settings.version) {
                printf("conmonctl version %s\ncommit: %s\n", CONMON_VERSION, CONMON_COMMIT);
                status = fflush(stdout) == 0 ? STATUS_OK : STATUS_FAILED;
        } else {
                status = run(&settings);
        }
        g_strfreev(settings.words);
        g_free(settings.textfile);
        return status;
}
