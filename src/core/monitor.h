/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* One container's monitor: everything it owns, and the events that drive it.
 *
 *     CREATING --pid read--> RUNNING --container gone--> ENDED
 *         `-- any error ----------------------------> FAILED
 *
 * setup.c opens the log, start.c creates the other parts and starts the runtime, creation.c handles its
 * success or failure, monitor.c has the states and the events, relay.c moves bytes, shutdown.c performs the
 * shutdown. From RUNNING on no error ends the monitor. */

#include "base/stand_in.h"
#include "core/caller.h"
#include "core/options.h"
#include "core/request.h"
#include "ctl/exit_socket.h"
#include "ctl/line_fifo.h"
#include "ctl/notify_relay.h"
#include "io/attach_server.h"
#include "io/console_socket.h"
#include "io/container_stdin.h"
#include "io/output_stream.h"
#include "log/log.h"
#include "proc/container_process.h"
#include "proc/exit_queue.h"
#include "proc/health_check.h"
#include "proc/oom_watch.h"
#include "proc/orphans.h"
#include "proc/signals.h"

/* How long a stalled disk may block the main loop while the container runs. */
#define WHILE_RUNNING_USEC (G_USEC_PER_SEC / 4)

typedef enum {
        MONITOR_CREATING, /* the runtime runs */
        MONITOR_RUNNING,
        MONITOR_ENDED,  /* the container has exited, its exit_code is set */
        MONITOR_FAILED, /* the container could not be created */
} MonitorState;

/* The running runtime, and what is held back until it has succeeded; see creation.h. */
typedef struct Runtime {
        pid_t pid;          /* 0 before it is started and after it was reaped */
        unsigned signals;   /* a bit for each one that was forwarded to it: 1 << SIGTERM and others */
        bool launched;      /* the exit command must be run, whatever happens */
        int stdio[3];       /* the container's ends of its pipes until the runtime has them; -1: none */
        Watch permission;   /* for exec-attach: the caller decides when the runtime starts */
        GArray *early_ends; /* of EarlyEnd; NULL once the container's pid is known */
        GString *said;      /* the beginning of its stderr */
        GByteArray *held[N_STREAMS]; /* NULL when nothing is held back */
} Runtime;

typedef struct Container {
        ContainerProcess process;
        int exit_code; /* -1: unknown, or it timed out */
        int status;    /* as of waitpid(2); -1: unknown */
        bool timed_out;
        bool out_of_memory;
        int stop_signal;   /* the last one that was forwarded; 0: none */
        int64_t ended_ns;  /* when the exit was detected, on the wall clock */
        gint64 ended_usec; /* the same on the monotonic clock */
        gint64 record_usec; /* from then until the end was recorded */
        Timer timeout;
        OomWatch *oom;
} Container;

typedef struct Terminal {
        ConsoleSocket *socket; /* NULL unless the runtime may still send the terminal */
        bool received;
        int rows, columns; /* as last requested; -1: not yet */
} Terminal;

/* Sockets and FIFOs. */
typedef struct Endpoints {
        AttachClientConfig client;
        AttachServer *attach; /* NULL without a bundle, and with passthrough; the same for ctl and winsz */
        char *link_path;      /* the symlink in the socket directory; NULL if there is none */
        LineFifo *ctl;
        LineFifo *winsz;
        NotifyRelay *notify;
        struct SeccompListener *seccomp;
} Endpoints;

/* Exit commands received from monitors of exec sessions; NULL until one asks. */
typedef struct ExecExits {
        ExitSocket *socket;
        ExitQueue *queue;
} ExecExits;

/* Output that was logged, but not yet sent to attach clients. */
typedef struct Unsent {
        StreamId stream;
        const char *bytes;
        size_t len; /* 0: none */
        bool held;  /* while the runtime worked, so it is not in the stream's buffer */
} Unsent;

typedef struct Monitor {
        const Options *options;
        MonitorState state;
        SignalWatch signals;
        char *refusal; /* why the configuration prevents the start of the container; NULL: it does not */

        Caller caller;
        Bystanders bystanders;
        Runtime runtime;
        Container container;
        Terminal terminal;
        Endpoints endpoints;
        ExecExits exits;
        bool health_checks;  /* wanted */
        HealthCheck *health; /* NULL: there are none */
        OutputStream output[N_STREAMS];
        ContainerStdin input;
        Log *log;
        Unsent unsent;
        StandIn *stand_in; /* for calls on log files */
        Errands *openings; /* of files, for a reload; NULL: none so far */
        Timer catch_up;    /* after the stand-in has run: sends what waits */
        Request request;
        struct StatusFile *status; /* the last one; NULL before the end, or if there is none */
        bool recorded;     /* recording the end; true once a thread has claimed it */
        bool log_unfinished; /* when the end was recorded: a log file had stalled */
        bool command_done; /* the exit command was run */
        char *program;     /* the path of this program; NULL: not looked up yet */
        Errands *errands; /* file operations after the start of the container */
} Monitor;

/* Runs the monitor, whose options, log, caller and client settings the launcher has set up. Returns its
 * exit status. */
int monitor_run(Monitor *m);

/* Creates the thread that takes over while log files stall. The caller stores it in m->stand_in, which the
 * monitor owns. */
StandIn *monitor_make_stand_in(Monitor *m);

/* Live upgrade; see upgrade.h. monitor_save reports obstacles with state_refuse. Before monitor_restore the
 * options of *m are restored, and its other members are zero. After a failure the process exits: nothing is
 * freed. */
void monitor_save(Monitor *m, StateWriter *w);
void monitor_restore(Monitor *m, StateReader *r);

/* Like monitor_run, for a restored monitor. */
int monitor_go_on(Monitor *m);

/* Drops the capabilities that are not needed while the container runs; see base/rights.h. */
void monitor_lower_rights(void);

/* Reports to the caller (sync pipe) that the container could not be created, and why, after everything has
 * been cleaned up. Ends the main loop. */
void monitor_fail(Monitor *m, const char *text);

/* The runtime has created the container, whose first process this is. The status is that of waitpid(2) if
 * it has already been reaped, else -1. */
void monitor_container_started(Monitor *m, pid_t pid, int status);

/* The key of the number in a message on the sync pipe. */
const char *monitor_sync_key(const Monitor *m);

/* Called for a signal from the signalfd. */
void monitor_on_signal(int signal, void *data);

/* The runtime has sent the terminal (fd), or failed to (-1). */
void monitor_on_console(int fd, void *data);

/* Lines of the FIFOs. */
void monitor_on_ctl_line(const char *line, void *data);
void monitor_on_winsz_line(const char *line, void *data);
