/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What grpc-client.c (the client), grpc-client-connect.c (addresses, connections, back-off) and grpc-client-call.c
 * (one call) share.
 * The fuzz target uses it too: it feeds a connection that has no socket.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "io/connect.h"
#include "io/grpc-client.h"
#include "io/grpc-frame.h"
#include "io/http2-conn.h"
#include "io/http2.h"

struct sonde_grpc_client_conn;

#define SONDE_GRPC_CLIENT_WORDS_MAX 480

/* One of the backend's addresses, and what it looks like elsewhere. */
struct sonde_grpc_client_address {
	struct sonde_address address;
	char text[SONDE_ADDRESS_TEXT_MAX]; /* "host:port" */
	char authority[SONDE_ADDRESS_TEXT_MAX];
};

struct sonde_grpc_client {
	sd_event *event;
	struct sonde_grpc_client_address *addresses;
	size_t n_addresses;
	bool random_order;
	uint64_t max_age_ns;
	char *token, *token_file;
	bool tls;
	struct sonde_tls_config tls_config; /* its strings owned */
	char *tls_name;			    /* NULL = the address's */
	size_t max_message_bytes;
	uint64_t connect_timeout_ns;
	void (*on_event)(void *ctx, const struct sonde_grpc_client_event *event);
	void *ctx;

	size_t round[SONDE_GRPC_ADDRESSES_MAX]; /* the order in which addresses are tried */
	size_t n_tried;				/* of the round */
	size_t at;				/* being tried, or connected */
	size_t avoid;				/* lost last; n_addresses = none */
	struct sonde_connect *connect;		/* of the address that is tried, until it greets */
	struct sonde_grpc_client_conn
		*greeting;		     /* connected; has not said yet that it speaks HTTP/2 */
	struct sonde_grpc_client_conn *conn; /* takes new calls */
	struct sonde_grpc_client_conn *conns; /* these two, and those that end after GOAWAY */
	sd_event_source *age;		      /* of conn */
	unsigned failures; /* in a row: rounds, and connections that went without an answer */
	uint64_t next_try_ns;
	char last_words[SONDE_GRPC_CLIENT_WORDS_MAX]; /* why there is no connection */

	struct sonde_grpc_client_call *calls; /* all, those without a connection wait for it */
	unsigned n_calls;
	size_t waiting_bytes;	/* framed requests of all calls */
	sd_event_source *defer; /* tells calls that failed at once */

	enum sonde_encoding encoding; /* the best that the peer can read */
	bool extension;
	bool heard; /* an answer was OK */
	bool closing;
};

struct sonde_grpc_client_conn {
	struct sonde_grpc_client *client;
	struct sonde_http2 *h2;
	struct sonde_http2_conn *io; /* NULL: fed by a test */
	size_t at;		     /* of the client's addresses */
	uint64_t started_ns;
	bool lost;
	bool half_open;	       /* …: nothing was acknowledged */
	bool leaving;	       /* the peer said GOAWAY */
	bool answered;	       /* at least once, in order */
	bool refused;	       /* a call, for its token: told */
	uint64_t silent_ns;    /* the last deadline of a call since which no byte came; 0 = none */
	bool encoding_refused; /* one that it had advertised: none is used any more */
	struct sonde_grpc_client_conn *prev, *next;
};

struct sonde_grpc_client_call {
	struct sonde_grpc_client *client;
	struct sonde_grpc_client_conn *conn; /* NULL: waits */
	struct sonde_http2_stream *stream;
	struct sonde_grpc_client_call *prev, *next;
	struct sonde_grpc_client_handler handler;
	struct sonde_grpc_result result;
	uint64_t deadline_ns; /* 0 = none */
	uint64_t sent_ns;     /* when its stream was made */
	sd_event_source *deadline;

	struct sonde_buf metadata; /* ":path\0…\0name\0value\0" … */
	size_t n_metadata;
	struct sonde_buf out;	    /* the framed messages, until the stream takes them */
	size_t out_bytes;	    /* as counted in the client's waiting_bytes */
	size_t first_message_bytes; /* of out: up to there no message was sent */

