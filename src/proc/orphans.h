#pragma once

/* Processes that a failed runtime left behind: a container of which nobody knows, so
 * that nobody could stop it. */

/* Sends SIGKILL to every child of the monitor that is in a session of its own, as containers are and what the
 * monitor started itself is not; children of these become the monitor's and go the same way. They are reaped.
 * Where the kernel does not list children (/proc/PID/task/TID/children, proc(5)), nothing is done. */
void orphans_kill(void);
