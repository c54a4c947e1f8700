/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * gRPC client: one HTTP/2 connection (prior knowledge, or TLS) to one backend on the
 * sd-event loop, many calls at a time. It connects when the first call is
 * made, and again after a loss; calls made meanwhile
 * fail in the next turn of the loop with UNAVAILABLE, not_processed, so that the caller keeps its data.
 * At most 512 calls and 64 MiB of requests at a time; more fails likewise with RESOURCE_EXHAUSTED.
 * Every call has a deadline. Loop thread only. No variable of the environment (`https_proxy` …) is looked at.
 *
 * A backend may have several addresses. They are tried in order (listed, or random), all that the name of each
 * stands for, looked up anew; one that was just lost comes last. When none answered, jittered back-off (1 s to 16 s).
 * Lost is: closed, GOAWAY, TCP's own time-outs, or two calls in a row whose deadline went by without one byte of the
 * peer. With a longest age, a second connection is made beside the first, and once it stands new calls go there; those
 * under way end where they are, but those without a deadline end with UNAVAILABLE.
 *
 * Encodings: what the peer advertised in grpc-accept-encoding of its last good
 * answer is remembered for the connection; a request goes out as zstd, else
 * gzip, else identity, never before it was advertised (OAP refuses zstd by the header alone).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "io/address.h"
#include "io/encoding.h"
#include "io/grpc.h"
#include "io/tls.h"

struct sonde_grpc_client;
struct sonde_grpc_client_call;

#define SONDE_GRPC_ADDRESSES_MAX 16

enum sonde_grpc_client_event_kind {
	SONDE_GRPC_CLIENT_CONNECTED, /* and the peer speaks HTTP/2; words: how it is secured */
	SONDE_GRPC_CLIENT_FAILED,    /* this address; words: why */
	SONDE_GRPC_CLIENT_LOST,	     /* the connection that takes calls; words: why */
	SONDE_GRPC_CLIENT_REFUSED, /* the first call of a connection that was refused for its token; words: which */
};

struct sonde_grpc_client_event {
	enum sonde_grpc_client_event_kind kind;
	const char *address; /* as configured, "host:port"; borrowed, as words */
	const char *words;
	bool insecure; /* CONNECTED: by TLS whose peer was not verified */
};

struct sonde_grpc_client_config {
	const char *host; /* name or address */
	uint16_t port;
	const struct sonde_address *addresses; /* instead of host and port */
	size_t n_addresses;		       /* at most SONDE_GRPC_ADDRESSES_MAX */
	bool random_order;
	uint64_t max_age_ns; /* of a connection, a tenth more or less; 0 = any */
	const char *token;   /* metadata `authentication`, or NULL; never logged */
	const char *
		token_file; /* or the file that holds it; read at each connection and refusal; NULL = none */
	const struct sonde_tls_config
		*tls; /* NULL = plain text; the files are read at each connection */
	const char *
		tls_name; /* whom the certificate must name; NULL or "" = the host of the address */
	size_t max_message_bytes;    /* largest answer that is accepted, decompressed */
	uint64_t connect_timeout_ns; /* of each address, and of each look-up */
	/* For log lines; may make no call and free nothing. May be NULL. */
	void (*on_event)(void *ctx, const struct sonde_grpc_client_event *event);
	void *ctx;
};

/* What ended a call, where its status does not tell: several mean UNAVAILABLE. */
enum sonde_grpc_cause {
	SONDE_GRPC_CAUSE_ANSWER = 0, /* the peer said the status, or what is no answer */
	SONDE_GRPC_CAUSE_LOCAL,	     /* cancelled, or beyond a limit of this side */
	SONDE_GRPC_CAUSE_CONNECT,    /* there is no connection */
	SONDE_GRPC_CAUSE_LOST,	     /* it was lost with the call on it */
	SONDE_GRPC_CAUSE_GOAWAY,     /* the peer leaves */
	SONDE_GRPC_CAUSE_REFUSED,    /* the peer takes no more streams */
	SONDE_GRPC_CAUSE_RESET,	     /* the peer reset the stream */
	SONDE_GRPC_CAUSE_DEADLINE,   /* the peer's machine is there and did not answer in time */
	/*
	 * Nothing is acknowledged any more: machine or path is gone without a word (TCP_INFO at the deadline, or
	 * the kernel's own time-out). The connection is given up.
	 */
	SONDE_GRPC_CAUSE_HALF_OPEN,
	_SONDE_GRPC_CAUSE_MAX,
};