	struct sonde_grpc_frames frames;
	enum sonde_encoding answer_encoding;
	bool answer_encoding_bad;
	unsigned http_status;
	bool is_grpc; /* by content-type */
	bool got_status;
	enum sonde_encoding accepts;
	bool extension;

	bool failed; /* with what result says, on_done is to come */
	bool done;   /* on_done ran */
	bool in_event;
};

/* A connection without a socket; the caller makes it c->greeting. Return: 0, -ENOMEM. */
int sonde_grpc_client_conn_new(struct sonde_grpc_client *c,
			       struct sonde_grpc_client_conn **ret) _must_check_;

/* Ends its calls. NULL is fine. Returns NULL. */
struct sonde_grpc_client_conn *sonde_grpc_client_conn_free(struct sonde_grpc_client_conn *conn);
SONDE_DEFINE_CLEANUP(struct sonde_grpc_client_conn *, sonde_grpc_client_conn_free)

/* Sends the call on @conn. Return: 0, -ENOTCONN (it takes no more), -ENOMEM. */
int sonde_grpc_client_call_start(struct sonde_grpc_client_call *call,
				 struct sonde_grpc_client_conn *conn) _must_check_;

/* Runs on_done and frees the call. */
void sonde_grpc_client_call_finish(struct sonde_grpc_client_call *call,
				   enum sonde_grpc_status status, const char *message);

/* Ends a call from this side, whatever it is doing; RST_STREAM(CANCEL). */
void sonde_grpc_client_call_give_up(struct sonde_grpc_client_call *call,
				    enum sonde_grpc_status status, const char *message);

/* Certainly not processed, told from the loop. */
void sonde_grpc_client_call_fail_soon(struct sonde_grpc_client_call *call,
				      enum sonde_grpc_status status, enum sonde_grpc_cause cause,
				      const char *message);

/* Finds or makes the call's connection, or fails it. */
void sonde_grpc_client_dispatch(struct sonde_grpc_client *c, struct sonde_grpc_client_call *call);

/* The same for all calls that wait: now there is a connection, or there will be none. */
void sonde_grpc_client_dispatch_waiting(struct sonde_grpc_client *c);

/* Ends calls of @conn that have no deadline: it takes no new ones, and would stand for ever. */
void sonde_grpc_client_end_watches(struct sonde_grpc_client *c,
				   const struct sonde_grpc_client_conn *conn);

/* A call of @conn was refused for its token. Words for who made the call: which token that was. */
void sonde_grpc_client_token_refused(struct sonde_grpc_client_conn *conn, char *words, size_t size);

/* Return: 0 when a connection is being made, -EAGAIN when it is too soon, -errno. */
int sonde_grpc_client_ensure_connecting(struct sonde_grpc_client *c) _must_check_;

/* Nothing more of the sockets: for the client's end. */
void sonde_grpc_client_stop_connecting(struct sonde_grpc_client *c);

void sonde_grpc_client_tell(const struct sonde_grpc_client *c, size_t at,
			    enum sonde_grpc_client_event_kind kind, const char *words,
			    bool insecure);

/* The events of a connection's streams; ctx is the connection. */
extern const struct sonde_http2_handler sonde_grpc_client_call_events;

/* @conn takes the calls that wait: the peer said SETTINGS. */
void sonde_grpc_client_conn_greet(struct sonde_grpc_client_conn *conn);

/*
 * Gives the connection up with all that is on it; @words: why, NULL = what the connection says. Not from inside an
 * event of the session.
 */
void sonde_grpc_client_conn_drop(struct sonde_grpc_client_conn *conn, int error, const char *words);

/* @conn takes no new calls: it ends by itself, with its last one. */
void sonde_grpc_client_conn_retire(struct sonde_grpc_client_conn *conn);

/* The peer said GOAWAY. */
void sonde_grpc_client_conn_leave(struct sonde_grpc_client_conn *conn);
