/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc-call PORT PATH BYTES COUNT DEADLINE_MS [NAME=VALUE…]: COUNT calls one after the other on one client, each
 * with one message of BYTES bytes; a JSON line each. For servers that misbehave (tests/integration/grpc-peer.py,
 * tls-peer.py). host, address (several), token, token_file, timeout (ms of a connection), tls, ca, cert, key, name,
 * insecure, events (a JSON line for each event of the connection), step (a line of stdin before each call).
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/num.h"
#include "io/grpc-client.h"

#define MESSAGE_BYTES_MAX (16 << 20)

struct run {
	struct sonde_grpc_client *client;
	unsigned messages;
	bool done;
};

static void on_message(void *ctx, const uint8_t *data, size_t n)
{
	struct run *run = ctx;

	run->messages++;
}

static void on_done(void *ctx, const struct sonde_grpc_result *r)
{
	struct run *run = ctx;

	printf("{\"status\": \"%s\", \"message\": \"%s\", \"not_processed\": %s, \"messages\": %u, "
	       "\"encoding\": \"%s\", \"extension\": %s}\n",
	       sonde_grpc_status_name(r->status), r->message, r->not_processed ? "true" : "false",
	       run->messages, sonde_encoding_name(r->encoding),
	       sonde_grpc_client_has_extension(run->client) ? "true" : "false");
	run->done = true;
}

static int call_once(struct run *run, sd_event *event, const char *path,
		     const struct sonde_buf *message, uint64_t deadline_ms)
{
	struct sonde_grpc_client_handler handler = {on_message, on_done, run};
	int r;

	run->messages = 0;
	run->done = false;
	r = sonde_grpc_client_call(run->client, path, message, 1, NULL, 0,
				   sonde_mono_ns() + deadline_ms * SONDE_NS_PER_MS, handler, NULL);
	while (r >= 0 && !run->done)
		r = sd_event_run(event, UINT64_MAX);
	return r < 0 ? r : 0;
}

static void on_event(void *ctx, const struct sonde_grpc_client_event *e)
{
	static const char *const kinds[] = {"connected", "failed", "lost", "refused"};

	printf("{\"event\": \"%s\", \"address\": \"%s\", \"words\": \"%s\", \"insecure\": %s}\n",
	       kinds[e->kind], e->address, e->words, e->insecure ? "true" : "false");
}

struct extras {
	struct sonde_address addresses[SONDE_GRPC_ADDRESSES_MAX];
	struct sonde_tls_config tls;
	bool step;
};

static int set_extra(struct extras *x, struct sonde_grpc_client_config *config, const char *arg)
{
	const char *value = strchr(arg, '=');
	size_t n = value ? (size_t)(value++ - arg) : strlen(arg);
	const struct {
		const char *name;
		const char **field;
	} texts[] = {
		{"host", &config->host},
		{"token", &config->token},
		{"token_file", &config->token_file},
		{"name", &config->tls_name},
		{"ca", &x->tls.ca_file},
		{"cert", &x->tls.cert_file},
		{"key", &x->tls.key_file},
	};
	uint64_t ms;

	for (size_t i = 0; value && i < ELEMENTS_OF(texts); i++) {
		if (strlen(texts[i].name) == n && strncmp(arg, texts[i].name, n) == 0) {
			*texts[i].field = value;
			return 0;
		}
	}
	if (value && strncmp(arg, "address=", 8) == 0) {
		config->addresses = x->addresses;
		return config->n_addresses < ELEMENTS_OF(x->addresses)
			       ? sonde_address_parse(value, 0, &x->addresses[config->n_addresses++])
			       : -EINVAL;
	}
	if (value && strncmp(arg, "timeout=", 8) == 0 && sonde_parse_u64(value, 1, 60000, &ms) == 0)
		config->connect_timeout_ns = ms * SONDE_NS_PER_MS;
	else if (strcmp(arg, "tls") == 0)
		config->tls = &x->tls;
	else if (strcmp(arg, "insecure") == 0)
		x->tls.insecure_skip_verify = true;
	else if (strcmp(arg, "events") == 0)
		config->on_event = on_event;
	else if (strcmp(arg, "step") == 0)
		x->step = true;
	else
		return -EINVAL;
	return 0;
}

static bool may_go_on(const struct extras *x)
{
	char line[16];

	(void)fflush(stdout);
	return !x->step || fgets(line, sizeof(line), stdin);
}

static int run_calls(sd_event *event, char **argv)
{
	_cleanup_(sonde_grpc_client_freep) struct sonde_grpc_client *client = NULL;
	_cleanup_buf_ struct sonde_buf message = SONDE_BUF_INIT(MESSAGE_BYTES_MAX);
	struct sonde_grpc_client_config config = {
		.host = "127.0.0.1",
		.max_message_bytes = 1 << 20,
		.connect_timeout_ns = 5 * SONDE_NS_PER_S,
	};
	uint64_t port, n_bytes, count, deadline_ms;
	struct extras extras = {0};
	struct run run = {0};
	int r = 0;

	if (sonde_parse_u64(argv[1], 1, UINT16_MAX, &port) < 0 ||
	    sonde_parse_u64(argv[3], 0, MESSAGE_BYTES_MAX, &n_bytes) < 0 ||
	    sonde_parse_u64(argv[4], 1, 100, &count) < 0 ||
	    sonde_parse_u64(argv[5], 1, 600000, &deadline_ms) < 0)
		return -EINVAL;
	config.port = (uint16_t)port;
	for (char **arg = argv + 6; r == 0 && *arg; arg++)
		r = set_extra(&extras, &config, *arg);
	if (r < 0)
		return r;
	r = sonde_grpc_client_new(event, &config, &client);
	if (r < 0)
		return r;
	r = sonde_buf_reserve(&message, n_bytes);
	if (r < 0)
		return r;
	memset(message.data, 'm', n_bytes);
	message.len = n_bytes;
	run.client = client;
	for (uint64_t i = 0; r == 0 && i < count && may_go_on(&extras); i++)
		r = call_once(&run, event, argv[2], &message, deadline_ms);
	return r;
}

int main(int argc, char **argv)
{
	sd_event *event = NULL;
	int r;

	if (argc < 6)
		return 2;
	r = sd_event_new(&event);
	if (r >= 0)
		r = run_calls(event, argv);
	sd_event_unref(event);
	return r < 0;
}
