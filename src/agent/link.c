/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/rpc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"

#define TOKEN_MAX 1024
/* The same line is not said again within this time: an address that is gone is tried again and again. */
#define FAILED_AGAIN_NS (600 * SONDE_NS_PER_S)
#define LOST_AGAIN_NS (60 * SONDE_NS_PER_S)
#define SAID_MAX 32
#define LINE_BYTES_MAX 1024

struct said {
	char line[LINE_BYTES_MAX];
	uint64_t ns; /* 0 = nothing */
};

struct sonde_link {
	struct sonde_grpc_client *client;
	void (*on_connected)(void *ctx); /* NULL: nobody asked */
	void *on_connected_ctx;
	const char *token_file; /* borrowed; "" = none */
	bool has_token;
	struct said said[SAID_MAX]; /* a ring of the last warnings */
	size_t next;
};

/* The check */

static size_t n_addresses(const struct sonde_agent_config *c)
{
	size_t n = 0;

	while (c->backend_addresses && c->backend_addresses[n])
		n++;
	return n;
}

static int check_addresses(const struct sonde_agent_config *c, char **ret_error)
{
	struct sonde_address a;

	for (size_t i = 0; i < n_addresses(c); i++) {
		if (sonde_address_parse(c->backend_addresses[i], 0, &a) == 0)
			continue;
		return sonde_config_refuse(
			ret_error,
			"backend.addresses[%zu]: HOST:PORT was expected, an IPv6 address "
			"in brackets, got '%.64s'",
			i, c->backend_addresses[i]);
	}
	if (sonde_address_make(c->backend_host, c->backend_port, &a) < 0)
		return sonde_config_refuse(
			ret_error, "backend.host: a name or an address was expected, got '%.64s'",
			c->backend_host);
	return 0;
}

static int check_token(const struct sonde_agent_config *c, char **ret_error)
{
	const char *path = c->backend_authentication_file;
	char *token = NULL;
	bool good;
	int r;

	if (sonde_has_control(c->backend_authentication))
		return sonde_config_refuse(ret_error,
					   "backend.authentication: it holds what no header may");
	if (!path[0])
		return 0;
	if (c->backend_authentication[0])
		return sonde_config_refuse(
			ret_error,
			"backend.authentication and backend.authentication_file are both set");
	r = sonde_file_read_line(path, true, TOKEN_MAX, &token);
	if (r < 0)
		return sonde_config_refuse(ret_error,
					   "backend.authentication_file: cannot read '%s': %s",
					   path, sonde_file_error(r, true));
	good = !sonde_has_control(token);
	explicit_bzero(token, strlen(token));
	free(token);
	return good ? 0
		    : sonde_config_refuse(
			      ret_error,
			      "backend.authentication_file: '%s' holds what no header may", path);
}

static struct sonde_tls_config tls_config(const struct sonde_agent_config *c)
{
	return (struct sonde_tls_config){
		.ca_file = c->tls_ca_file,
		.cert_file = c->tls_cert_file,
		.key_file = c->tls_key_file,
		.insecure_skip_verify = c->tls_insecure_skip_verify,
	};
}

static int check_tls(const struct sonde_agent_config *c, char **ret_error)
{
	const struct sonde_tls_config config = tls_config(c);
	struct sonde_tls_context *tls = NULL;
	char words[SONDE_TLS_WORDS_MAX];
	struct sonde_address name;
	int r;

	if (!c->tls_enabled) {
		if (!c->tls_ca_file[0] && !c->tls_cert_file[0] && !c->tls_key_file[0] &&
		    !c->tls_server_name[0] && !c->tls_insecure_skip_verify)
			return 0;
		return sonde_config_refuse(
			ret_error, "backend.tls: keys are set, and backend.tls.enabled is false");
	}
	if (c->tls_server_name[0] && sonde_address_make(c->tls_server_name, 1, &name) < 0)
		return sonde_config_refuse(ret_error, "backend.tls.server_name: '%s' names no host",
					   c->tls_server_name);
	r = sonde_tls_context_new(&config, &tls, words);
	(void)sonde_tls_context_unref(tls);
	if (r < 0 && words[0])
		return sonde_config_refuse(ret_error, "backend.tls: %s", words);
	return r;
}

int sonde_link_check(const struct sonde_agent_config *config, char **ret_error)
{
	int r;

	assert(config && ret_error);

	r = check_addresses(config, ret_error);
	if (r == 0)
		r = check_token(config, ret_error);
	return r < 0 ? r : check_tls(config, ret_error);
}

/* The log lines */

