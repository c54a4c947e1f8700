/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/http/access.h"
#include "base/file.h"
#include "base/log.h"
#include "base/num.h"
#include "io/tls.h"

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};

static const char *const roles[] = {"view", "operate", NULL};

#define T struct sonde_server_token
static const struct sonde_option token_options[] = {
	SONDE_OPTION_STRING(T, "name", name, "", "63", "who it is for: what the audit log says",
			    .flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_ENUM(T, "role", role, "view", roles,
			  "view reads everything and changes nothing"),
	SONDE_OPTION_PATH(T, "file", file, "",
			  "file that holds the token; read at start, may not be everyone's to read",
			  .flags = SONDE_OPTION_REQUIRED),
	{0},
};
#undef T

#define S struct sonde_server_options
static const struct sonde_option options[] = {
	SONDE_OPTION_STRING(S, "grpc.listen", grpc_listen, "127.0.0.1:11800", "63",
			    "address and port that agents report to; port 0 is any free one"),
	SONDE_OPTION_UINT(S, "grpc.max_connections", max_connections, "256", "1", "65536",
			  "agents' connections at a time"),
	SONDE_OPTION_UINT(S, "grpc.max_streams", max_streams, "100", "1", "10000",
			  "calls of one connection at a time"),
	SONDE_OPTION_BYTES(S, "grpc.max_message", max_message_bytes, "16MiB", "64KiB", "64MiB",
			   "largest message, decompressed"),
	SONDE_OPTION_PATH(
		S, "grpc.tls.cert_file", grpc_tls.cert_file, "",
		"PEM file of the certificate and its chain; set, gRPC is TLS 1.2 or 1.3 only; "
		"read anew when it changed"),
	SONDE_OPTION_PATH(
		S, "grpc.tls.key_file", grpc_tls.key_file, "",
		"PEM file of its key, without a passphrase; may not be everyone's to read"),
	SONDE_OPTION_PATH(S, "grpc.tls.client_ca_file", grpc_tls.client_ca_file, "",
			  "PEM file of who signs clients' certificates; empty = none is asked for"),
	SONDE_OPTION_BOOL(S, "grpc.tls.require_client", grpc_tls.require_client, "true",
			  "with client_ca_file: refuse a client without a certificate"),
	SONDE_OPTION_STRING(S, "http.listen", http_listen, "127.0.0.1:12800", "63",
			    "address and port of the REST interface; port 0 is any free one"),
	SONDE_OPTION_UINT(S, "http.max_connections", max_http_connections, "256", "1", "65536",
			  "connections at a time; of 16 or more, half at most of one address"),
	SONDE_OPTION_BYTES(S, "http.max_body", max_body_bytes, "256KiB", "1KiB", "16MiB",
			   "largest request body"),
	SONDE_OPTION_PATH(
		S, "http.tls.cert_file", http_tls.cert_file, "",
		"PEM file of the certificate and its chain; set, the REST interface is TLS 1.2 or 1.3 only; "
		"read anew when it changed"),
	SONDE_OPTION_PATH(
		S, "http.tls.key_file", http_tls.key_file, "",
		"PEM file of its key, without a passphrase; may not be everyone's to read"),
	SONDE_OPTION_PATH(
		S, "http.tls.client_ca_file", http_tls.client_ca_file, "",
		"PEM file of who signs clients' certificates, read once; empty = none is asked for"),
	SONDE_OPTION_BOOL(S, "http.tls.require_client", http_tls.require_client, "true",
			  "with client_ca_file: refuse a client without a certificate"),
	SONDE_OPTION_ENUM(S, "http.tls.client_role", client_role, "operate", roles,
			  "with client_ca_file and without tokens: what clients may do"),
	SONDE_OPTION_LIST(S, "http.tokens", http_tokens, n_http_tokens, token_options, "63",
			  "tokens of the REST interface; with any, `token` is the agents' alone"),
	SONDE_OPTION_BOOL(
		S, "open_to_all", open_to_all, "false",
		"start though an address other than loopback asks neither for a token nor for a client's "
		"certificate: whoever reaches it may do all"),
	SONDE_OPTION_STRING(S, "token", token, "", "255",
			    "what every call and request must carry; empty for none; the file may "
			    "then not be everyone's to read",
			    .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_PATH(
		S, "token_file", token_file, "",
		"file that holds the token, instead of `token`; read at start, may not be everyone's to read"),
	SONDE_OPTION_PATH(S, "state", state, "/var/lib/sonde-server",
			  "folder of the database; made if it does not exist"),
	SONDE_OPTION_PATH(
		S, "rules", rules, "",
		"folder of the MAL rule files; empty for mal/ beside the program's own tree, else "
		"/usr/share/sonde/mal; read again when it changes and by SIGHUP"),
	SONDE_OPTION_BOOL(
		S, "strict", strict, "false",
		"increase(), rate() and irate() of rules as they should be: a counter window of its own for "
		"each call, and a counter that begins anew counts on; by default both are as in an OAP"),
	SONDE_OPTION_DURATION(
		S, "retention", retention_ns, "168h", "1m", "8760h",
		"how long ended tasks are kept, with their connections and hour series"),
	SONDE_OPTION_DURATION(S, "series.keep_10s", keep_fine_ns, "6h", "30m", "8760h",
			      "how long series of 10 s are kept: a task lasts 30 min at most"),
	SONDE_OPTION_DURATION(
		S, "series.keep_1m", keep_minutes_ns, "48h", "30m", "8760h",
		"how long series of a minute are kept; those of an hour are kept as long "
		"as their task"),
	SONDE_OPTION_DURATION(S, "tasks.grace", grace_ns, "30s", "1s", "10m",
			      "how long after a task's end its agents may still report"),
	SONDE_OPTION_DURATION(S, "tasks.max_duration", max_task_duration_ns, "30m", "1s", "30m",
			      "longest task, extensions included"),
	SONDE_OPTION_UINT(S, "tasks.max_running", max_tasks, "64", "1", "500", "tasks at a time"),
	SONDE_OPTION_BYTES(
		S, "limits.disk_reserve", disk_reserve_bytes, "64MiB", "0", "1TiB",
		"free bytes of the state folder's file system below which no report and no task is "
		"taken; agents keep theirs meanwhile"),
	SONDE_OPTION_UINT(S, "limits.buckets", max_buckets, "1000000", "1000", "50000000",
			  "time buckets of all series in memory"),
	SONDE_OPTION_UINT(S, "limits.task_buckets", max_task_buckets, "0", "0", "50000000",
			  "of these, one task's; 0 = as many as there is room for"),
	SONDE_OPTION_UINT(
		S, "limits.task_series", max_task_series, "200000", "0", "10000000",
		"series of one task, a metric of an entity each; 0 = no limit of its own"),
	SONDE_OPTION_UINT(S, "limits.task_entities", max_task_entities, "20000", "0", "10000000",
			  "entities of one task, an end of an edge each; 0 = no limit of its own"),
	SONDE_OPTION_BYTES(
		S, "limits.database", max_database_bytes, "8GiB", "0", "16TiB",
		"bytes of the database; beyond it the oldest series and ended tasks go before their "
		"time; 0 = no limit"),
	SONDE_OPTION_UINT(S, "limits.flows", max_flows, "100000", "0", "10000000",
			  "connections that ended, a task and agent; more are summed"),
	SONDE_OPTION_ENUM(S, "log.level", log_level, "info", log_levels,
			  "least urgent line that is logged"),
	{0},
};
#undef S

static const struct sonde_config_action actions[] = {
	{"ports-file", "FILE", "write {\"grpc\":PORT,\"http\":PORT} to FILE once both listen"},
	{"backup", "FILE", "copy the database to FILE, also while the server runs, and exit"},
	{"check-database", NULL, "look at every page of the database, change nothing, and exit"},
	{"restore", "FILE", "put the back-up FILE in the database's place, and exit"},
	{"salvage-database", NULL, "keep what can be read of a damaged database, and exit"},
	{"set-database-aside", NULL,
	 "move the database aside, so that the next start begins anew, and exit"},
	{"accept-database", NULL,
	 "go on with a database that lacks what was acknowledged, and exit"},
	{0},
};

int sonde_listen_parse(const char *text, struct sonde_listen *ret)
{
	const char *colon = strrchr(text, ':');
	struct sonde_listen l = {0};
	struct in6_addr in6;
	struct in_addr in4;
	uint64_t port;
	size_t n;

	if (!colon || sonde_parse_u64(colon + 1, 0, UINT16_MAX, &port) < 0)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		n -= 2;
		text++;
	}
	if (n == 0 || n >= sizeof(l.address))
		return -EINVAL;
	memcpy(l.address, text, n);
	if (inet_pton(AF_INET, l.address, &in4) != 1 && inet_pton(AF_INET6, l.address, &in6) != 1)
		return -EINVAL;
	l.port = (uint16_t)port;
	*ret = l;
	return 0;
}

static int check_listen(const char *key, const char *text, char **ret_error)
{
	struct sonde_listen l;

	if (sonde_listen_parse(text, &l) == 0)
		return 0;
	return sonde_config_refuse(
		ret_error, "key '%s': ADDRESS:PORT was expected, an IPv6 address in brackets", key);
}

/* Both interfaces: OpenSSL's look at the files; GnuTLS, at start, sees no more in them. */
static int check_tls(const char *key, const struct sonde_server_tls *t, char **ret_error)
{
	const struct sonde_tls_config config = {
		.server = true,
		.ca_file = t->client_ca_file,
		.cert_file = t->cert_file,
		.key_file = t->key_file,
		.require_client = t->require_client,
	};
	struct sonde_tls_context *tls = NULL;
	char words[SONDE_TLS_WORDS_MAX];
	int r;

	if (!t->cert_file[0] && !t->key_file[0] && !t->client_ca_file[0])
		return 0;
	r = sonde_tls_context_new(&config, &tls, words);
	(void)sonde_tls_context_unref(tls);
	return r < 0 && words[0] ? sonde_config_refuse(ret_error, "key '%s': %s", key, words) : r;
}

static int check_token(const struct sonde_server_options *o, char **ret_error)
{
	char *token = NULL;
	int r;

	if (!o->token_file[0])
		return 0;
	if (o->token[0])
		return sonde_config_refuse(ret_error, "keys 'token' and 'token_file' are both set");
	r = sonde_file_read_line(o->token_file, true, SONDE_SERVER_TOKEN_MAX, &token);
	if (r < 0)
		return sonde_config_refuse(ret_error, "key 'token_file': cannot read '%s': %s",
					   o->token_file, sonde_file_error(r, true));
	explicit_bzero(token, strlen(token));
	free(token);
	return 0;
}

static int refuse_access(char words[static SONDE_SERVER_WORDS_MAX], int r, size_t at,
			 const struct sonde_server_token *t)
{
	if (r == -EEXIST)
		(void)snprintf(words, SONDE_SERVER_WORDS_MAX,
			       "http.tokens[%zu]: another has the same name or the same token", at);
	else
		(void)snprintf(words, SONDE_SERVER_WORDS_MAX,
			       "http.tokens[%zu]: cannot read '%s': %s", at, t->file,
			       sonde_file_error(r, true));
	return r;
}

static int read_token(struct sonde_access *a, const struct sonde_server_token *t)
{
	static const enum sonde_role role_of[] = {SONDE_ROLE_VIEW, SONDE_ROLE_OPERATE};
	char *token = NULL;
	int r;

	r = sonde_file_read_line(t->file, true, SONDE_SERVER_TOKEN_MAX, &token);
	if (r < 0)
		return r;
	r = sonde_access_add(a, t->name, role_of[t->role], token);
	explicit_bzero(token, strlen(token));
	free(token);
	return r;
}

int sonde_server_read_access(const struct sonde_server_options *o, const char *token,
			     struct sonde_access **ret, char words[static SONDE_SERVER_WORDS_MAX])
{
	_cleanup_(sonde_access_freep) struct sonde_access *a = NULL;
	bool certificates = o->http_tls.client_ca_file[0] != '\0';
	int r;

	(void)snprintf(words, SONDE_SERVER_WORDS_MAX, "the tokens cannot be kept");
	r = sonde_access_new(
		certificates && o->client_role == 0 ? SONDE_ROLE_VIEW : SONDE_ROLE_OPERATE, &a);
	for (size_t i = 0; r == 0 && i < o->n_http_tokens; i++) {
		r = read_token(a, &o->http_tokens[i]);
		if (r < 0)
			return refuse_access(words, r, i, &o->http_tokens[i]);
	}
	if (r == 0 && o->n_http_tokens == 0 && token && token[0])
		r = sonde_access_add(a, "token", SONDE_ROLE_OPERATE, token);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(a);
	return 0;
}

static int check_http_tokens(const struct sonde_server_options *o, char **ret_error)
{
	struct sonde_access *a = NULL;
	char words[SONDE_SERVER_WORDS_MAX];
	int r;

	if (o->n_http_tokens == 0)
		return 0;
	r = sonde_server_read_access(o, NULL, &a, words);
	(void)sonde_access_free(a);
	return r < 0 ? sonde_config_refuse(ret_error, "%s", words) : 0;
}

static bool is_loopback(const struct sonde_listen *l)
{
	struct in6_addr in6;
	struct in_addr in4;

	if (inet_pton(AF_INET, l->address, &in4) == 1)
		return ntohl(in4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, l->address, &in6) == 1 &&
	       (IN6_IS_ADDR_LOOPBACK(&in6) ||
		(IN6_IS_ADDR_V4MAPPED(&in6) && in6.s6_addr[12] == 127));
}

bool sonde_server_is_open(const struct sonde_server_options *o, const char *listen,
			  const struct sonde_server_tls *tls, bool has_token)
{
	struct sonde_listen l;

	return sonde_listen_parse(listen, &l) == 0 && !is_loopback(&l) && !has_token &&
	       !(tls->client_ca_file[0] && tls->require_client);
}

/* Who reaches the port may start tasks and read what they found, or report in an agent's name. */
static int check_open(const struct sonde_server_options *o, char **ret_error)
{
	bool token = o->token[0] || o->token_file[0];

	if (o->open_to_all)
		return 0;
	if (sonde_server_is_open(o, o->grpc_listen, &o->grpc_tls, token)) {
		return sonde_config_refuse(
			ret_error,
			"key 'grpc.listen': %s is not this machine alone, and no token is asked for: "
			"set token_file or grpc.tls.client_ca_file, or open_to_all: true to let whoever "
			"reaches it report as an agent",
			o->grpc_listen);
	}
	if (sonde_server_is_open(o, o->http_listen, &o->http_tls, token || o->n_http_tokens > 0)) {
		return sonde_config_refuse(
			ret_error,
			"key 'http.listen': %s is not this machine alone, and no token is asked for: "
			"set http.tokens, token_file or http.tls.client_ca_file, or open_to_all: true to "
			"let whoever reaches it start tasks and read what they found",
			o->http_listen);
	}
	return 0;
}

static int check(const void *config, char **ret_error)
{
	const struct sonde_server_options *o = config;
	int r;

	r = check_listen("grpc.listen", o->grpc_listen, ret_error);
	if (r == 0)
		r = check_listen("http.listen", o->http_listen, ret_error);
	if (r == 0)
		r = check_tls("grpc.tls", &o->grpc_tls, ret_error);
	if (r == 0)
		r = check_tls("http.tls", &o->http_tls, ret_error);
	if (r == 0)
		r = check_token(o, ret_error);
	if (r == 0)
		r = check_http_tokens(o, ret_error);
	return r < 0 ? r : check_open(o, ret_error);
}

const struct sonde_config_spec sonde_server_config_spec = {
	.program = "sonde-server",
	.summary = "Takes agents' reports, hands out tasks, runs the rules, answers /api/v1.",
	.env_prefix = "SONDE_SERVER_",
	.default_file = "/etc/sonde/server.yaml",
	.size = sizeof(struct sonde_server_options),
	.options = options,
	.check = check,
	.actions = actions,
};

int sonde_server_log_level(const struct sonde_server_options *o)
{
	static const int levels[] = {SONDE_LOG_ERROR, SONDE_LOG_WARNING, SONDE_LOG_INFO,
				     SONDE_LOG_DEBUG};

	return levels[o->log_level];
}
