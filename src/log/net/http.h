/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The transport of drivers that send batches of records as the bodies of POST requests (HTTP/1.1, RFC 9110
 * and 9112) over a persistent connection, one request at a time. A batch stays in the queue until it is
 * answered. */

#include "log/net/connection.h"
#include "log/net/deflate.h"
#include "log/net/http_answer.h"
#include "log/net/http_options.h"
#include "log/net/http_request.h"
#include "log/net/url.h"

/* The level of compression where users can't choose one: it should not cost much CPU time. */
#define LOG_HTTP_COMPRESSION_LEVEL 1

/* The most bytes of an answer's body that are kept. */
#define LOG_HTTP_ANSWER_MAX ((size_t)64 * 1024)

/* The result of a batch. */
typedef enum {
        LOG_HTTP_DELIVERED,
        LOG_HTTP_REFUSED, /* will never be accepted: dropped and counted */
        LOG_HTTP_AGAIN,   /* is sent again after a delay */
        LOG_HTTP_EACH,    /* each record has a result of its own, in `fates` */
        LOG_HTTP_LATER,   /* received, but not safe yet: the server is queried for an acknowledgement */
} LogHttpOutcome;

typedef struct LogHttpVerdict {
        LogHttpOutcome outcome;
        size_t n;       /* records in the batch */
        bool is_query;  /* the answer is to LogHttpProtocol.query */
        char *message;  /* the server's explanation; NULL: none. The transport frees it */
        LogFate *fates; /* of LOG_HTTP_EACH: n of them, from g_new. The transport frees them */
        bool at_once;   /* records are sent again without a delay */
} LogHttpVerdict;

/* The parts that differ between drivers. `self` is the driver's instance, which begins with a LogHttp. */
typedef struct LogHttpProtocol {
        const char *content_type;
        size_t answer_max;

        /* Adds one message to the body of a request with log_http_add. `first`: it is the first one of the
         * body. NULL: the body is the messages, unchanged. */
        void (*add)(void *self, const LogMessage *m, bool first);

        /* The beginning and the end of a body whose added messages have `len` bytes. NULL: nothing. */
        void (*frame)(void *self, size_t len, GString *before, GString *after);

        /* Refines the verdict, which is filled in according to the status of the answer. May be NULL. */
        void (*judge)(void *self, const HttpAnswer *a, LogHttpVerdict *v);

        /* Writes the request that queries for the acknowledgement of a batch, after LOG_HTTP_LATER. NULL: the
         * protocol has none. */
        void (*query)(void *self, GString *path, GString *body);
} LogHttpProtocol;

typedef enum {
        LOG_HTTP_IDLE,    /* there is no request */
        LOG_HTTP_WRITING, /* the request is partially written */
        LOG_HTTP_READING, /* the answer is incomplete */
        LOG_HTTP_PENDING, /* between two requests for the same batch */
} LogHttpState;

typedef struct LogHttp {
        LogConnection connection;
        const LogHttpProtocol *protocol;
        LogUrl url;
        char *target; /* for messages: the URL without its query, which may contain a secret */
        char *fields; /* header fields of each request, with their line ends; a secret */
        bool compress;
        Deflate deflate;
        size_t batch_size;  /* smaller than batch_limit after an answer 413 */
        size_t batch_limit; /* the option */
        int64_t batch_wait, timeout; /* microseconds, as the next two */
        int64_t backoff_first, backoff_max;

        LogHttpState state;
        bool due;           /* the batch does not wait for more records */
        bool ending;        /* from now on no batch waits */
        bool is_query;      /* the request is a query for a batch, not a batch */
        unsigned n_queries; /* for the current batch */
        uint64_t taken;     /* what had arrived before the first of these */
        bool answered;      /* the answer is complete */
        bool reused;        /* the connection has carried an answer before */
        bool persists;      /* the connection can be used for another request */
        size_t n;           /* records of the request */
        size_t batch_len;   /* bytes of their messages */
        HttpRequest request;
        HttpAnswer answer;
        Timer batch_timer, answer_timer;

        int failure;                    /* -errno, noted in a callback; 0: none */
        const char *problem;            /* describes it; NULL: errno does */
        char *reason;                   /* describes the last failure; NULL: errno does */
        unsigned attempt;               /* failures in a row */
        uint64_t n_requests, n_refused; /* requests; those that were refused, at least in part */
        int last_status;                /* of the last answer; 0: there was none yet */
        char *last_message;   /* the server's, of the last answer that was not a success; NULL: none */
        gint64 reported_usec; /* when a refusal was last reported */
} LogHttp;

/* The parameters of log_http_open. Borrowed. */
typedef struct LogHttpSetup {
        const LogHttpProtocol *protocol;
        const char *token_scheme; /* of the Authorization field: "Bearer", "Splunk" */
        const char *more_fields;  /* header fields "NAME: VALUE", with their line ends; NULL: none */
        const LogHttpOptions *options;
        bool compress;
        int level; /* of compression, see Deflate */
} LogHttpSetup;

/* Initializes the transport. Takes ownership of the URL, also on failure. The options have been checked. */
gboolean log_http_open(LogHttp *h, const LogDriverConfig *config, const char *driver, LogUrl *url,
                       const LogHttpSetup *setup, GError **error);

/* Adds bytes to the body of the request. They are not copied, and must stay valid until it is answered. */
void log_http_add(LogHttp *h, const char *bytes, size_t len);

/* For drivers whose instance begins with a LogHttp. */
extern const LogTransport log_http_transport;

/* For LogDriver.save and .restore, including an unanswered request, whose messages must be in the queue.
 * `protocol` and `o` as in the setup. */
void log_http_save(const LogHttp *h, StateWriter *w);
void log_http_restore(LogHttp *h, const LogDriverConfig *config, const LogHttpProtocol *protocol,
                      const LogHttpOptions *o, const LogQueue *queue, StateReader *r);
