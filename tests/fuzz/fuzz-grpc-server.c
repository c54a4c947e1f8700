/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte 0: the size of the pieces, the rest: what a client sends behind its preface. No socket: the session's
 * bytes come and go here. Each call that a handler has seen is closed once, and nothing stays held.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "io/grpc-server-internal.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define MESSAGE_BYTES_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_closed, n_open;

static enum sonde_grpc_status on_message(void *ctx, struct sonde_grpc_server_call *call,
					 const uint8_t *data, size_t n)
{
	int *seen = sonde_grpc_server_call_data(call);

	if (n > MESSAGE_BYTES_MAX)
		abort();
	if (!seen) {
		seen = malloc(sizeof(*seen));
		if (!seen)
			return SONDE_GRPC_RESOURCE_EXHAUSTED;
		*seen = 0;
		n_open++;
		sonde_grpc_server_call_set_data(call, seen);
	}
	if (n > 0 && data[0] == '!') {
		sonde_grpc_server_call_fail(call, (const char *)"refused\n");
		return SONDE_GRPC_ABORTED;
	}
	if (n > 0 && data[0] == '.')
		sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, "early");
	if (sonde_grpc_server_call_send(call, data, n) == -ENOMEM)
		return SONDE_GRPC_RESOURCE_EXHAUSTED;
	return SONDE_GRPC_OK;
}

static void on_half_close(void *ctx, struct sonde_grpc_server_call *call)
{
	sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static void stay_open(void *ctx, struct sonde_grpc_server_call *call)
{
	(void)!sonde_grpc_server_call_send(call, (const uint8_t *)"hello", 5);
}

static void on_close(void *ctx, struct sonde_grpc_server_call *call)
{
	int *seen = sonde_grpc_server_call_data(call);

	if (seen)
		n_closed++;
	free(seen);
	if (sonde_grpc_server_call_send(call, NULL, 0) != -ENOTCONN)
		abort();
}

static const struct sonde_grpc_method methods[] = {
	{"/t.Echo/unary", on_message, on_half_close, on_close, true},
	{"/t.Echo/stream", on_message, on_half_close, on_close, false},
	{"/t.Echo/watch", on_message, stay_open, on_close, true},
	{NULL},
};

static int drain(struct sonde_grpc_server_conn *c)
{
	const uint8_t *data;
	size_t n;
	int r;

	do
		r = sonde_http2_pull(c->h2, &data, &n);
	while (r == 0 && n > 0);
	return r;
}

static int feed(struct sonde_grpc_server_conn *c, const uint8_t *data, size_t size, size_t piece)
{
	static uint64_t now_ns;
	int r = 0;

	while (r == 0 && size > 0 && !sonde_http2_over(c->h2)) {
		size_t n = piece < size ? piece : size;

		now_ns += SONDE_NS_PER_MS;
		r = sonde_http2_feed(c->h2, data, n, now_ns);
		if (r == 0)
			r = drain(c);
		sonde_grpc_server_calls_tick(c, now_ns);
		data += n;
		size -= n;
	}
	return r;
}

static struct sonde_grpc_server *make_server(void)
{
	const struct sonde_grpc_server_config config = {
		.max_message_bytes = MESSAGE_BYTES_MAX,
		.max_connections = 1,
		.max_streams = 10,
		.extension = true,
	};
	struct sonde_grpc_server *server = NULL;
	static sd_event *event; /* one for all inputs */

	if (!event && sd_event_new(&event) < 0)
		abort();
	if (sonde_grpc_server_alloc(event, &config, methods, NULL, &server) < 0)
		abort();
	return server;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sonde_grpc_server *server;
	struct sonde_grpc_server_conn *c;

	if (size < 1)
		return 0;
	n_open = n_closed = 0;
	server = make_server();
	if (sonde_grpc_server_conn_new(server, &c) < 0)
		abort();
	if (feed(c, (const uint8_t *)PREFACE, strlen(PREFACE), 24) == 0)
		(void)!feed(c, data + 1, size - 1, data[0] * 16U + 1);
	sonde_http2_reset_stalled(c->h2, UINT64_MAX, 1);
	sonde_grpc_server_conn_free(c);
	if (server->held_bytes != 0 || server->n_conns != 0 || n_open != n_closed)
		abort();
	sonde_grpc_server_free(server);
	return 0;
}
