/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * gRPC server: HTTP/2 (prior knowledge) on one listening socket of the
 * sd-event loop. Accepts identity, gzip and zstd messages, answers identity,
 * advertises grpc-accept-encoding and, where told, extra metadata. Limits on
 * connections, streams, header bytes, message bytes (compressed and not) and
 * idle time; what a limit refuses is counted. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "io/grpc.h"
#include "io/tls.h"

struct sonde_grpc_server;
struct sonde_grpc_server_call;

/* Of one message to a method without_token. */
#define SONDE_GRPC_SERVER_OPEN_BYTES 256

/* One method. Handlers run on the loop; @data is decompressed and borrowed. */
struct sonde_grpc_method {
	const char *path; /* "/skywalking.v3.ManagementService/keepAlive" */
	/*
	 * Each request message, in order. OK goes on; anything else ends the call with that status
	 * (set words with sonde_grpc_server_call_fail()). May be NULL.
	 */
	enum sonde_grpc_status (*on_message)(void *ctx, struct sonde_grpc_server_call *call,
					     const uint8_t *data, size_t n);
	/* The client half-closed: answer here with send() and finish(), or later for a server stream. */
	void (*on_half_close)(void *ctx, struct sonde_grpc_server_call *call);
	/* Exactly once: the call is gone (finished, reset, connection lost). Free what hangs on user data. May be NULL. */
	void (*on_close)(void *ctx, struct sonde_grpc_server_call *call);
	/*
	 * Unary request: anything but exactly one message is INVALID_ARGUMENT; on_message runs when the client has
	 * half-closed, right before on_half_close, so that nothing is done for a call that is refused.
	 */
	bool single_message;
	/*
	 * Answered to whoever asks, also where the server wants a token. Who has none gets little: messages of at most
	 * SONDE_GRPC_SERVER_OPEN_BYTES (a longer one is RESOURCE_EXHAUSTED), not compressed (UNIMPLEMENTED), and what
	 * such calls hold does not count against the others'.
	 */
	bool without_token;
};

struct sonde_grpc_server_config {
	const char *address; /* "127.0.0.1", "::", … */
	uint16_t port;	     /* 0 = any free one, see sonde_grpc_server_port() */
	/* Of one message, decompressed; larger is RESOURCE_EXHAUSTED. Methods without_token have their own. */
	size_t max_message_bytes;
	unsigned max_connections;
	unsigned max_streams; /* of one connection at a time */
	/* Metadata `authentication` that every call must carry but those without_token, or NULL; never logged. */
	const char *token;
	bool extension; /* answer with sonde-extension: 1 */
	/* NULL = plain text. The files are read anew, at a connection, once they changed; bad new ones leave the old in use. */
	const struct sonde_tls_config *tls;
	/*
	 * A connection that came to nothing before it spoke HTTP/2, or certificates that could not be read anew
	 * (@peer NULL): for a log line. @peer: "10.0.0.1", "[::1]". Not rate-limited: each packet of the world may
	 * cause one. May be NULL. ctx is the methods'.
	 */
	void (*on_trouble)(void *ctx, const char *peer, const char *words);
};

struct sonde_grpc_server_stats {
	uint64_t connections, connections_refused;
	uint64_t calls, calls_failed;
	uint64_t messages, message_bytes, message_bytes_compressed;
	uint64_t messages_refused;  /* too large, bomb, bad encoding, bad frame */
	uint64_t protocol_errors;   /* HTTP/2 rules broken; added when the connection ends */
	uint64_t handshakes_failed; /* TLS, or no word of HTTP/2 */
};

/*
 * @methods: {NULL}-ended by path, borrowed for the server's life, called with @ctx. @config's strings are copied.
 * Return: 0, -EINVAL (address, a limit, or TLS: on_trouble has the words), -ENOMEM, -EADDRINUSE and the like.
 */
int sonde_grpc_server_new(sd_event *event, const struct sonde_grpc_server_config *config,
			  const struct sonde_grpc_method *methods, void *ctx,
			  struct sonde_grpc_server **ret) _must_check_;

/* Closes everything (on_close of each call runs). Not from inside a handler. NULL is fine. Returns NULL. */
struct sonde_grpc_server *sonde_grpc_server_free(struct sonde_grpc_server *s);
SONDE_DEFINE_CLEANUP(struct sonde_grpc_server *, sonde_grpc_server_free)

/* GOAWAY to all, no new connections; calls in flight go on. */
void sonde_grpc_server_drain(struct sonde_grpc_server *s);

uint16_t sonde_grpc_server_port(const struct sonde_grpc_server *s);
const struct sonde_grpc_server_stats *sonde_grpc_server_stats(const struct sonde_grpc_server *s);

/* Request metadata by lower-case name (":path" too), NULL if absent. Borrowed, valid for the call. */
const char *sonde_grpc_server_call_metadata(const struct sonde_grpc_server_call *call,
					    const char *name);
void sonde_grpc_server_call_set_data(struct sonde_grpc_server_call *call, void *data);
void *sonde_grpc_server_call_data(const struct sonde_grpc_server_call *call);

/* One answer message, copied. Return: 0, -ENOMEM, -ENOTCONN (call already ended), -ENOBUFS (a slow reader's queue is full). */
int sonde_grpc_server_call_send(struct sonde_grpc_server_call *call, const uint8_t *data,
				size_t n) _must_check_;

/* Trailers; at most once, nothing after it. @message may be NULL; cut to 255 bytes, percent-encoded. */
void sonde_grpc_server_call_finish(struct sonde_grpc_server_call *call,
				   enum sonde_grpc_status status, const char *message);

/* Words for the status that on_message is about to return. */
void sonde_grpc_server_call_fail(struct sonde_grpc_server_call *call, const char *message);
