/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Requested log drivers and their settings, from the command line, configuration files or annotations.
 * Only log/ knows what drivers and keys mean. */

#include <glib.h>
#include <stdbool.h>

typedef enum {
        LOG_SOURCE_COMMAND_LINE,
        LOG_SOURCE_FILE,
        LOG_SOURCE_ANNOTATION, /* may be untrusted: drivers and options say what annotations may set */
} LogSource;

typedef struct LogRequest LogRequest;

typedef struct LogSetting {
        char *driver; /* of DRIVER.KEY=VALUE; NULL: any driver that has the option */
        char *key;
        char *value;
        LogSource source;
        char *origin; /* the source in messages; NULL: the command line */
        /* The --log-driver before it; NULL: none. If that driver has the option, the setting applies to it
         * only. */
        const LogRequest *after;
} LogSetting;

struct LogRequest {
        char *driver;
        char *arg;  /* what follows the colon in "DRIVER:ARG"; NULL: there is no colon */
        char *sink; /* the name of a section [sink NAME]; NULL: none */
        bool shared; /* many containers have the same `arg` */
        LogSource source;
        char *origin; /* as in LogSetting */
        GPtrArray *settings; /* of LogSetting, borrowed; a later one takes precedence */
};

typedef struct LogRequests {
        GPtrArray *list;     /* of LogRequest */
        GPtrArray *settings; /* of LogSetting: all settings */
} LogRequests;

LogRequests *log_requests_new(void);
void log_requests_free(LogRequests *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogRequests, log_requests_free)

/* Adds "DRIVER[:ARG]". Returns the request, which *r owns. */
LogRequest *log_requests_add(LogRequests *r, const char *text, LogSource source, const char *origin);

/* Adds a setting that does not belong to a request yet; `name` is "[DRIVER.]KEY". Keys have no dot. */
LogSetting *log_requests_add_setting(LogRequests *r, const char *name, const char *value, LogSource source,
                                     const char *origin);

/* The same for "[DRIVER.]KEY=VALUE" of the command line; it belongs to the request that was added last. */
gboolean log_requests_add_option(LogRequests *r, const char *text, GError **error);

/* Gives a request a setting. Older ones of the same name and another origin are dropped. */
void log_request_set(LogRequest *request, LogSetting *setting);

/* After the command line is parsed: adds all settings to all requests. */
void log_requests_share(LogRequests *r);

/* Adds a copy of the requests of the command line, and gives all requests copies of its settings. */
void log_requests_add_command_line(LogRequests *r, const LogRequests *command_line);
