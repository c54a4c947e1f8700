/* SPDX-License-Identifier: Apache-2.0 */
#include "io/grpc-client.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "io/grpc-client-internal.h"

/* For each call that waits: now there is a connection, or there will be none. */
void sonde_grpc_client_dispatch_waiting(struct sonde_grpc_client *c)
{
	struct sonde_grpc_client_call *call;

	DL_FOREACH (c->calls, call) { /* no call ends in here: failures are told later */
		if (!call->conn && !call->failed)
			sonde_grpc_client_dispatch(c, call);
	}
}

void sonde_grpc_client_end_watches(struct sonde_grpc_client *c,
				   const struct sonde_grpc_client_conn *conn)
{
	struct sonde_grpc_client_call *call;

	for (;;) { /* anew after each: on_done may make and cancel calls */
		LL_FOREACH (c->calls, call) {
			if (call->conn == conn && call->stream && call->deadline_ns == 0)
				break;
		}
		if (!call)
			return;
		call->result.cause = SONDE_GRPC_CAUSE_LOCAL;
		sonde_grpc_client_call_give_up(call, SONDE_GRPC_UNAVAILABLE,
					       "the connection is replaced");
	}
}

void sonde_grpc_client_dispatch(struct sonde_grpc_client *c, struct sonde_grpc_client_call *call)
{
	int r = -ENOTCONN;
	char words[SONDE_GRPC_CLIENT_WORDS_MAX + 32];

	if (c->conn) {
		r = sonde_grpc_client_call_start(call, c->conn);
		if (r == 0)
			return;
		if (r == -ENOTCONN)
			sonde_grpc_client_conn_retire(c->conn);
	}
	if (r == -ENOTCONN)
		r = sonde_grpc_client_ensure_connecting(c);
	if (r == 0)
		return;
	(void)snprintf(words, sizeof(words), "not connected: %s",
		       r == -EAGAIN ? c->last_words : strerror(-r));
	if (r == -ENOMEM)
		sonde_grpc_client_call_fail_soon(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
						 SONDE_GRPC_CAUSE_LOCAL, words);
	else
		sonde_grpc_client_call_fail_soon(call, SONDE_GRPC_UNAVAILABLE,
						 SONDE_GRPC_CAUSE_CONNECT, words);
}

static int on_defer(sd_event_source *source, void *userdata)
{
	struct sonde_grpc_client *c = userdata;
	struct sonde_grpc_client_call *call;

	for (;;) { /* anew after each: on_done may make and cancel calls */
		LL_FOREACH (c->calls, call) {
			if (call->failed)
				break;
		}
		if (!call)
			return 0;
		sonde_grpc_client_call_finish(call, call->result.status, NULL);
	}
}

static int take_address(struct sonde_grpc_client *c, const struct sonde_address *address)
{
	struct sonde_grpc_client_address *a = &c->addresses[c->n_addresses];
	struct sonde_address named = *address;

	/* Also what no parser has seen: it goes into a header. */
	if (sonde_address_make(address->host, address->port, &a->address) < 0)
		return -EINVAL;
	sonde_address_format(&a->address, a->text);
	sonde_address_name(&a->address, named.host); /* a scope id means nothing to the peer */
	sonde_address_format(&named, a->authority);
	c->n_addresses++;
	return 0;
}

static int take_addresses(struct sonde_grpc_client *c,
			  const struct sonde_grpc_client_config *config)
{
	size_t n = config->n_addresses ? config->n_addresses : 1;
	struct sonde_address one;
	int r = 0;

	if (n > SONDE_GRPC_ADDRESSES_MAX)
		return -EINVAL;
	c->addresses = calloc(n, sizeof(*c->addresses));
	if (!c->addresses)
		return -ENOMEM;
	if (config->n_addresses == 0) {
		r = sonde_address_make(config->host, config->port, &one);
		return r < 0 ? r : take_address(c, &one);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = take_address(c, &config->addresses[i]);
	return r;
}

/* NULL and "" are none. */
static int take_text(const char *text, char **ret)
{
	if (!text || !*text)
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int take_security(struct sonde_grpc_client *c, const struct sonde_grpc_client_config *config)
{
	int r;

	if (config->token &&
	    !nghttp2_check_header_value((const uint8_t *)config->token, strlen(config->token)))
		return -EINVAL;
	r = take_text(config->token, &c->token);
	if (r == 0)
		r = take_text(config->token_file, &c->token_file);
	if (r < 0 || !config->tls)
		return r;
	c->tls = true;
	r = take_text(config->tls_name, &c->tls_name);
	if (r == 0)
		r = sonde_tls_config_copy(config->tls, &c->tls_config);
	return r;
}

int sonde_grpc_client_new(sd_event *event, const struct sonde_grpc_client_config *config,
			  struct sonde_grpc_client **ret)
{
	_cleanup_(sonde_grpc_client_freep) struct sonde_grpc_client *c = NULL;
	int r;

	assert(event && config && (config->host || config->n_addresses > 0) && ret);

	if (config->max_message_bytes == 0 || config->connect_timeout_ns == 0)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->event = sd_event_ref(event);
	c->max_message_bytes = config->max_message_bytes;
	c->connect_timeout_ns = config->connect_timeout_ns;
	c->random_order = config->random_order;
	c->max_age_ns = config->max_age_ns;
	c->on_event = config->on_event;
	c->ctx = config->ctx;
	r = take_addresses(c, config);
	if (r == 0)
		r = take_security(c, config);
	if (r < 0)
		return r;
	c->avoid = c->n_addresses;
	r = sd_event_add_defer(event, &c->defer, on_defer, c);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(c->defer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct sonde_grpc_client *sonde_grpc_client_free(struct sonde_grpc_client *c)
{
	if (!c)
		return NULL;
	c->closing = true; /* on_done may not call again */
	while (c->calls)
		sonde_grpc_client_cancel(c->calls);
	sonde_grpc_client_stop_connecting(c);
	(void)sd_event_source_disable_unref(c->defer);
	sd_event_unref(c->event);
	if (c->token)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	free(c->token_file);
	free(c->tls_name);
	sonde_tls_config_done(&c->tls_config);
	free(c->addresses);
	free(c);
	return NULL;
}

const char *sonde_grpc_client_address(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->addresses[c->conn ? c->conn->at : c->at].text;
}

bool sonde_grpc_client_has_extension(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->extension;
}

bool sonde_grpc_client_heard(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->heard;
}

bool sonde_grpc_client_connected(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->conn != NULL;
}

enum sonde_encoding sonde_grpc_client_encoding(const struct sonde_grpc_client *c)
{
	assert(c);
	return c->encoding;
}
