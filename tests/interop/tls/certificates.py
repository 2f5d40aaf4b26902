# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Certificates for tests, created with certtool."""

import pathlib
import shutil
import subprocess

from harness import check, skip

VALID = 'activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2049-12-31 00:00:00"\n'
EXPIRED = 'activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2021-02-03 04:05:06"\n'
FUTURE = 'activation_date = "2048-02-03 04:05:06"\nexpiration_date = "2049-12-31 00:00:00"\n'
LOCAL = 'dns_name = "localhost"\nip_address = "127.0.0.1"\nip_address = "::1"\n'
SERVER, CLIENT = 'tls_www_server\nsigning_key\n', 'tls_www_client\nsigning_key\n'


class Authority:
    """A certificate authority and the certificates that it issues, as files in `directory`."""

    def __init__(self, directory, name='authority', issuer=None):
        shutil.which('certtool') or skip('certtool is not installed')
        self.directory, self.name, self.issuer = pathlib.Path(directory), name, issuer
        self.certificate, self.key = self._make(name, f'{VALID}ca\ncert_signing_key\n', issuer or self)

    def issue(self, name, names=LOCAL, times=VALID, purpose=SERVER):
        """Returns the paths of a certificate and its key."""
        return self._make(name, names + times + purpose, self)

    def revoke(self, certificate, response):
        """Writes an OCSP response, with openssl."""
        shutil.which('openssl') or skip('openssl is not installed')
        serial = self._run('openssl', 'x509', '-in', certificate, '-noout', '-serial').strip().split('=')[1]
        index = self.directory / 'index'
        index.write_text(f'R\t491231000000Z\t250101000000Z\t{serial}\tunknown\t/CN=server\n')
        self._run('openssl', 'ocsp', '-index', index, '-CA', self.certificate, '-rsigner', self.certificate,
                  '-rkey', self.key, '-issuer', self.certificate, '-cert', certificate, '-respout', response,
                  '-ndays', '3')

    def _make(self, name, template, issuer):
        cert, key, text = (self.directory / f'{name}.{end}' for end in ('crt', 'key', 'template'))
        text.write_text(f'cn = "{name}"\n{template}')
        self._certtool('--generate-privkey', '--key-type', 'ecdsa', '--outfile', key)
        if issuer is self and name == self.name:
            self._certtool('--generate-self-signed', '--load-privkey', key, '--template', text, '--outfile', cert)
        else:
            self._certtool('--generate-certificate', '--load-privkey', key, '--load-ca-certificate',
                           issuer.certificate, '--load-ca-privkey', issuer.key, '--template', text, '--outfile', cert)
        return cert, key

    def _certtool(self, *args):
        self._run('certtool', *args)

    @staticmethod
    def _run(*args):
        done = subprocess.run([*map(str, args)], capture_output=True, text=True, check=False)
        check(done.returncode == 0, f'{args}: {done.stderr}')
        return done.stdout
