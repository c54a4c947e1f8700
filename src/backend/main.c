/* SPDX-License-Identifier: Apache-2.0 */
/* sonde-server: wiring only. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "backend/backend.h"
#include "backend/http/access.h"
#include "backend/http/https.h"
#include "backend/ingest/ingest.h"
#include "backend/options.h"
#include "backend/rescue.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "host/privilege.h"
#include "io/signals.h"
#include "io/tls.h"

#define DRAIN_US (2 * 1000 * 1000ULL) /* of the three seconds that a stop may take */
#define DRAIN_LOOK_US (50 * 1000ULL)

/* Root's, who looks after a database that belongs to the server's user. */
#define RESCUE_CAPS (SONDE_CAP(CAP_DAC_OVERRIDE) | SONDE_CAP(CAP_CHOWN) | SONDE_CAP(CAP_FOWNER))

struct server {
	sd_event *event;
	struct sonde_backend *backend;
	char *token; /* out of its file; NULL = there is none */
	struct sonde_access *access;
	struct sonde_tls_config grpc_tls;
	struct sonde_https_config http_tls;
	uint64_t drain_until_us;
};

static void server_done(struct server *s)
{
	(void)sonde_backend_free(s->backend);
	(void)sonde_access_free(s->access);
	(void)sd_event_unref(s->event);
	if (s->token)
		explicit_bzero(s->token, strlen(s->token));
	free(s->token);
}

/* Calls in flight get their answer; then, or when time is up, the loop ends. */
static int on_drained(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct sonde_store_stats stats;
	struct server *s = ctx;
	int r;

	sonde_store_get_stats(s->backend->store, &stats);
	if (usec >= s->drain_until_us ||
	    (stats.queued_jobs == 0 && s->backend->buffered_bytes == 0))
		return sd_event_exit(s->event, 0);
	r = sd_event_source_set_time_relative(source, DRAIN_LOOK_US);
	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	struct server *s = ctx;
	int r;

	if (s->backend->draining) /* a second one: now */
		return sd_event_exit(s->event, 0);
	sonde_log_info("stopping");
	(void)sd_notify(0, "STOPPING=1");
	sonde_backend_drain(s->backend);
	s->drain_until_us = sonde_mono_ns() / SONDE_NS_PER_US + DRAIN_US;
	r = sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC, DRAIN_LOOK_US, 0,
				       on_drained, s);
	return r < 0 ? sd_event_exit(s->event, r) : 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	struct server *s = ctx;

	(void)sonde_ingest_reload_rules(s->backend->ingest);
	return 0;
}

/* build/sonde-server finds mal/ of its tree; an installed one finds what was installed. */
static int find_rules(const char *option, char **ret)
{
	_cleanup_free_ char *beside = NULL;
	char exe[4096];
	ssize_t n;
	char *slash;

	if (option[0] == '\0') {
		n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = '\0';
		slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
		if (asprintf(&beside, "%s/../mal", exe) < 0) {
			beside = NULL;
			return -ENOMEM;
		}
		option = access(beside, R_OK) == 0 ? beside : "/usr/share/sonde/mal";
	}
	*ret = strdup(option);
	return *ret ? 0 : -ENOMEM;
}

