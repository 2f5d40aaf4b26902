/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/kernel.h"

#include "tls/answer.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* For versions of libc that lack them. */
enum {
        LEVEL_TLS = 282, /* SOL_TLS */
        ULP = 31,        /* TCP_ULP */
};

/* The sequence number of the next record. */
#define SEQUENCE_SIZE 8

/* The parameters of one direction. */
typedef union {
        struct tls_crypto_info info;
        struct tls12_crypto_info_aes_gcm_128 aes128;
        struct tls12_crypto_info_aes_gcm_256 aes256;
        struct tls12_crypto_info_chacha20_poly1305 chacha;
} Keys;

typedef struct {
        Keys keys;
        socklen_t len;
} Direction;

/* Fills in the members of a kernel structure. In TLS 1.2 with GCM the library has only the part of the nonce
 * that is the same for all records (the salt); the rest is the sequence number. */
static bool
fill(unsigned char *salt, size_t salt_size, unsigned char *iv, size_t iv_size, unsigned char *key,
     size_t key_size, const gnutls_datum_t *session_iv, const gnutls_datum_t *session_key,
     const unsigned char *sequence)
{
        if (session_key->size != key_size || session_iv->size < salt_size)
                return false;
        memcpy(key, session_key->data, key_size);
        memcpy(salt, session_iv->data, salt_size);
        if (session_iv->size == salt_size + iv_size)
                memcpy(iv, session_iv->data + salt_size, iv_size);
        else if (session_iv->size == salt_size && iv_size == SEQUENCE_SIZE)
                memcpy(iv, sequence, iv_size);
        else
                return false;
        return true;
}

#define FILL(member)                                                                                   \
        (fill(k->member.salt, sizeof k->member.salt, k->member.iv, sizeof k->member.iv, k->member.key, \
              sizeof k->member.key, &iv, &key, sequence) &&                                            \
         memcpy(k->member.rec_seq, sequence, SEQUENCE_SIZE))

static bool
get_keys(const Session *s, bool receiving, Direction *ret)
{
        gnutls_datum_t mac, iv, key;
        unsigned char sequence[SEQUENCE_SIZE];
        Keys *k = &ret->keys;
        *ret = (Direction){0};
        if (gnutls_record_get_state(s->tls, receiving, &mac, &iv, &key, sequence) < 0)
                return false;
        bool newest = gnutls_protocol_get_version(s->tls) == GNUTLS_TLS1_3;
        k->info.version = newest ? TLS_1_3_VERSION : TLS_1_2_VERSION;
        switch (gnutls_cipher_get(s->tls)) {
        case GNUTLS_CIPHER_AES_128_GCM:
                k->info.cipher_type = TLS_CIPHER_AES_GCM_128;
                ret->len = sizeof k->aes128;
                return FILL(aes128);
        case GNUTLS_CIPHER_AES_256_GCM:
                k->info.cipher_type = TLS_CIPHER_AES_GCM_256;
                ret->len = sizeof k->aes256;
                return FILL(aes256);
        case GNUTLS_CIPHER_CHACHA20_POLY1305:
                k->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
                ret->len = sizeof k->chacha;
                return FILL(chacha);
        default:
                return false;
        }
}

static int
set_keys(const Session *s, int direction, const Direction *d)
{
        return setsockopt(s->fd, LEVEL_TLS, direction, &d->keys, d->len) < 0 ? -errno : 0;
}

int
kernel_take_over(Session *s)
{
        Direction sending, receiving;
        int r = -EOPNOTSUPP;
        if (s->n_first > 0 || gnutls_record_check_pending(s->tls) > 0)
                return r;
        if (get_keys(s, false, &sending) && get_keys(s, true, &receiving))
                r = setsockopt(s->fd, IPPROTO_TCP, ULP, "tls", sizeof "tls") < 0 ? -errno : 0;
        /* A socket with the module but without keys passes bytes unchanged, so the session can continue after
         * a failure. */
        if (r == 0)
                r = set_keys(s, TLS_RX, &receiving);
        if (r == 0) {
                r = set_keys(s, TLS_TX, &sending);
                if (r < 0)
                        answer_failure(-r, "the kernel encrypts only one direction of %s with %s: %s",
                                       session_version(s), session_cipher(s), strerror(-r));
        }
        explicit_bzero(&sending, sizeof sending);
        explicit_bzero(&receiving, sizeof receiving);
        return r;
}
