#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Servers on another host that lose their address, link or route: the monitor notices, resolves the name
again, and sends unacknowledged records to the new address. The other host is a network namespace."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import (  # noqa: E402
    cover, DatagramPeer, enter_network, finish, launch, own_mounts, own_network, Peer, silent, status_now)
from test_faults import got, lines, shell, size, UNTIL_ENOUGH  # noqa: E402
from harness import check, equal, main, needs_root, skip, wait_for  # noqa: E402

HERE, HERE_LATER, THERE, SERVER, SUCCESSOR = (f'10.64.0.{n}' for n in range(1, 6))
NAME, PORT = 'the-server.test', 5140
OPTIONS = {'syslog': 'syslog-address', 'gelf': 'gelf-address', 'fluentd': 'fluentd-address'}
tests = {}


def for_drivers(function):
    """Creates a test for each driver that uses TCP."""
    for driver in OPTIONS:
        tests[f'{function.__name__}_{driver}'] = lambda t, driver=driver: function(t, driver)
    return function


def ip(*words):
    subprocess.run(['ip', *words], check=True)


def own_namespace(t):
    """Moves this thread to a new network namespace and returns its descriptor."""
    own_network()
    descriptor = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    t.stack.callback(os.close, descriptor)
    return descriptor


class Network:
    """Another host with two addresses for servers, and a link to it."""

    def __init__(self, t):
        self.t = t
        self.far, self.near = own_namespace(t), own_namespace(t)
        made = subprocess.run(['ip', 'link', 'add', 'near0', 'type', 'veth', 'peer', 'name', 'far0'],
                              stderr=subprocess.PIPE, text=True, check=False)
        if made.returncode != 0:
            skip(f'no pair of interfaces: {made.stderr.strip()}')
        enter_network(self.far)
        waits = subprocess.Popen(['cat'], stdin=subprocess.PIPE)
        enter_network(self.near)
        ip('link', 'set', 'far0', 'netns', str(waits.pid))
        waits.communicate()
        self.attach(HERE, 'near0')
        with self.there():
            self.attach(THERE, 'far0')
            for address in (SERVER, SUCCESSOR):
                ip('addr', 'add', f'{address}/32', 'dev', 'lo')

    @staticmethod
    def attach(address, interface):
        ip('addr', 'add', f'{address}/24', 'dev', interface)
        ip('link', 'set', interface, 'up')

    @contextlib.contextmanager
    def there(self):
        """Within the block this thread is on the other host."""
        enter_network(self.far)
        try:
            yield
        finally:
            enter_network(self.near)

    def serve(self, address, kind=Peer):
        with self.there():
            return kind(self.t, address=(address, PORT))


class Hosts:
    """The /etc/hosts of this test."""

    def __init__(self, t, *lines_of_file):
        own_mounts()
        self.file = t.dir / 'hosts'
        self.write(*lines_of_file)
        cover('/etc/hosts', self.file)

    def write(self, *lines_of_file):
        self.file.write_text(''.join(f'{line}\n' for line in lines_of_file))


def start(t, driver, script, *options, scheme='tcp', name=NAME):
    return launch(t, script, driver, f'{OPTIONS[driver]}={scheme}://{name}:{PORT}', *options)


def expect_lines(peer, more):
    """Waits for `more` additional lines."""
    count = len(got(peer))
    wait_for(lambda: len(got(peer)) >= count + more, f'{more} more lines', 20)


def end(t, m, *peers):
    """Lets the container end. Checks that each line is at one of the peers, and that none was dropped."""
    t.touch('enough')
    sink = finish(m)
    count = int((t.dir / 'count').read_text())
    equal((sink['in'], sink['out']), (size(count), size(count)))
    wait_for(lambda: {n for peer in peers for n in got(peer)} == set(range(count)), f'all of {count} lines')
    return sink


