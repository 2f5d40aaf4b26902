#pragma once

/* One container's monitor: everything it owns, and the events that drive it.
 *
 *     CREATING --pid read--> RUNNING --container gone--> ENDED
 *         `-- any error: a message on the sync pipe ----> FAILED
 *
 * setup.c opens the log, launch.c makes the other pieces and starts the runtime, monitor.c holds
 * the states, relay.c moves bytes, shutdown.c does what is to be done at the end. From RUNNING on
 * no error ends the monitor. */

#include "core/options.h"
#include "ctl/line_fifo.h"
#include "ctl/notify_relay.h"
#include "io/attach_server.h"
#include "io/console_socket.h"
#include "io/container_stdin.h"
#include "io/output_stream.h"
#include "log/log.h"
#include "proc/container_process.h"
#include "proc/inherited_fds.h"
#include "proc/oom_score.h"
#include "proc/oom_watch.h"
#include "proc/signals.h"

typedef enum {
        MONITOR_CREATING, /* the runtime is at work */
        MONITOR_RUNNING,
        MONITOR_ENDED,  /* the container has ended, exit_code is set */
        MONITOR_FAILED, /* there is no container */
} MonitorState;

/* What the runtime writes while it works is kept back, because it is part of the log only if it succeeds. Of
 * more than this it is clear that somebody wants it read. */
#define RELAY_HOLD_MAX 65536

/* What is kept of the runtime's stderr for the caller, should it fail. */
#define RUNTIME_STDERR_MAX 8191

typedef struct Monitor {
        const Options *options;
        MonitorState state;
        int exit_code; /* of the container; -1: unknown, or its time was up */
        bool timed_out;
        GMainLoop *loop;

        /* What the monitor was started with, and gives to what it starts. */
        InheritedFds inherited;
        OomScore caller_score;
        sigset_t caller_mask;

        /* The caller's pipes; -1 if there are none. */
        int start_fd;
        int sync_fd;
        int attach_fd;

        char *refusal; /* why the configuration keeps the container from starting; NULL: it does not */

        Log *log;
        OutputStream output[N_STREAMS];
        ContainerStdin input;
        AttachClientConfig attach_client;
        AttachServer *attach; /* NULL without a bundle, and with passthrough; the same for ctl and winsz */
        LineFifo *ctl;
        LineFifo *winsz;
        NotifyRelay *notify;
        struct SeccompListener *seccomp;
        char *link_path; /* the symlink in the socket directory; NULL if there is none */

        ConsoleSocket *console;
        bool have_terminal;
        int rows, columns; /* as last asked for; -1: not yet */

        SignalWatch signals;
        int container_stdio[3]; /* the container's ends of its pipes until the runtime has them; -1: none */
        Watch start_watch;      /* for exec-attach: the caller says when the runtime may start */
        bool launched;          /* the exit command is to run, whatever happens from now on */
        pid_t runtime_pid;      /* 0 before it is started and once it is reaped */
        GArray *early_ends; /* of EarlyEnd: children that ended before the container's pid was known */
        GString *runtime_stderr;
        GByteArray *held[N_STREAMS]; /* NULL when nothing is held back any more */

        ContainerProcess container;
        Timer timeout;
        OomWatch *oom;
} Monitor;

/* The life of a monitor from the checked command line to its exit status. `inherited` was recorded at the
 * very start and is taken over. */
int monitor_run(const Options *options, InheritedFds *inherited);

/* setup.c: opens the log and settles what command line, configuration files, annotations and environment
 * say. A failure is for the process that the caller waits for; what the caller is to hear on the sync
 * pipe is left in m->refusal. */
gboolean monitor_set_up(Monitor *m, GError **error);

/* launch.c: makes sockets and FIFOs and starts the runtime, or makes sure that it is started when the caller
 * says so. In case of an error there is nothing to wait for. */
gboolean monitor_launch(Monitor *m, GError **error);

/* monitor.c */

/* Runs from a successful launch to the state ENDED or FAILED. */
void monitor_loop(Monitor *m);

/* Tells the caller (sync pipe) that there is no container, and why. */
void monitor_fail(Monitor *m, const char *text);

/* The key of the number in a message on the sync pipe. */
const char *monitor_sync_key(const Monitor *m);

/* The function for a signal that came through the signalfd. */
void monitor_on_signal(int signal, void *data);

/* The runtime has sent the terminal (fd), or has failed to (-1). */
void monitor_on_console(int fd, void *data);

/* Lines of the FIFOs. */
void monitor_on_ctl_line(const char *line, void *data);
void monitor_on_winsz_line(const char *line, void *data);

/* relay.c */

/* An OutputFunc: to the log first, then to the clients. */
size_t relay_output(StreamId id, const char *bytes, size_t len, bool more, void *data);

/* Sends on what was held back while the runtime worked. */
void relay_release(Monitor *m);

/* Pauses and resumes the streams as the log and the clients want it. */
void relay_update(void *data);
void relay_on_log_wants(StreamId stream, bool wants, void *data);

/* The container's stdin can take more, or can't. */
void relay_on_stdin_wants(bool wants, void *data);

/* shutdown.c: all that is to be done after the loop, in its order. Returns the exit status of the monitor. */
int monitor_shut_down(Monitor *m);