struct sonde_grpc_result {
	enum sonde_grpc_status status;
	enum sonde_grpc_cause cause; /* of a status other than OK */
	char message[512];	     /* grpc-message, percent-decoded, cut */
	/*
	 * Certainly not processed: connect failed, stream refused, GOAWAY with a lower last-stream-id, or
	 * refused before any message was sent. Only then may a backend that adds be sent it again.
	 */
	bool not_processed;
	size_t bytes;		 /* of the requests, serialised */
	size_t bytes_compressed; /* as sent */
	enum sonde_encoding encoding;
};

struct sonde_grpc_client_handler {
	/* Each answer message, decompressed; borrowed. Streams may give several. May be NULL. */
	void (*on_message)(void *ctx, const uint8_t *data, size_t n);
	/* Exactly once, last; the call is freed behind it. */
	void (*on_done)(void *ctx, const struct sonde_grpc_result *result);
	void *ctx;
};

struct sonde_grpc_metadata {
	const char *name, *value;
};

/* Copies all that @config points at. *@ret on success only. Return: 0, -EINVAL (a limit of 0, a text no header may hold), -ENOMEM. */
int sonde_grpc_client_new(sd_event *event, const struct sonde_grpc_client_config *config,
			  struct sonde_grpc_client **ret) _must_check_;

/* Ends all calls with CANCELLED (their on_done runs). Not from inside a handler. NULL is fine. Returns NULL. */
struct sonde_grpc_client *sonde_grpc_client_free(struct sonde_grpc_client *c);
SONDE_DEFINE_CLEANUP(struct sonde_grpc_client *, sonde_grpc_client_free)

/* True once an answer of this connection carried `sonde-extension: 1`. Kept over a reconnect until the next answer. */
bool sonde_grpc_client_has_extension(const struct sonde_grpc_client *c);

/* True once any call was answered in order: only then does sonde_grpc_client_has_extension() say no. */
bool sonde_grpc_client_heard(const struct sonde_grpc_client *c);

/* True while a connection stands whose peer speaks HTTP/2. */
bool sonde_grpc_client_connected(const struct sonde_grpc_client *c);

/* The address that calls go to, or the one that is tried, "host:port". Borrowed until the next event. */
const char *sonde_grpc_client_address(const struct sonde_grpc_client *c);

/* What the next request would be sent as. */
enum sonde_encoding sonde_grpc_client_encoding(const struct sonde_grpc_client *c);

/*
 * sonde_grpc_client_call() - one unary or client-streaming call with all its messages at hand
 * @path: "/skywalking.v3.MeterReportService/collectBatch"
 * @messages: @n_messages serialised messages; copied (framed and compressed) before it returns
 * @metadata: @n_metadata extra request headers, copied; may be NULL
 * @deadline_ns: CLOCK_MONOTONIC, 0 = none (for watch streams only); sent as grpc-timeout too
 *
 * on_done never runs before this returns, nor when < 0 is returned. *@ret_call (may be NULL) is borrowed,
 * valid until on_done. Return: 0, -ENOMEM, -EMSGSIZE (a request over 64 MiB, too much metadata), -EINVAL (a
 * text no header may hold), -ESHUTDOWN (the client is being freed).
 */
int sonde_grpc_client_call(struct sonde_grpc_client *c, const char *path,
			   const struct sonde_buf *messages, size_t n_messages,
			   const struct sonde_grpc_metadata *metadata, size_t n_metadata,
			   uint64_t deadline_ns, struct sonde_grpc_client_handler handler,
			   struct sonde_grpc_client_call **ret_call) _must_check_;

/* May be called from inside a handler. RST_STREAM(CANCEL); on_done runs with CANCELLED before it returns. */
void sonde_grpc_client_cancel(struct sonde_grpc_client_call *call);
