/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rest: one request at a time to the server's /api/v1 (src/backend/http/README.md), or to an OAP's GraphQL (oap.h).
 * The answer is hostile: bounded in bytes and nesting before it is parsed.
 */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"

#define SONDE_REST_BODY_MAX (32UL * 1024 * 1024)
#define SONDE_REST_DEPTH_MAX 32

struct sonde_rest;

/* @interrupted may be NULL; else it is asked about once a second and ends a request by true. */
struct sonde_rest_options {
	const char *server;	/* "http://host:port", copied */
	const char *token;	/* NULL or "" = none; only used in sonde_rest_new() */
	const char *basic;	/* "NAME:PASSWORD" instead of it, likewise */
	const char *ca;		/* PEM file of the roots for https, NULL or "" = the system's */
	const char *cert, *key; /* PEM files of our own certificate, NULL or "" = none */
	uint64_t timeout_ns;
	bool (*interrupted)(void *ctx);
	void *ctx;
	FILE *trace; /* each request as a line; NULL = none; borrowed */
};

/* Return: 0, -EINVAL (no http or https URL), -ENOMEM. */
int sonde_rest_new(const struct sonde_rest_options *options, struct sonde_rest **ret) _must_check_;
struct sonde_rest *sonde_rest_free(struct sonde_rest *rest);
SONDE_DEFINE_CLEANUP(struct sonde_rest *, sonde_rest_free)

void sonde_rest_set_interrupted(struct sonde_rest *rest, bool (*interrupted)(void *ctx), void *ctx);

struct sonde_rest_answer {
	long status;	       /* HTTP */
	struct sonde_buf body; /* verbatim */
	json_t *json;	       /* owned; NULL: the body is no JSON object */
};
#define SONDE_REST_ANSWER_INIT                                                                     \
	((struct sonde_rest_answer){.body = SONDE_BUF_INIT(SONDE_REST_BODY_MAX)})
void sonde_rest_answer_done(struct sonde_rest_answer *answer);
#define _cleanup_answer_ _cleanup_(sonde_rest_answer_done)

/*
 * @path: "/api/v1/…", its parts already escaped. @body: JSON for a POST, NULL = GET.
 * Return: 0 with any HTTP status, -ECONNREFUSED (the server is not reached), -ETIMEDOUT, -EINTR,
 * -EMSGSIZE (answer too large), -EBADMSG (a 2xx that is no JSON object, or nested too deep),
 * -EPROTO (other trouble on the way), -ENOMEM. sonde_rest_error() says it in words.
 */
int sonde_rest_request(struct sonde_rest *rest, const char *path, const char *body,
		       struct sonde_rest_answer *ret) _must_check_;

/* The same by any method, "DELETE" or "PUT"; @body may be NULL with all. A 204 has no JSON, which is no fault. */
int sonde_rest_send(struct sonde_rest *rest, const char *method, const char *path, const char *body,
		    struct sonde_rest_answer *ret) _must_check_;

/* GET of what is no JSON: the body alone; answer->json is of a refusal. @accept: the Accept header's value. Return: as above. */
int sonde_rest_fetch(struct sonde_rest *rest, const char *path, const char *accept,
		     struct sonde_rest_answer *ret) _must_check_;
/* POST of bytes of Content-Type @type. Return: as above. */
int sonde_rest_upload(struct sonde_rest *rest, const char *path, const char *type, const void *data,
		      size_t n, struct sonde_rest_answer *ret) _must_check_;
const char *sonde_rest_error(const struct sonde_rest *rest);
const char *sonde_rest_server(const struct sonde_rest *rest);

struct sonde_sse;

/*
 * Reads the events of @path into @sse until the stream ends, is cut, or on_event returns other than 0 (which may be no
 * error of sonde_rest_request()). It has no time limit, but 45 s without a byte are one: the server sends a comment each
 * 15 s. sse->id goes out as Last-Event-ID. @ret: the answer that is no stream: its status (204: it had ended), a problem.
 * Return: as sonde_rest_request(); or what on_event returned; 0 = it ended.
 */
int sonde_rest_events(struct sonde_rest *rest, const char *path, struct sonde_sse *sse,
		      struct sonde_rest_answer *ret) _must_check_;

/* Appends @text percent-escaped. Return: 0, -ENOMEM, -EMSGSIZE. */
int sonde_rest_escape(const char *text, struct sonde_buf *out) _must_check_;
