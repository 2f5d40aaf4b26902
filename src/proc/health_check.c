/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/health_check.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/watch.h"
#include "proc/cgroup.h"
#include "proc/orphans.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* By then the caller has started the container. */
#define FIRST_USEC G_USEC_PER_SEC

/* The time that podman may take in addition to the check, before it is killed. */
#define GRACE_USEC (5 * G_USEC_PER_SEC)
#define ASK_USEC   (60 * G_USEC_PER_SEC)

#define INTERVAL_MIN_USEC (G_USEC_PER_SEC / 10)

/* How many failed inspections are tolerated. */
#define TRIES 4

/* The container's configuration, with its environment and its labels. */
#define ANSWER_MAX (1 << 20)

/* What podman knows of one of a container's two kinds of checks. */
typedef struct Settings {
        gint64 interval_usec; /* 0: podman would create no timer */
        gint64 timeout_usec;
        gint64 successes; /* how many successes end the startup checks */
        bool defined;
} Settings;

typedef enum {
        PHASE_ASKING,
        PHASE_CHECKING,
} Phase;

struct HealthCheck {
        HealthCheckConfig config;
        GPtrArray *command; /* podman and its options */
        Phase phase;        /* what is running, or else runs next */
        pid_t pid;          /* of podman; 0: nothing runs */
        bool killed;        /* the process in the container */
        Timer timer;        /* to the next start, or while something runs, until it is killed */
        int answer;         /* the pipe; -1: podman is not being asked */
        Watch watch;
        GString *text;
        Settings settings, startup;
        gint64 successes; /* of startup checks */
        int in_vain;      /* in a row: failed inspections ... */
        int refused;      /* ... and checks that podman did not run */
};

/* ---- output of podman ---- */

static void
read_setting(Settings *s, const JsonValue *v)
{
        const char *name = v->path[1];
        g_autofree char *number = v->kind == JSON_NUMBER ? g_strndup(v->text, v->len) : NULL;
        gint64 value = number ? g_ascii_strtoll(number, NULL, 10) : 0;
        if (v->depth == 2 && number && strcmp(name, "Interval") == 0)
                s->interval_usec = value / 1000;
        else if (v->depth == 2 && number && strcmp(name, "Timeout") == 0)
                s->timeout_usec = value / 1000;
        else if (v->depth == 2 && number && strcmp(name, "Successes") == 0)
                s->successes = value;
        else if (v->depth == 3 && v->kind == JSON_STRING && strcmp(name, "Test") == 0 && !s->defined)
                s->defined = v->len > 0 && !(v->len == 4 && memcmp(v->text, "NONE", 4) == 0);
}

static void
on_value(const JsonValue *v, void *data)
{
        HealthCheck *h = data;
        if (v->depth < 2)
                return;
        if (strcmp(v->path[0], "Healthcheck") == 0)
                read_setting(&h->settings, v);
        else if (strcmp(v->path[0], "StartupHealthCheck") == 0)
                read_setting(&h->startup, v);
}

/* Most containers have no check, and their configuration is not parsed. Returns false if it isn't JSON. */
static bool
parse(HealthCheck *h)
{
        g_autoptr(GError) error = NULL;
        h->settings = h->startup = (Settings){0};
        if (!strstr(h->text->str, "\"Healthcheck\""))
                return true;
        if (json_read(h->text->str, h->text->len, on_value, h, &error))
                return true;
        diag_warn("Failed to read what podman says about the container's health check: %s", error->message);
        return false;
}

/* ---- running podman ---- */

/* Returns false after a failure that was reported. */
static bool
run(HealthCheck *h, const char *const *words, int out)
{
        g_autoptr(GPtrArray) argv = g_ptr_array_copy(h->command, NULL, NULL);
        for (; *words; words++)
                g_ptr_array_add(argv, (gpointer)*words);
        g_ptr_array_add(argv, (gpointer)h->config.cid);
        g_ptr_array_add(argv, NULL);
        pid_t pid = process_start(
                &(ProcessSpec){
                        .argv = (char **)argv->pdata,
                        .stdio = {PROCESS_STDIO_NULL, out, PROCESS_STDIO_NULL},
                        .mask = h->config.mask,
                        .own_group = true,
                        .oom_score = oom_score_text(h->config.score),
                },
                NULL);
        if (pid < 0) {
                diag_warn("Failed to run %s for a health check: %s", h->config.path, strerror(-pid));
                return false;
        }
        h->pid = pid;
        return true;
}

static void
close_answer(HealthCheck *h)
{
        watch_done(&h->watch);
        fd_close(&h->answer);
}

