/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The master side of the container's pseudo terminal. */

/* Sets ONLCR (termios(3)): the log and clients get "\r\n" for the container's "\n". A failure is reported as
 * a warning. */
void terminal_set_up(int fd);

/* Sets the window size in characters. The foreground process group gets SIGWINCH, even if the terminal has
 * that size already. A failure is reported as a warning. */
void terminal_resize(int fd, int rows, int columns);