def move_while_lines_flow(t, driver, seconds, move):
    """After `move` the server is unreachable, and its name belongs to the successor."""
    network, hosts = Network(t), Hosts(t, f'{SERVER} {NAME}')
    peer, successor = network.serve(SERVER), network.serve(SUCCESSOR)
    m = start(t, driver, UNTIL_ENOUGH, f'peer-timeout={seconds}s')
    expect_lines(peer, 20)
    hosts.write(f'{SUCCESSOR} {NAME}')
    with network.there():
        move()
    began = time.monotonic()
    expect_lines(successor, 20)
    check(time.monotonic() - began > 0.8 * seconds, 'the monitor did not wait for the server')
    sink = end(t, m, peer, successor)
    equal((peer.connections, successor.connections), (1, 1), 'connections')
    check(sink['errors']['count'] > 0, 'no error was counted')
    first = got(successor)[0]
    equal(got(successor), list(range(first, first + len(got(successor)))), 'the order of lines at the successor')


@for_drivers
def test_address_removed(t, driver):
    move_while_lines_flow(t, driver, 2 if driver == 'syslog' else 1,
                          lambda: ip('addr', 'del', f'{SERVER}/32', 'dev', 'lo'))


def test_answers_dropped(t):
    """Packets reach the server, but its acknowledgements do not arrive."""
    move_while_lines_flow(t, 'syslog', 1, lambda: ip('rule', 'add', 'from', SERVER, 'blackhole'))


def test_no_route(t):
    """This host has no route to the server any more."""
    network, hosts = Network(t), Hosts(t, f'{SERVER} {NAME}')
    peer, successor = network.serve(SERVER), network.serve(SUCCESSOR)
    m = start(t, 'syslog', UNTIL_ENOUGH, 'peer-timeout=1s')
    expect_lines(peer, 20)
    hosts.write(f'{SUCCESSOR} {NAME}')
    ip('route', 'add', 'blackhole', SERVER)
    expect_lines(successor, 20)
    end(t, m, peer, successor)


def test_next_address(t):
    """The name has two addresses from the beginning; the server at the first one disappears."""
    network = Network(t)
    Hosts(t, f'{SERVER} {NAME}', f'{SUCCESSOR} {NAME}')
    pathlib.Path('/proc/sys/net/ipv4/neigh/near0/retrans_time_ms').write_text('100')
    peer, successor = network.serve(SERVER), network.serve(SUCCESSOR)
    m = start(t, 'syslog', UNTIL_ENOUGH, 'peer-timeout=1s')
    expect_lines(peer, 20)
    with network.there():
        ip('addr', 'del', f'{SERVER}/32', 'dev', 'lo')
    ip('neigh', 'flush', 'dev', 'near0')
    expect_lines(successor, 20)
    end(t, m, peer, successor)


def test_own_address_changes(t):
    """Answers for the old connection can't be delivered any more."""
    network = Network(t)
    Hosts(t, f'{SERVER} {NAME}')
    peer = network.serve(SERVER)
    m = start(t, 'syslog', UNTIL_ENOUGH, 'peer-timeout=1s')
    expect_lines(peer, 20)
    ip('addr', 'del', f'{HERE}/24', 'dev', 'near0')
    Network.attach(HERE_LATER, 'near0')
    expect_lines(peer, 20)
    end(t, m, peer)
    equal(peer.connections, 2, 'connections')


def pull(network, interface, wait):
    """Sets this interface down while `wait` runs."""
    with network.there() if interface == 'far0' else contextlib.nullcontext():
        ip('link', 'set', interface, 'down')
        wait()
        ip('link', 'set', interface, 'up')


def short_outage(t, interface):
    """The connection survives it."""
    network = Network(t)
    Hosts(t, f'{SERVER} {NAME}')
    peer = network.serve(SERVER)
    m = start(t, 'syslog', UNTIL_ENOUGH)
    expect_lines(peer, 20)
    pull(network, interface, lambda: time.sleep(0.5))
    expect_lines(peer, 20)
    end(t, m, peer)
    equal(peer.connections, 1, 'connections')


def test_link_down_at_the_server(t):
    short_outage(t, 'far0')