static void
read_answer(HealthCheck *h)
{
        char bytes[4096];
        ssize_t n;
        while ((n = fd_read(h->answer, bytes, sizeof bytes)) > 0)
                if (h->text->len <= ANSWER_MAX)
                        g_string_append_len(h->text, bytes, n);
        if (n == 0)
                watch_disarm(&h->watch);
}

static void
on_answer(GIOCondition revents, void *data)
{
        read_answer(data);
}

static void
plan(HealthCheck *h, Phase phase, gint64 usec)
{
        h->phase = phase;
        timer_start(&h->timer, usec);
}

/* Podman runs startup checks until enough of them have succeeded. */
static bool
is_starting(const HealthCheck *h)
{
        return h->startup.defined && h->successes < MAX(h->startup.successes, 1);
}

static gint64
interval(const HealthCheck *h)
{
        const Settings *s = is_starting(h) && h->startup.interval_usec > 0 ? &h->startup : &h->settings;
        return MAX(s->interval_usec, INTERVAL_MIN_USEC);
}

/* The delay grows with the number of failures in a row. */
static gint64
pause_before(int number, gint64 most)
{
        return MIN(most, G_USEC_PER_SEC << MIN(number, 6));
}

static void
try_to_ask_again(HealthCheck *h)
{
        if (++h->in_vain < TRIES)
                plan(h, PHASE_ASKING, pause_before(h->in_vain - 1, G_MAXINT64));
        else
                diag_warn("Podman does not say whether the container has a health check; none is run");
}

static void
ask(HealthCheck *h)
{
        static const char *const words[] = {"container", "inspect", "--format", "{{json .Config}}", NULL};
        int fds[2];
        g_string_truncate(h->text, 0);
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
                try_to_ask_again(h);
                return;
        }
        (void)fd_set_nonblock(fds[1], false);
        h->answer = fds[0];
        watch_init(&h->watch, h->answer, WATCH_PRIORITY_IO, on_answer, h);
        watch_arm(&h->watch, G_IO_IN);
        bool started = run(h, words, fds[1]);
        fd_close(&fds[1]);
        if (started) {
                timer_start(&h->timer, ASK_USEC);
        } else {
                close_answer(h);
                try_to_ask_again(h);
        }
}

static void
check(HealthCheck *h)
{
        static const char *const words[] = {"healthcheck", "run", NULL};
        const Settings *s = is_starting(h) && h->startup.timeout_usec > 0 ? &h->startup : &h->settings;
        if (!run(h, words, PROCESS_STDIO_NULL)) {
                plan(h, PHASE_CHECKING, interval(h));
                return;
        }
        h->killed = false;
        timer_start(&h->timer, s->timeout_usec + GRACE_USEC);
}

static void
kill_what_runs(HealthCheck *h)
{
        if (h->phase == PHASE_CHECKING && !h->killed) {
                diag_warn("A health check takes much longer than its timeout; its process is killed");
                orphans_kill_sessions(h->config.cid);
                h->killed = true;
                timer_start(&h->timer, GRACE_USEC);
                return;
        }
        diag_warn("Podman hangs in a health check; it is killed");
        (void)kill(-h->pid, SIGKILL);
}

static void
on_timer(void *data)
{
        HealthCheck *h = data;
        if (h->pid)
                kill_what_runs(h);
        else if (cgroup_is_frozen(CGROUP_ROOT, h->config.container))
                plan(h, h->phase, MAX(interval(h), FIRST_USEC));
        else if (h->phase == PHASE_ASKING)
                ask(h);
        else
                check(h);
}

/* ---- results ---- */

static void
on_asked(HealthCheck *h, int status)
{
        read_answer(h);
        close_answer(h);
        if (status != 0 || h->text->len > ANSWER_MAX || !parse(h)) {
                try_to_ask_again(h);
                return;
        }
        h->in_vain = 0;
        g_string_free(h->text, TRUE);
        h->text = g_string_new(NULL);
        if (h->settings.defined && h->settings.interval_usec > 0)
                plan(h, PHASE_CHECKING, 0);
}

static void
on_checked(HealthCheck *h, int status)
{
        bool healthy = status == 0;
        if (healthy && is_starting(h))
                h->successes++;
        if (healthy || (WIFEXITED(status) && WEXITSTATUS(status) == 1)) {
                h->refused = 0;
                plan(h, PHASE_CHECKING, interval(h));
        } else {
                plan(h, PHASE_ASKING, pause_before(h->refused++, interval(h)));
        }
}

bool
health_check_on_child_end(HealthCheck *h, pid_t pid, int status)
{
        if (!h || pid != h->pid)
                return false;
        h->pid = 0;
        timer_stop(&h->timer);
        if (h->phase == PHASE_ASKING)
                on_asked(h, status);
        else
                on_checked(h, status);
        return true;
}

