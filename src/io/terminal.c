/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/terminal.h"

#include "base/diag.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

void
terminal_set_up(int fd)
{
        struct termios t;
        if (tcgetattr(fd, &t) == 0) {
                t.c_oflag |= ONLCR;
                if (tcsetattr(fd, TCSANOW, &t) == 0)
                        return;
        }
        diag_warn("Failed to set up the container's terminal: %s", strerror(errno));
}

static bool
has_size(int fd, const struct winsize *size)
{
        struct winsize now;
        return ioctl(fd, TIOCGWINSZ, &now) == 0 && now.ws_row == size->ws_row && now.ws_col == size->ws_col;
}

/* The kernel ignores a size that the terminal has already, but callers send it when a client attaches, so
 * that the program redraws its screen. TIOCSIG does not accept SIGWINCH. */
static void
signal_foreground(int fd)
{
        pid_t group;
        if (ioctl(fd, TIOCGPGRP, &group) == 0 && group > 1)
                (void)kill(-group, SIGWINCH);
}

void
terminal_resize(int fd, int rows, int columns)
{
        struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
        if (has_size(fd, &size))
                signal_foreground(fd);
        else if (ioctl(fd, TIOCSWINSZ, &size) < 0)
                diag_warn("Failed to set the size of the container's terminal to %dx%d: %s", rows, columns,
                          strerror(errno));
}
