#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Each command line that podman and CRI-O have used, with a caller that behaves as they do."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '../../lib'), HERE]
from harness import check, drain, equal, main  # noqa: E402
from harness.toml import load  # noqa: E402
from callers import KINDS  # noqa

FAILING = 'eprint runc: no such file or directory\\n\nexit 1'


def life_of_container(caller, t):
    """podman run, and CRI-O's create and start: attach before the start, send input, read the output, wait."""
    terminal, stdin = caller.has('-t'), caller.has('-i')
    script = 'wait @/go\nprint out\\n\neprint err\\n\n' + ('discard 3\n' if terminal or stdin else '') + 'exit 3'
    check(caller.start(t.expand(script)).get('data', caller.message.get('pid')) > 0, f'{caller.message}')
    client = caller.attach()
    t.touch('go')
    if client:
        client.until(b'err', 2 if terminal else 3)
        if terminal or stdin:
            client.send(b'in\n')
        drain([client])
        equal(client.data, {2: b'out\r\nerr\r\n' + b'in\r\n' * terminal if terminal else b'out\n',
                            3: b'' if terminal else b'err\n'}, 'output')
    caller.wait(3)
    caller.wait_log(b'out\r\nerr\r\nin\r\n' if terminal else b'out\n')


def failed_create(caller, t):
    """The caller gets the runtime's text, nothing is left behind, and the clean-up command runs."""
    message = caller.start('', FAILING)
    equal(message.get('data', message.get('pid')), -1)
    if not caller.has('passthrough'):
        equal(message['message'], 'runc: no such file or directory\n')
    equal(caller.m.wait(), 1)
    caller.cleaned_up()


def life_of_session(caller, t):
    terminal, stdin = caller.has('-t'), caller.has('-i')
    script = 'wait @/go\nprint out\\n\neprint err\\n\n' + ('cat\n' if stdin and not terminal else '') + 'exit 7'
    check(caller.start(t.expand(script))['data'] > 0, f'{caller.message}')
    t.touch('go')
    if stdin and not terminal:
        caller.client.send(b'in\n')
    caller.client.half_close()
    drain([caller.client])
    wanted = b'out\r\nerr\r\n' if terminal else b'out\nin\n' if stdin else b'out\n'
    equal(caller.client.data[2], wanted, 'standard output')
    caller.wait(7)


def failed_session(caller, t):
    message = caller.start('', FAILING)
    equal(message, {'data': -1, 'message': 'runc: no such file or directory\n'})
    caller.client.to_end()
    equal(caller.m.wait(), 1)
    caller.cleaned_up()


def life_of_exec_sync(caller, t):
    caller.start('print out\\n\neprint err\\n\nprint -n\nexit 7')
    caller.wait(7)
    equal(caller.output(), (b'out\r\nerr\r\n-n', b'') if caller.has('-t') else (b'out\n-n', b'err\n'))


def failed_exec_sync(caller, t):
    caller.start('', FAILING)
    caller.wait(-1)
    equal(caller.message.get('message'), 'runc: no such file or directory\n')


LIVES = {'podman-create': (life_of_container, failed_create), 'crio-create': (life_of_container, failed_create),
         'podman-exec': (life_of_session, failed_session), 'crio-exec': (life_of_exec_sync, failed_exec_sync)}


def test_of(row, abbreviations, part):
    return lambda t: LIVES[row['kind']][part](KINDS[row['kind']](t, row, abbreviations), t)


# Callers that die or give up. The container's end is still recorded.

def dies_before_the_pid(caller, t):
    """The caller dies after the start byte: all pipes are closed."""
    caller.spawn('exit 3', ('sync', 'start'), 'seqpacket')
    caller.m.start.go()
    caller.m.close_pipes()
    caller.m.wait_launcher()
    caller.m.pid = None
    caller.m.conmon_pidfile = caller.run / 'conmon.pid'
    equal(caller.m.wait(), 3)
    equal((caller.m.exits / caller.m.cid).read_text(), '3')
    caller.cleaned_up()


def dies_before_the_second_byte(caller, t):
    """podman dies between the attach message and the second start byte."""
    caller.spawn('exit 3', ('sync', 'start', 'attach'), 'seqpacket')
    caller.m.start.go()
    equal(caller.m.wait_launcher(), 0)
    equal(caller.m.attach_pipe.message(), {'data': 0})
    caller.m.find()
    caller.m.close_pipes()
    equal(caller.m.wait(), 3)
    caller.cleaned_up()


def dies_before_the_exit_code(caller, t):
    """CRI-O stops waiting for an exec."""
    caller.spawn(t.expand('wait @/go\nexit 3'), ('sync',), 'pipe')
    caller.m.close_pipes()
    if not caller.has('--sync'):
        caller.m.wait_launcher()
        caller.m.find()
    t.touch('go')
    equal(caller.m.wait(), 3)


GONE = {'podman 6.0: run -d': dies_before_the_pid, 'podman 4.3.1: run -it': dies_before_the_pid,
        'podman 4.3.1: exec -i': dies_before_the_second_byte, 'podman 6.0: exec -it': dies_before_the_second_byte,
        'CRI-O main: exec-sync': dies_before_the_exit_code, 'CRI-O 1.18: exec-sync': dies_before_the_exit_code}


def rows():
    table = load(os.path.join(HERE, 'command-lines.toml'))
    abbreviations = {name: ' '.join(text.split()) for name, text in table['abbreviation'].items()}
    return table['caller'], abbreviations


def collect():
    callers, abbreviations = rows()
    tests = {}
    for row in callers:
        check(row['name'] not in tests, f'duplicate row {row["name"]}')
        tests[row['name']] = test_of(row, abbreviations, 0)
        tests[row['name'] + ' with a failing runtime'] = test_of(row, abbreviations, 1)
        if row['name'] in GONE:
            tests[row['name'] + ' with a caller that dies'] = lambda t, row=row: GONE[row['name']](
                KINDS[row['kind']](t, row, abbreviations), t)
    print(f'# {len(callers)} callers')
    return tests


if __name__ == '__main__':
    main(collect())