void
health_check_lose_child(HealthCheck *h)
{
        if (!h || !h->pid)
                return;
        h->pid = 0;
        close_answer(h);
        plan(h, h->phase, MAX(interval(h), FIRST_USEC));
}

/* ---- start and stop ---- */

/* The number of global options: the arguments before `container cleanup`. -1: it is another command. */
static int
count_options(char **args, const char *cid)
{
        int n = args ? (int)g_strv_length(args) : 0, found = -1;
        for (int i = 0; i + 1 < n; i++)
                if (strcmp(args[i], "container") == 0 && strcmp(args[i + 1], "cleanup") == 0)
                        found = i;
        return found >= 0 && strcmp(args[n - 1], cid) == 0 ? found : -1;
}

static HealthCheck *
make(const HealthCheckConfig *config)
{
        int options = count_options(config->args, config->cid);
        if (options < 0)
                return NULL;
        HealthCheck *h = g_new0(HealthCheck, 1);
        h->config = *config;
        h->command = g_ptr_array_new();
        g_ptr_array_add(h->command, (gpointer)config->path);
        for (int i = 0; i < options; i++)
                g_ptr_array_add(h->command, config->args[i]);
        h->answer = -1;
        h->text = g_string_new(NULL);
        timer_init(&h->timer, on_timer, h);
        return h;
}

HealthCheck *
health_check_new(const HealthCheckConfig *config)
{
        HealthCheck *h = make(config);
        if (h)
                plan(h, PHASE_ASKING, FIRST_USEC);
        return h;
}

static void
save_settings(const Settings *s, StateWriter *w, const char *name)
{
        state_begin(w, name);
        state_put_int(w, "interval", s->interval_usec);
        state_put_int(w, "timeout", s->timeout_usec);
        state_put_int(w, "successes", s->successes);
        state_put_uint(w, "defined", s->defined);
        state_end(w);
}

static void
restore_settings(Settings *s, StateReader *r, const char *name)
{
        state_enter(r, name);
        s->interval_usec = state_get_int(r, "interval", INT64_MIN / 2, INT64_MAX / 2);
        s->timeout_usec = state_get_int(r, "timeout", INT64_MIN / 2, INT64_MAX / 2);
        s->successes = state_get_int(r, "successes", INT64_MIN, INT64_MAX);
        s->defined = state_get_bool(r, "defined");
        state_leave(r);
}

void
health_check_save(const HealthCheck *h, StateWriter *w)
{
        state_begin(w, "health");
        state_put_uint(w, "phase", h->phase);
        state_put_uint(w, "pid", (uint64_t)h->pid);
        state_put_uint(w, "killed", h->killed);
        timer_save(&h->timer, w, "timer");
        state_put_fd(w, "answer", h->answer);
        state_put_string(w, "text", h->text);
        save_settings(&h->settings, w, "settings");
        save_settings(&h->startup, w, "startup");
        state_put_int(w, "successes", h->successes);
        state_put_int(w, "in-vain", h->in_vain);
        state_put_int(w, "refused", h->refused);
        state_end(w);
}

HealthCheck *
health_check_restore(StateReader *r, const HealthCheckConfig *config)
{
        HealthCheck *h = make(config);
        if (!h) {
                state_fail(r, "There are no health checks without podman's exit command");
                return NULL;
        }
        h->phase = (Phase)state_get_uint(r, "phase", PHASE_CHECKING);
        h->pid = (pid_t)state_get_uint(r, "pid", INT32_MAX);
        if (h->pid == 1)
                state_fail(r, "Podman can't be process 1"); /* nor its group all processes */
        h->killed = state_get_bool(r, "killed");
        timer_restore(&h->timer, r, "timer");
        h->answer = state_get_fd(r, "answer");
        g_string_free(h->text, TRUE);
        h->text = state_get_string(r, "text");
        restore_settings(&h->settings, r, "settings");
        restore_settings(&h->startup, r, "startup");
        h->successes = state_get_int(r, "successes", 0, INT64_MAX / 2);
        h->in_vain = (int)state_get_int(r, "in-vain", 0, INT32_MAX / 2);
        h->refused = (int)state_get_int(r, "refused", 0, INT32_MAX / 2);
        if (h->answer >= 0) {
                watch_init(&h->watch, h->answer, WATCH_PRIORITY_IO, on_answer, h);
                watch_arm(&h->watch, G_IO_IN);
        }
        return h;
}

void
health_check_free(HealthCheck *h)
{
        if (!h)
                return;
        if (h->pid)
                (void)kill(-h->pid, SIGTERM);
        timer_stop(&h->timer);
        close_answer(h);
        g_string_free(h->text, TRUE);
        g_ptr_array_unref(h->command);
        g_free(h);
}
