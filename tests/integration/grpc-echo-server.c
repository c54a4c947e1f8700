/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc-echo-server [TOKEN [CERT KEY [CLIENT_CA [request]]]]: a gRPC server for tests that speak from outside
 * (tests/integration/grpc-peer.py, tls-peer.py): prints its port, answers until SIGTERM, then prints what it counted.
 * On stderr: connections that came to nothing, and why.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "io/grpc-server.h"

static enum sonde_grpc_status echo_message(void *ctx, struct sonde_grpc_server_call *call,
					   const uint8_t *data, size_t n)
{
	if (sonde_grpc_server_call_send(call, data, n) == 0)
		return SONDE_GRPC_OK;
	sonde_grpc_server_call_fail(call, "the answer does not fit");
	return SONDE_GRPC_RESOURCE_EXHAUSTED;
}

static void finish(void *ctx, struct sonde_grpc_server_call *call)
{
	sonde_grpc_server_call_finish(call, SONDE_GRPC_OK, NULL);
}

static void stay(void *ctx, struct sonde_grpc_server_call *call)
{
	if (sonde_grpc_server_call_send(call, (const uint8_t *)"hello", 5) < 0)
		sonde_grpc_server_call_finish(call, SONDE_GRPC_INTERNAL, NULL);
}

static const struct sonde_grpc_method methods[] = {
	{.path = "/t.Echo/unary",
	 .on_message = echo_message,
	 .on_half_close = finish,
	 .single_message = true},
	{.path = "/t.Echo/stream", .on_message = echo_message, .on_half_close = finish},
	{.path = "/t.Echo/watch", .on_half_close = stay, .single_message = true},
	{NULL},
};

static void on_trouble(void *ctx, const char *peer, const char *words)
{
	(void)fprintf(stderr, "%s: %s\n", peer ? peer : "tls", words);
}

static int serve(sd_event *event, int argc, char **argv)
{
	const struct sonde_tls_config tls = {
		.server = true,
		.cert_file = argc > 2 ? argv[2] : NULL,
		.key_file = argc > 3 ? argv[3] : NULL,
		.ca_file = argc > 4 ? argv[4] : NULL,
		.require_client = argc == 5,
	};
	_cleanup_(sonde_grpc_server_freep) struct sonde_grpc_server *server = NULL;
	const struct sonde_grpc_server_config config = {
		.address = "127.0.0.1",
		.max_message_bytes = 4 << 20,
		.max_connections = 20,
		.max_streams = 128,
		.token = argc > 1 && argv[1][0] ? argv[1] : NULL,
		.extension = true,
		.tls = tls.cert_file ? &tls : NULL,
		.on_trouble = on_trouble,
	};
	const struct sonde_grpc_server_stats *s;
	int r;

	r = sonde_grpc_server_new(event, &config, methods, NULL, &server);
	if (r < 0)
		return r;
	printf("%u\n", sonde_grpc_server_port(server));
	(void)fflush(stdout);
	r = sd_event_loop(event);
	if (r < 0)
		return r;
	s = sonde_grpc_server_stats(server);
	printf("{\"connections\": %" PRIu64 ", \"connections_refused\": %" PRIu64
	       ", \"calls\": %" PRIu64 ", \"calls_failed\": %" PRIu64 ", \"messages\": %" PRIu64
	       ", \"messages_refused\": %" PRIu64 ", \"protocol_errors\": %" PRIu64
	       ", \"handshakes_failed\": %" PRIu64 "}\n",
	       s->connections, s->connections_refused, s->calls, s->calls_failed, s->messages,
	       s->messages_refused, s->protocol_errors, s->handshakes_failed);
	return 0;
}

int main(int argc, char **argv)
{
	sd_event *event = NULL;
	sigset_t mask;
	int r;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &mask, NULL);
	r = sd_event_new(&event);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = serve(event, argc, argv);
	sd_event_unref(event);
	return r < 0;
}
