/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* A seccomp notify plugin for test-seccomp-listener. It is built twice, with SECOND 0 and 1, to check the
 * order in which two plugins are called. It logs its calls to the file $TEST_PLUGIN_LOG. */

#include "seccomp/notify_abi.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int run_oci_seccomp_notify_version(void);
int run_oci_seccomp_notify_start(void **opaque, NotifyPluginConf *conf, size_t conf_size);
int run_oci_seccomp_notify_handle_request(void *opaque, struct seccomp_notif_sizes *sizes,
                                          struct seccomp_notif *request, struct seccomp_notif_resp *response,
                                          int fd, int *handled);
int run_oci_seccomp_notify_stop(void *opaque);

static void
note(const char *what, const NotifyPluginConf *conf)
{
        FILE *log = fopen(getenv("TEST_PLUGIN_LOG"), "ae");
        fprintf(log, "%d %s", SECOND, what);
        if (conf)
                fprintf(log, " %s %s %s %s", conf->runtime_root_path ? "root" : "-", conf->name,
                        conf->bundle_path, conf->oci_config_path);
        fprintf(log, "\n");
        fclose(log);
}

int
run_oci_seccomp_notify_version(void)
{
        const char *version = getenv("TEST_PLUGIN_VERSION");
        return version ? atoi(version) : 1;
}

int
run_oci_seccomp_notify_start(void **opaque, NotifyPluginConf *conf, size_t conf_size)
{
        if (conf_size != sizeof *conf)
                return -EINVAL;
        if (getenv("TEST_PLUGIN_REFUSES"))
                return -EPERM;
        note("start", conf);
        *opaque = conf;
        return 0;
}

/* Sends an answer later, after the request was returned as delayed. */
static struct {
        pthread_t thread;
        bool started;
        int fd;
        struct seccomp_notif_resp response;
} later;

static void *
send_later(void *data)
{
        (void)usleep(20 * 1000);
        (void)ioctl(later.fd, SECCOMP_IOCTL_NOTIF_SEND, &later.response);
        return NULL;
}

static void
wait_for_later(void)
{
        if (later.started)
                pthread_join(later.thread, NULL);
        later.started = false;
}

static int
answer_later(int fd, const struct seccomp_notif_resp *response)
{
        wait_for_later();
        later.fd = fd;
        later.response = *response;
        later.response.val = 3333;
        later.started = pthread_create(&later.thread, NULL, send_later, NULL) == 0;
        return later.started ? NOTIFY_DELAYED : -EAGAIN;
}

static int
decide_second(struct seccomp_notif *request, struct seccomp_notif_resp *response, int fd)
{
        switch (request->data.nr) {
        case SYS_getppid:
                response->val = 2222;
                return NOTIFY_RESPOND;
        case SYS_getpgid:
                return answer_later(fd, response);
        case SYS_getsid:
                response->val = 4444; /* stale data, which must be ignored */
                return NOTIFY_CONTINUE;
        case SYS_getpriority:
                response->error = -EUCLEAN;
                return NOTIFY_RESPOND;
        case SYS_sched_getscheduler:
                return -EDOM;
        default:
                return NOTIFY_NOT_HANDLED;
        }
}

int
run_oci_seccomp_notify_handle_request(void *opaque, struct seccomp_notif_sizes *sizes,
                                      struct seccomp_notif *request, struct seccomp_notif_resp *response,
                                      int fd, int *handled)
{
        if (!opaque || response->id != request->id || response->val != 0 || response->error != 0)
                return -EINVAL;
        int decision = NOTIFY_NOT_HANDLED;
        response->val = 9999; /* must not be visible to the next plugin */
        if (SECOND) {
                response->val = 0;
                decision = decide_second(request, response, fd);
        } else if (request->data.nr == SYS_getppid) {
                response->val = 1111;
                decision = NOTIFY_RESPOND;
        }
        if (decision < 0)
                return decision;
        *handled = decision;
        return 0;
}

int
run_oci_seccomp_notify_stop(void *opaque)
{
        wait_for_later();
        note("stop", opaque);
        return 0;
}
