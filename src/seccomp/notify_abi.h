/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What a seccomp notify plugin, a shared object, exports. The same plugins work with crun, whose interface
 * this is: names and layout must not change. */

#include <linux/seccomp.h>
#include <stddef.h>

/* All strings live as long as the plugin is loaded. */
typedef struct NotifyPluginConf {
        const char *runtime_root_path; /* NULL: not known to a monitor */
        const char *name;              /* of the container; may be NULL */
        const char *bundle_path;       /* may be NULL */
        const char *oci_config_path;   /* config.json in the bundle; NULL without a bundle */
} NotifyPluginConf;

/* What a plugin did with a request. */
enum {
        NOTIFY_NOT_HANDLED, /* the next plugin is asked */
        NOTIFY_RESPOND,     /* the response is ready to be sent */
        NOTIFY_DELAYED,     /* the plugin sends the response itself, now or later */
        NOTIFY_CONTINUE,    /* the kernel continues the system call */
};

/* Optional. Returns the version of the interface. */
#define NOTIFY_VERSION_SYMBOL "run_oci_seccomp_notify_version"
#define NOTIFY_ABI_VERSION    1
typedef int (*NotifyVersionFunc)(void);

/* Optional. Called once; what it stores in *opaque is handed to the other functions. Returns 0 or -errno. */
#define NOTIFY_START_SYMBOL "run_oci_seccomp_notify_start"
typedef int (*NotifyStartFunc)(void **opaque, NotifyPluginConf *conf, size_t conf_size);

/* Required. Looks at a request and fills in the response, whose id is set already. Returns 0 and *handled,
 * one of the values above, or -errno. */
#define NOTIFY_HANDLE_SYMBOL "run_oci_seccomp_notify_handle_request"
typedef int (*NotifyHandleFunc)(void *opaque, struct seccomp_notif_sizes *sizes,
                                struct seccomp_notif *request, struct seccomp_notif_resp *response, int fd,
                                int *handled);

/* Optional. Called once at the end. Its result is ignored. */
#define NOTIFY_STOP_SYMBOL "run_oci_seccomp_notify_stop"
typedef int (*NotifyStopFunc)(void *opaque);
