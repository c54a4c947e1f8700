/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP server: libmicrohttpd with an external epoll on the sd-event loop. It
 * collects bodies, checks what all requests share (method, size, content type,
 * token) and hands whole requests to the routes. Bounds on connections,
 * bytes and idle time. Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "backend/http/access.h"
#include "backend/problem.h"
#include "base/buf.h"
#include "base/cleanup.h"

struct sonde_httpd;
struct sonde_https;
struct sonde_http_stats;
struct MHD_Connection;

#define SONDE_HTTP_PATH_MAX 1024
#define SONDE_HTTP_ADDRESS_MAX 48
#define SONDE_HTTP_STREAMS_MAX 64
#define SONDE_HTTP_STREAMS_OF_ONE (SONDE_HTTP_STREAMS_MAX / 2) /* address */
#define SONDE_HTTP_EVENT_ID_MAX 128

struct sonde_http_request {
	const char *method; /* GET (HEAD is one too), POST */
	const char *path;
	json_t *body; /* of a POST with one; borrowed, NULL if empty */
	struct MHD_Connection *connection;
	struct sonde_identity identity;	      /* who sent it, and what it may do */
	char address[SONDE_HTTP_ADDRESS_MAX]; /* of the client, "10.0.0.1", "::1" */
	/* to be filled by the route */
	int status;
	json_t *answer;		      /* owned by the server then */
	char *text;		      /* the same, instead of a JSON answer */
	size_t text_bytes;	      /* of it, where it may hold a NUL; 0: it ends there */
	const struct sonde_buf *raw;  /* the body, where it is of config.raw_type; else NULL */
	const char *text_type;	      /* its Content-Type; static */
	const char *route;	      /* template of the path that was found; static, NULL: none */
	struct sonde_problem problem; /* status 0: none */
	char location[160];
	char allow[32]; /* with 405 */
	bool waits;	/* the answer comes later, by sonde_http_resume() */
	void *ctx;	/* the route's, while it waits */
	/* An answer without an end, text/event-stream: config.events tells what is new, now and each second. */
	bool streams;
	char subject[128]; /* what it is about: the route's */
	char event_id
		[SONDE_HTTP_EVENT_ID_MAX]; /* of the last event that the client has; the route's */
};

/* A query parameter, NULL if absent. Borrowed for the request. */
const char *sonde_http_query(const struct sonde_http_request *req, const char *name);
/* A header of the request, as sonde_http_query(). */
const char *sonde_http_header(const struct sonde_http_request *req, const char *name);

/* The answer of a request that waits is there. */
void sonde_http_resume(struct sonde_http_request *req);

struct sonde_httpd_config {
	const char *address;
	uint16_t port; /* 0 = any */
	unsigned max_connections;
	size_t max_body_bytes;
	/* A POST to this path may have a body of this type, of so many bytes. All borrowed; NULL: none may. */
	const char *raw_path, *raw_type;
	size_t max_raw_bytes;
	const struct sonde_access *access; /* borrowed; NULL: whoever comes may do all */
	struct sonde_https *https;	   /* borrowed; NULL = plain text */
	const char *open_path; /* a GET of this needs no token; borrowed, NULL: each does */
	/* One request; fills status and answer, or problem, or sets waits. */
	void (*handle)(void *ctx, struct sonde_http_request *req);
	/*
	 * Once a request that came whole or was answered: its answer's status is known, or (0) the client went before.
	 * May be NULL.
	 */
	void (*note)(void *ctx, const struct sonde_http_request *req, int status);
	/* The request is gone though it waits: forget it. */
	void (*abandon)(void *ctx, struct sonde_http_request *req);
	/* Of a request that streams: appends whole events. Return: 1 that was the last, 0, -errno (it ends). */
	int (*events)(void *ctx, struct sonde_http_request *req, struct sonde_buf *out);
	void *ctx;
};

/* @config's strings are borrowed. Return: 0, -EINVAL (address), -EADDRINUSE and the like. */
int sonde_httpd_new(sd_event *event, const struct sonde_httpd_config *config,
		    struct sonde_httpd **ret) _must_check_;
struct sonde_httpd *sonde_httpd_free(struct sonde_httpd *h);
SONDE_DEFINE_CLEANUP(struct sonde_httpd *, sonde_httpd_free)
uint16_t sonde_httpd_port(const struct sonde_httpd *h);
const struct sonde_http_stats *sonde_httpd_stats(const struct sonde_httpd *h);
/* Each second: the streams. */
void sonde_httpd_tick(struct sonde_httpd *h);
/* Is there room for one more stream, in all and in the share of this request's address? */
bool sonde_httpd_has_stream(struct sonde_httpd *h, const struct sonde_http_request *req);
/* No new connections, and the streams end. */
void sonde_httpd_drain(struct sonde_httpd *h);