static int write_ports(const char *path, const struct sonde_backend *b)
{
	_cleanup_free_ char *temporary = NULL;
	FILE *f;
	int r;

	if (asprintf(&temporary, "%s.new", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	f = fopen(temporary, "we");
	if (!f)
		return -errno;
	r = fprintf(f, "{\"grpc\":%u,\"http\":%u}\n", sonde_backend_grpc_port(b),
		    sonde_backend_http_port(b)) < 0
		    ? -EIO
		    : 0;
	if (fclose(f) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0) /* whole or not at all for who waits for it */
		r = -errno;
	return r;
}

static int make_state_dir(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static void set_tls(struct server *s, const struct sonde_server_options *o,
		    struct sonde_backend_config *config)
{
	s->grpc_tls = (struct sonde_tls_config){
		.server = true,
		.ca_file = o->grpc_tls.client_ca_file,
		.cert_file = o->grpc_tls.cert_file,
		.key_file = o->grpc_tls.key_file,
		.require_client = o->grpc_tls.require_client,
	};
	s->http_tls = (struct sonde_https_config){
		.cert_file = o->http_tls.cert_file,
		.key_file = o->http_tls.key_file,
		.client_ca_file = o->http_tls.client_ca_file,
		.require_client = o->http_tls.require_client,
	};
	config->grpc_tls = o->grpc_tls.cert_file[0] ? &s->grpc_tls : NULL;
	config->http_https = o->http_tls.cert_file[0] ? &s->http_tls : NULL;
}

static int start(struct server *s, const struct sonde_server_options *o, const char *rules,
		 struct sonde_listen *grpc, struct sonde_listen *http)
{
	struct sonde_backend_config config = {
		.state_dir = o->state,
		.rules_dir = rules,
		.strict = o->strict,
		.token = o->token,
		.max_message_bytes = o->max_message_bytes,
		.max_connections = o->max_connections,
		.max_streams = o->max_streams,
		.max_http_connections = o->max_http_connections,
		.max_body_bytes = o->max_body_bytes,
		.max_buckets = o->max_buckets,
		.max_task_buckets = o->max_task_buckets,
		.max_task_series = o->max_task_series,
		.max_task_entities = o->max_task_entities,
		.max_database_bytes = o->max_database_bytes,
		.max_flows = o->max_flows,
		.disk_reserve_bytes = o->disk_reserve_bytes,
		.max_running_tasks = o->max_tasks,
		.max_task_duration_ms = o->max_task_duration_ns / SONDE_NS_PER_MS,
		.grace_ms = o->grace_ns / SONDE_NS_PER_MS,
		.retention_ms = o->retention_ns / SONDE_NS_PER_MS,
		.keep_fine_ms = o->keep_fine_ns / SONDE_NS_PER_MS,
		.keep_minutes_ms = o->keep_minutes_ns / SONDE_NS_PER_MS,
	};
	char words[SONDE_SERVER_WORDS_MAX];
	int r;

	r = sonde_listen_parse(o->grpc_listen, grpc);
	if (r == 0)
		r = sonde_listen_parse(o->http_listen, http);
	if (r < 0)
		return sonde_log_err(r, "cannot read an address to listen on");
	config.grpc_address = grpc->address;
	config.grpc_port = grpc->port;
	config.http_address = http->address;
	config.http_port = http->port;
	r = make_state_dir(o->state);
	if (r < 0)
		return sonde_log_err(r, "cannot make the state folder %s", o->state);
	if (o->token_file[0]) {
		r = sonde_file_read_line(o->token_file, true, SONDE_SERVER_TOKEN_MAX, &s->token);
		if (r < 0)
			return sonde_log_err(r, "cannot read the token from '%s'", o->token_file);
		config.token = s->token;
	}
	r = sonde_server_read_access(o, config.token, &s->access, words);
	if (r < 0) {
		(void)sonde_log_err(0, "%s", words);
		return r;
	}
	config.access = s->access;
	set_tls(s, o, &config);
	return sonde_backend_new(s->event, &config, &s->backend);
}

static void say_address(const struct sonde_listen *l, uint16_t port, char *ret, size_t size)
{
	(void)snprintf(ret, size, strchr(l->address, ':') ? "[%s]:%u" : "%s:%u", l->address, port);
}

/* The operator has said so (open_to_all), or it would not have come this far. */
static void warn_if_open(const struct sonde_server_options *o, const char *what, const char *listen,
			 const struct sonde_server_tls *tls, bool has_token)
{
	if (sonde_server_is_open(o, listen, tls, has_token)) {
		(void)sonde_log_warn(
			0,
			"%s listens on %s, which is not this machine alone, and asks "
			"for no token: whoever reaches it is let in, as open_to_all says",
			what, listen);
	}
}

static int run(const struct sonde_server_options *o, const char *ports_file)
{
	_cleanup_(server_done) struct server s = {0};
	_cleanup_free_ char *rules = NULL;
	char grpc_text[96], http_text[96];
	struct sonde_listen grpc = {0}, http = {0};
	bool token;
	int r;

	sonde_log_set_level(sonde_server_log_level(o));
	(void)signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&s.event);
	if (r >= 0)
		r = sonde_signals_add(s.event, on_signal, &s);
	if (r >= 0)
		r = sonde_signals_add_reload(s.event, on_reload, &s);
	if (r >= 0)
		r = sd_event_set_watchdog(s.event, 1);
	if (r >= 0)
		r = find_rules(o->rules, &rules);
	if (r < 0)
		return sonde_log_err(r, "cannot start");
	r = start(&s, o, rules, &grpc, &http);
	if (r < 0)
		return r;
	if (ports_file) {
		r = write_ports(ports_file, s.backend);
		if (r < 0)
			return sonde_log_err(r, "cannot write %s", ports_file);
	}
	say_address(&grpc, sonde_backend_grpc_port(s.backend), grpc_text, sizeof(grpc_text));
	say_address(&http, sonde_backend_http_port(s.backend), http_text, sizeof(http_text));
	token = o->token[0] || o->token_file[0];
	warn_if_open(o, "gRPC", o->grpc_listen, &o->grpc_tls, token);
	warn_if_open(o, "HTTP", o->http_listen, &o->http_tls, token || o->n_http_tokens > 0);
	sonde_log_info("ready grpc=%s http=%s", grpc_text, http_text);
	(void)sd_notify(0, "READY=1");
	r = sd_event_loop(s.event);
	return r < 0 ? sonde_log_err(r, "the event loop failed") : 0;
}

int main(int argc, char **argv)
{
	struct sonde_config_args *args = NULL;
	int exit_status = 1, r;
	void *config = NULL;

	sonde_secret_guard();
	sonde_log_set_program("sonde-server");
	/* Before there is a second thread: capabilities are each thread's own. */
	r = sonde_privilege_keep(RESCUE_CAPS);
	if (r < 0)
		return sonde_log_err(r, "cannot give up privileges") != 0;
	r = sonde_config_start(&sonde_server_config_spec, argc, argv, &config, &args, &exit_status);
	if (r == 1)
		return exit_status;
	if (r < 0)
		return 1;
	if (sonde_rescue_is_asked(args)) {
		(void)sonde_privilege_raise(RESCUE_CAPS); /* those that there are */
		r = sonde_rescue_run(config, args);
	} else {
		r = sonde_privilege_drop_all();
		r = r < 0 ? sonde_log_err(r, "cannot give up privileges")
			  : run(config, sonde_config_args_action(args, "ports-file"));
	}
	(void)sonde_config_args_free(args);
	(void)sonde_config_free(&sonde_server_config_spec, config);
	return r < 0 ? 1 : 0;
}