static void warn_once(struct sonde_link *l, const char *line, uint64_t again_ns)
{
	uint64_t now_ns = sonde_mono_ns();

	for (size_t i = 0; i < SAID_MAX; i++) {
		if (l->said[i].ns > 0 && now_ns - l->said[i].ns < again_ns &&
		    strcmp(l->said[i].line, line) == 0)
			return;
	}
	(void)snprintf(l->said[l->next].line, LINE_BYTES_MAX, "%s", line);
	l->said[l->next].ns = now_ns;
	l->next = (l->next + 1) % SAID_MAX;
	(void)sonde_log_warn(0, "%s", line);
}

/* What to do depends on where the token came from. */
static void say_refused(const struct sonde_link *l, const struct sonde_grpc_client_event *e,
			char line[static LINE_BYTES_MAX])
{
	if (l->token_file[0]) {
		(void)snprintf(
			line, LINE_BYTES_MAX,
			"backend %s refused the token (%s): write the one that it wants into "
			"'%s' (backend.authentication_file), which is read again by itself",
			e->address, e->words, l->token_file);
	} else if (l->has_token) {
		(void)snprintf(line, LINE_BYTES_MAX,
			       "backend %s refused the token (%s): correct backend.authentication "
			       "in the config (or SONDE_AGENT_BACKEND_AUTHENTICATION), and start "
			       "the agent anew",
			       e->address, e->words);
	} else {
		(void)snprintf(line, LINE_BYTES_MAX,
			       "backend %s refused the token (%s): set backend.authentication_file "
			       "or backend.authentication",
			       e->address, e->words);
	}
}

static void on_event(void *ctx, const struct sonde_grpc_client_event *e)
{
	struct sonde_link *l = ctx;
	char line[LINE_BYTES_MAX];

	switch (e->kind) {
	case SONDE_GRPC_CLIENT_CONNECTED:
		if (e->insecure)
			(void)sonde_log_warn(0, "connected to backend %s: %s", e->address,
					     e->words);
		else
			sonde_log_info("connected to backend %s: %s", e->address, e->words);
		if (l->on_connected)
			l->on_connected(l->on_connected_ctx);
		return;
	case SONDE_GRPC_CLIENT_FAILED:
		(void)snprintf(line, sizeof(line), "cannot connect to backend %s: %s", e->address,
			       e->words);
		warn_once(l, line, FAILED_AGAIN_NS);
		return;
	case SONDE_GRPC_CLIENT_LOST:
		(void)snprintf(line, sizeof(line), "backend %s is lost: %s", e->address, e->words);
		break;
	case SONDE_GRPC_CLIENT_REFUSED:
		say_refused(l, e, line);
		break;
	}
	warn_once(l, line, LOST_AGAIN_NS);
}

/* The client */

int sonde_link_new(sd_event *event, const struct sonde_agent_config *c, struct sonde_link **ret)
{
	_cleanup_(sonde_link_freep) struct sonde_link *l = NULL;
	struct sonde_address addresses[SONDE_GRPC_ADDRESSES_MAX];
	struct sonde_grpc_client_config config;
	struct sonde_tls_config tls;
	int r;

	assert(event && c && ret);

	tls = tls_config(c);
	config = (struct sonde_grpc_client_config){
		.host = c->backend_host,
		.port = c->backend_port,
		.addresses = addresses,
		.n_addresses = n_addresses(c),
		.random_order = c->backend_order == SONDE_AGENT_ORDER_RANDOM,
		.max_age_ns = c->backend_max_age_ns,
		.token = c->backend_authentication,
		.token_file = c->backend_authentication_file,
		.tls = c->tls_enabled ? &tls : NULL,
		.tls_name = c->tls_server_name,
		.max_message_bytes = SONDE_RPC_MESSAGE_MAX,
		.connect_timeout_ns = c->backend_connect_timeout_ns,
		.on_event = on_event,
	};

	if (config.n_addresses > SONDE_GRPC_ADDRESSES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < config.n_addresses; i++) {
		r = sonde_address_parse(c->backend_addresses[i], 0, &addresses[i]);
		if (r < 0)
			return r;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	config.ctx = l;
	l->token_file = c->backend_authentication_file;
	l->has_token = c->backend_authentication[0];
	r = sonde_grpc_client_new(event, &config, &l->client);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

struct sonde_link *sonde_link_free(struct sonde_link *l)
{
	if (!l)
		return NULL;
	(void)sonde_grpc_client_free(l->client);
	free(l);
	return NULL;
}

void sonde_link_on_connected(struct sonde_link *l, void (*fn)(void *ctx), void *ctx)
{
	assert(l);
	l->on_connected = fn;
	l->on_connected_ctx = ctx;
}

struct sonde_grpc_client *sonde_link_client(const struct sonde_link *l)
{
	assert(l);
	return l->client;
}