def test_link_down_at_the_client(t):
    short_outage(t, 'near0')


def test_long_link_failure(t):
    """The monitor closes the connection, and reconnects to the same server when the link is up again."""
    network = Network(t)
    Hosts(t, f'{SERVER} {NAME}')
    peer = network.serve(SERVER)
    m = start(t, 'syslog', UNTIL_ENOUGH, 'peer-timeout=1s', 'max-buffer-size=4m')
    expect_lines(peer, 20)
    pull(network, 'far0', lambda: wait_for(lambda: status_now(m)['errors']['count'] > 0, 'an error', 20))
    expect_lines(peer, 20)
    end(t, m, peer)
    equal(peer.connections, 2, 'connections')


def move_datagrams(t, before, after, leave=Peer.close):
    """The server disappears, and later datagrams go to the successor. The last ones before that may be lost."""
    network, hosts = Network(t), Hosts(t, *before)
    peer, successor = network.serve(SERVER, DatagramPeer), network.serve(SUCCESSOR, DatagramPeer)
    m = start(t, 'syslog', UNTIL_ENOUGH, scheme='udp')
    expect_lines(peer, 20)
    hosts.write(*after)
    leave(peer)
    expect_lines(successor, 20)
    t.touch('enough')
    sink = finish(m)
    count = int((t.dir / 'count').read_text())
    equal(sink['in'], size(count), 'output of the container')
    wait_for(lambda: got(successor)[-1] == count - 1, 'the last line')
    first = got(successor)[0]
    equal(got(successor), list(range(first, count)), 'lines at the successor')
    check(first - got(peer)[-1] < 100, f'line {got(peer)[-1]} was followed by {first}')


def test_datagrams_to_next_address(t):
    both = f'{SERVER} {NAME}', f'{SUCCESSOR} {NAME}'
    move_datagrams(t, both, both)


def test_datagrams_to_new_address(t):
    move_datagrams(t, [f'{SERVER} {NAME}'], [f'{SUCCESSOR} {NAME}'])


def test_datagrams_without_route(t):
    both = f'{SERVER} {NAME}', f'{SUCCESSOR} {NAME}'
    move_datagrams(t, both, both, lambda _: ip('route', 'add', 'unreachable', SERVER))


def test_first_address_is_silent(t):
    """The next one of the name is tried soon: not after the 15 seconds that the kernel waits for an answer."""
    own_network()
    Hosts(t, f'127.0.0.1 {NAME}', f'127.0.0.2 {NAME}')
    silent(t, ('127.0.0.1', PORT))
    peer = Peer(t, address=('127.0.0.2', PORT))
    m = start(t, 'syslog', UNTIL_ENOUGH)
    wait_for(lambda: got(peer), 'a line', 8)
    end(t, m, peer)


def localhost(t, scheme, address):
    """The name has two addresses, and a server listens on one of them."""
    own_network()
    Hosts(t, '127.0.0.1 localhost', '::1 localhost')
    try:
        peer = {'tcp': Peer, 'udp': DatagramPeer}[scheme](t, address=(address, PORT))
    except OSError:
        skip(f'no server at {address}: IPv6 is switched off')
    m = start(t, 'syslog', shell(lines(0, 40)), scheme=scheme, name='localhost')
    equal(finish(m)['out'], size(40))
    wait_for(lambda: got(peer) == list(range(40)), f'all lines; got {got(peer)}')


for a_scheme in ('tcp', 'udp'):
    for an_address, family in (('127.0.0.1', 'ipv4'), ('::1', 'ipv6')):
        tests[f'test_localhost_{a_scheme}_{family}'] = (
            lambda t, scheme=a_scheme, address=an_address: localhost(t, scheme, address))


if __name__ == '__main__':
    tests.update({name: function for name, function in list(globals().items())
                  if name.startswith('test_') and function.__code__.co_varnames[:2] != ('t', 'driver')})
    main({name: needs_root(function) for name, function in tests.items()})
