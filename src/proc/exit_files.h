#pragma once

/* The files that tell callers how a container ended: podman and CRI-O watch their directories and read each
 * file once, so every file appears whole, under its own name, by rename(2). */

/* The exit code of a container whose end is not known, or that was killed because its time was up. */
#define EXIT_CODE_UNKNOWN (-1)

/* Writes the code, decimal and without a newline, to <persist_dir>/exit and then to <exit_dir>/<cid>. Either
 * directory may be NULL. The two are independent: a failure of one is reported (diag_error) and does not
 * keep the other from being written. */
void exit_files_write(const char *persist_dir, const char *exit_dir, const char *cid, int code);

/* Makes the empty files <persist_dir>/oom and <bundle>/oom, which say that the container ran out of memory.
 * Either directory may be NULL; independent and reported as above. */
void oom_files_write(const char *persist_dir, const char *bundle);
