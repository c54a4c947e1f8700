/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What grpc-server.c (sockets, connections) and grpc-server-call.c (streams,
 * messages) share. The fuzz target uses it too: it feeds a connection that has no socket.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "base/pace.h"
#include "io/grpc-frame.h"
#include "io/grpc-server.h"
#include "io/http2-conn.h"
#include "io/http2.h"

/* Parts of messages that all calls together may hold, at least; or four of the largest. */
#define SONDE_GRPC_SERVER_HELD_BYTES (64U << 20)

#define SONDE_GRPC_SERVER_PEER_MAX 72

struct sonde_grpc_server {
	sd_event *event;
	struct sonde_grpc_server_config config;
	char *token;		       /* owned, NULL = none is asked for */
	struct sonde_tls_context *tls; /* NULL = plain text */
	uint64_t tls_read_ns;	       /* when its files were last tried */
	struct sonde_pace handshakes;  /* of TLS */
	const struct sonde_grpc_method *methods;
	void *ctx;
	struct sonde_grpc_server_stats stats;

	int listen_fd, spare_fd;
	uint16_t port;
	sd_event_source *accept, *resume;
	struct sonde_grpc_server_conn *conns;
	unsigned n_conns;
	size_t held_bytes;
};

struct sonde_grpc_server_conn {
	struct sonde_grpc_server *server;
	struct sonde_http2 *h2;
	struct sonde_http2_conn *io; /* NULL: fed by a test */
	char peer[SONDE_GRPC_SERVER_PEER_MAX];
	struct sonde_grpc_server_call *calls;
	struct sonde_grpc_server_conn *prev, *next;
};

struct sonde_grpc_server_call {
	struct sonde_grpc_server_conn *conn;
	struct sonde_http2_stream *stream;
	struct sonde_grpc_server_call *prev, *next;
	const struct sonde_grpc_method *method; /* NULL until the request was accepted */
	void *data;
	struct sonde_buf metadata; /* "name\0value\0" … */
	struct sonde_grpc_frames frames;
	struct sonde_buf single; /* the message of a unary call, held until it is the only one */
	enum sonde_encoding encoding;
	sd_event_source *deadline;
	char *words;	   /* of the status that on_message returns; owned */
	size_t held_bytes; /* counted in the server's */
	uint64_t n_messages;
	uint64_t message_mark, message_since_ns;
	bool answered; /* headers are out */
	bool over;     /* trailers are out: what still comes is dropped */
};

/* A server that does not listen yet. Return: 0, -EINVAL, -ENOMEM. */
int sonde_grpc_server_alloc(sd_event *event, const struct sonde_grpc_server_config *config,
			    const struct sonde_grpc_method *methods, void *ctx,
			    struct sonde_grpc_server **ret) _must_check_;

/* A connection of @s without a socket. Return: 0, -ENOMEM. */
int sonde_grpc_server_conn_new(struct sonde_grpc_server *s,
			       struct sonde_grpc_server_conn **ret) _must_check_;
struct sonde_grpc_server_conn *sonde_grpc_server_conn_free(struct sonde_grpc_server_conn *c);
SONDE_DEFINE_CLEANUP(struct sonde_grpc_server_conn *, sonde_grpc_server_conn_free)

/* The events of a connection's streams; ctx is the connection. */
extern const struct sonde_http2_handler sonde_grpc_server_call_events;

/* A call's message has begun and is not whole. */
bool sonde_grpc_server_calls_busy(const struct sonde_grpc_server_conn *c);

/* Ends calls whose message began long ago and is not whole. */
void sonde_grpc_server_calls_tick(struct sonde_grpc_server_conn *c, uint64_t now_ns);
