/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The script language of the fake runtime and its containers.
 *
 * A script is text of one command a line: a verb, a blank, its argument. It is run from top to bottom
 * and ends with exit status 0 unless a verb ended it before. TEXT arguments know the escapes
 * \n \r \t \\ \0 and \xHH. In any process:
 *
 *   print TEXT         write TEXT to standard output
 *   eprint TEXT        write TEXT to standard error
 *   fill FD N [L]      write N bytes to FD as fast as possible, in lines of L bytes with their newline
 *   copy FD PATH AT N [CHUNK [MS]]
 *                      write N bytes of a file from AT on to FD, CHUNK at a time and with a pause
 *                      between them
 *   obey PATH          run the lines read from a FIFO until it has no writer
 *   cat                copy standard input to standard output until it ends
 *   discard [N]        read standard input until it ends, or N bytes of it
 *   dump PATH          write the attributes of this process (see dump.h) as JSON
 *   touch PATH         create a file
 *   wait PATH          wait until PATH exists
 *   sleep MS           wait this many milliseconds
 *   pause              wait for a signal forever
 *   exit N             end with status N
 *   die SIGNAL         kill itself with this signal number
 *   ignore SIGNAL      ignore this signal
 *   close FD           close a descriptor
 *   nonblock FD        set O_NONBLOCK on a descriptor
 *   reopen FD          replace FD by /proc/self/fd/FD opened for writing
 *   append PATH TEXT   append TEXT to a file (no blank in PATH)
 *   user UID           become this user and the group of the same number
 *   fork LINE          run one more command in a child that is not waited for
 *   session            become the leader of a new session
 *   winsize            print the size of the terminal on standard input as ROWSxCOLUMNS
 *   winch              print the size again after each change, forever
 *   raw                switch the terminal on standard input to raw mode
 *   sh TEXT            become /bin/sh -c TEXT (no escapes)
 *
 * Only in the runtime:
 *
 *   console [HOW]      open a terminal and send its master over --console-socket, if there is one.
 *                      HOW: twice, pair (two of them in one message), file (send /dev/null), nofd (data
 *                      only), connect (send nothing)
 *   container [HOW]    start the container. HOW: foster (under a parent that outlives the runtime and
 *                      reaps it), reap (wait for it here), member (in the runtime's session)
 *   pidfile            write the pid of the container to --pid-file
 *   rawpid [TEXT]      write TEXT there instead
 */

struct runtime;

/* Runs a script to its end. `runtime` is NULL in a container. Does not return. */
void script_run(const char *script, struct runtime *runtime) __attribute__((noreturn));

/* Runs one command line. Verbs such as `exit` do not return. */
void script_command(const char *line, struct runtime *runtime);

/* Ends the process with status 98 and a message on standard error. */
void script_fail(const char *what, const char *detail) __attribute__((noreturn));
