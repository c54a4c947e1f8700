/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};

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
	SONDE_OPTION_STRING(S, "http.listen", http_listen, "127.0.0.1:12800", "63",
			    "address and port of the REST interface; port 0 is any free one"),
	SONDE_OPTION_UINT(S, "http.max_connections", max_http_connections, "256", "1", "65536",
			  "connections at a time"),
	SONDE_OPTION_BYTES(S, "http.max_body", max_body_bytes, "256KiB", "1KiB", "16MiB",
			   "largest request body"),
	SONDE_OPTION_STRING(S, "token", token, "", "255",
			    "what every call and request must carry; empty for none",
			    .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_PATH(S, "state", state, "/var/lib/sonde-server",
			  "folder of the database; made if it does not exist"),
	SONDE_OPTION_PATH(
		S, "rules", rules, "",
		"folder of the MAL rule files; empty for mal/ beside the program's own tree, else "
		"/usr/share/sonde/mal"),
	SONDE_OPTION_DURATION(S, "retention", retention_ns, "168h", "1m", "8760h",
			      "how long ended tasks and their series are kept"),
	SONDE_OPTION_DURATION(S, "tasks.grace", grace_ns, "30s", "1s", "10m",
			      "how long after a task's end its agents may still report"),
	SONDE_OPTION_DURATION(S, "tasks.max_duration", max_task_duration_ns, "30m", "1s", "30m",
			      "longest task, extensions included"),
	SONDE_OPTION_UINT(S, "tasks.max_running", max_tasks, "64", "1", "500", "tasks at a time"),
	SONDE_OPTION_UINT(S, "limits.buckets", max_buckets, "1000000", "1000", "50000000",
			  "time buckets of all series in memory"),
	SONDE_OPTION_UINT(S, "limits.flows", max_flows, "100000", "0", "10000000",
			  "connections that ended, a task and agent; more are summed"),
	SONDE_OPTION_ENUM(S, "log.level", log_level, "info", log_levels,
			  "least urgent line that is logged"),
	{0},
};
#undef S

static const struct sonde_config_action actions[] = {
	{"ports-file", "FILE", "write {\"grpc\":PORT,\"http\":PORT} to FILE once both listen"},
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

static int check(const void *config, char **ret_error)
{
	const struct sonde_server_options *o = config;
	struct sonde_listen l;
	const char *bad = NULL;

	if (sonde_listen_parse(o->grpc_listen, &l) < 0)
		bad = "grpc.listen";
	else if (sonde_listen_parse(o->http_listen, &l) < 0)
		bad = "http.listen";
	if (!bad)
		return 0;
	if (asprintf(ret_error, "key '%s': ADDRESS:PORT was expected, an IPv6 address in brackets",
		     bad) < 0)
		return -ENOMEM;
	return -EINVAL;
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
