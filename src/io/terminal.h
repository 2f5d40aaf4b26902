#pragma once

/* The master side of the container's pseudo terminal. */

/* Sets ONLCR, so that the log and clients get "\r\n" for the container's "\n"
 * (termios(3)). A failure is a warning. */
void terminal_set_up(int fd);

/* Sets the window size in characters; the container's processes get SIGWINCH. A failure is a warning. */
void terminal_resize(int fd, int rows, int columns);
