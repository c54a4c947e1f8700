/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte 0: the size of the pieces, the rest: what a server answers to four calls. No socket: the session's bytes
 * come and go here. Each call ends once, whatever is said.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/grpc-client-internal.h"

#define MESSAGE_BYTES_MAX 65536
#define CALLS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct sonde_grpc_client_call *call;
	unsigned messages, done;
};

static void on_message(void *ctx, const uint8_t *data, size_t n)
{
	struct seen *seen = ctx;

	if (n > MESSAGE_BYTES_MAX || seen->done > 0)
		abort();
	seen->messages++;
	if (n > 0 && data[0] == '!')
		sonde_grpc_client_cancel(seen->call);
}

static void on_done(void *ctx, const struct sonde_grpc_result *result)
{
	struct seen *seen = ctx;

	if (memchr(result->message, '\0', sizeof(result->message)) == NULL)
		abort();
	seen->done++;
}

static int drain(struct sonde_grpc_client_conn *c)
{
	const uint8_t *data;
	size_t n;
	int r;

	do
		r = sonde_http2_pull(c->h2, &data, &n);
	while (r == 0 && n > 0);
	return r;
}

static void feed(struct sonde_grpc_client_conn *c, const uint8_t *data, size_t size, size_t piece)
{
	static uint64_t now_ns;
	int r = drain(c);

	while (r == 0 && size > 0 && !sonde_http2_over(c->h2)) {
		size_t n = piece < size ? piece : size;

		now_ns += SONDE_NS_PER_MS;
		r = sonde_http2_feed(c->h2, data, n, now_ns);
		if (r == 0)
			r = drain(c);
		data += n;
		size -= n;
	}
}

static struct sonde_grpc_client *make_client(void)
{
	const struct sonde_grpc_client_config config = {
		.host = "127.0.0.1",
		.port = 1,
		.max_message_bytes = MESSAGE_BYTES_MAX,
		.connect_timeout_ns = SONDE_NS_PER_S,
	};
	struct sonde_grpc_client *client = NULL;
	static sd_event *event; /* one for all inputs */

	if (!event && sd_event_new(&event) < 0)
		abort();
	if (sonde_grpc_client_new(event, &config, &client) < 0)
		abort();
	return client;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t text[100];
	const struct sonde_buf message = {.data = text, .len = sizeof(text)};
	struct sonde_grpc_client *client;
	struct sonde_grpc_client_conn *conn;
	struct seen seen[CALLS] = {0};

	if (size < 1)
		return 0;
	client = make_client();
	if (sonde_grpc_client_conn_new(client, &conn) < 0)
		abort();
	client->conn = conn; /* as if it had greeted */
	client->encoding = SONDE_ENCODING_ZSTD;
	for (size_t i = 0; i < CALLS; i++) {
		struct sonde_grpc_client_handler handler = {on_message, on_done, &seen[i]};

		if (sonde_grpc_client_call(client, "/t/m", &message, 1, NULL, 0, 0, handler,
					   &seen[i].call) < 0)
			abort();
	}
	feed(conn, data + 1, size - 1, data[0] * 16U + 1);
	conn->lost = true;
	sonde_grpc_client_conn_free(conn);
	sonde_grpc_client_free(client);
	for (size_t i = 0; i < CALLS; i++) {
		if (seen[i].done != 1)
			abort();
	}
	return 0;
}
