# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""TLS servers for tests, on loopback. Each is stopped at the end of its test."""

import shutil
import socket
import ssl
import subprocess
import threading

from harness import check, skip, wait_for


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Program:
    """openssl s_server or gnutls-serv; `process.stdin` is the data to send, `printed()` is the output of the
    program."""

    def __init__(self, t, argv, ready):
        shutil.which(argv[0]) or skip(f'{argv[0]} is not installed')
        self.output = t.dir / f'server-{len(list(t.dir.glob("server-*")))}'
        with open(self.output, 'wb') as file:
            self.process = subprocess.Popen([*map(str, argv)], stdin=subprocess.PIPE, stdout=file,
                                            stderr=subprocess.STDOUT)
        t.stack.callback(self.stop)
        self.until(ready)

    def printed(self):
        return self.output.read_text(errors='replace')

    def until(self, text):
        def holds():
            check(self.process.poll() is None or text in self.printed(), f'the server has exited: {self.printed()}')
            return text in self.printed()
        wait_for(holds, f'{text!r} from the server, output {self.printed()[-1000:]}', 20)

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def stop(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.wait()


class OpenSSL(Program):
    def __init__(self, t, identity, *options):
        self.port = free_port()
        super().__init__(t, ['openssl', 's_server', '-accept', f'127.0.0.1:{self.port}', '-cert', identity[0],
                             '-key', identity[1], *options], 'ACCEPT')


class GnuTLS(Program):
    def __init__(self, t, identity, *options):
        self.port = free_port()
        super().__init__(t, ['gnutls-serv', '-p', self.port, '--x509certfile', identity[0], '--x509keyfile',
                             identity[1], *options], 'listening on IPv4')


class Python:
    """Handles one connection with a function in a thread; `result` is its return value. With `authority`,
    requires a client certificate from that authority."""

    def __init__(self, t, handle, identity=None, authority=None, address=('127.0.0.1', 0), **settings):
        if authority:
            settings['verify_mode'] = ssl.CERT_OPTIONAL
        self.listener = socket.create_server(address)
        self.port = self.listener.getsockname()[1]
        self.result = self.error = None
        self.thread = threading.Thread(target=self._serve, args=(handle, identity, authority, settings), daemon=True)
        self.thread.start()
        t.stack.callback(self.listener.close)

    def _serve(self, handle, identity, authority, settings):
        connection = self.listener.accept()[0]
        try:
            if identity:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*identity)
                if authority:
                    context.load_verify_locations(authority.certificate)
                if ciphers := settings.pop('ciphers', None):
                    context.set_ciphers(ciphers)
                for key, value in settings.items():
                    setattr(context, key, value)
                connection = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            self.result = handle(connection)
        except OSError as error:
            self.error = error
        finally:
            connection.close()

    def wait(self):
        self.thread.join(60)
        check(not self.thread.is_alive(), 'the server still runs')
        return self.result
