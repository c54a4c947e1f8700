/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "agent/continuous.h"
#include "agent/control.h"
#include "agent/finder.h"
#include "agent/kafka-link.h"
#include "agent/link.h"
#include "agent/registrar.h"
#include "agent/rpc.h"
#include "agent/rules.h"
#include "agent/sender.h"
#include "agent/task-query.h"
#include "agent/tasks.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/proc.h"
#include "io/grpc-client.h"
#include "io/signals.h"
#include "wire/message.h"

#define DRAIN_NS (2800 * SONDE_NS_PER_MS) /* SIGTERM's 3 s, with room for the exit itself */
#define TELL_NS (1 * SONDE_NS_PER_S)	  /* for the last word to the backend, where no task ran */

struct agent {
	const struct sonde_agent_config *config;
	const char *state_dir; /* NULL: none */
	char id[SONDE_AGENT_ID_MAX];
	char host[256];
	char instance[SONDE_PROCESS_NAME_MAX];
	int proc_fd;
	sd_event *event;
	struct sonde_probe_client *probe;
	struct sonde_link *link;
	struct sonde_grpc_client *client; /* the link's */
	struct sonde_kafka_link *kafka;	  /* NULL: export is grpc */
	bool told_unread;
	struct sonde_rules *rules;
	struct sonde_finder *finder;
	struct sonde_registrar *registrar;
	struct sonde_control *control;
	struct sonde_sender *sender;
	struct sonde_tasks *tasks;
	struct sonde_task_query *query;
	struct sonde_continuous *continuous; /* NULL: switched off */
	sd_event_source *scan, *drain;
	bool draining;
	bool failed; /* the probe is gone */
};

/* UUID v4. */
static int make_id(char dst[SONDE_AGENT_ID_MAX])
{
	uint8_t b[16];
	ssize_t n;

	do
		n = getrandom(b, sizeof(b), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(b))
		return n < 0 ? -errno : -EIO;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	(void)snprintf(dst, SONDE_AGENT_ID_MAX,
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		       b[13], b[14], b[15]);
	return 0;
}

/* "{host}" in the agent's own instance name. */
static void make_instance(struct agent *a)
{
	const char *t = a->config->instance, *at = strstr(t, "{host}");
	char text[600];

	if (at)
		(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - t), t, a->host, at + 6);
	else
		(void)snprintf(text, sizeof(text), "%s", t);
	(void)sonde_process_set_entity(a->instance, text);
}

static void end_if_drained(struct agent *a)
{
	const struct sonde_delivery *d = sonde_sender_delivery(a->sender);

	if (a->draining && sonde_tasks_idle(a->tasks) &&
	    (sonde_delivery_idle(d) || sonde_delivery_safe(d)))
		(void)sd_event_exit(a->event, 0);
}

/* tasks */

static bool has_extension(void *ctx)
{
	struct agent *a = ctx;
	const bool has = sonde_grpc_client_has_extension(a->client);

	if (has && a->kafka && !a->told_unread) {
		(void)sonde_log_warn(0, "the backend is a sonde-server, which reads no Kafka: its "
					"tasks will have no numbers with export: kafka");
		a->told_unread = true;
	}
	return has && !a->kafka;
}

static void on_tasks_idle(void *ctx)
{
	end_if_drained(ctx);
}

/* delivery */

static void on_outcome(void *ctx, const struct sonde_report *report,
		       enum sonde_delivery_outcome outcome)
{
	struct agent *a = ctx;

	if (a->tasks)
		sonde_tasks_outcome(a->tasks, report, outcome, sonde_mono_ns());
}

/* processes */

static void on_scan_done(void *ctx, bool changed)
{
	struct agent *a = ctx;

	if (changed)
		sonde_registrar_report_new(a->registrar);
	if (changed && a->continuous)
		sonde_continuous_processes_changed(a->continuous);
	/* Also unchanged: targets may have ended. */
	sonde_tasks_processes_changed(a->tasks);
}

static void on_adopted(void *ctx)
{
	struct agent *a = ctx;

	sonde_registrar_report_new(a->registrar);
}

static void on_ids(void *ctx)
{
	struct agent *a = ctx;

	sonde_tasks_processes_changed(a->tasks);
	if (a->continuous)
		sonde_continuous_processes_changed(a->continuous);
}

static void on_back(void *ctx)
{
	struct agent *a = ctx;

	sonde_task_query_soon(a->query);
}

static int on_scan(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;
	int r = sonde_finder_scan(a->finder);

	if (r < 0)
		(void)sonde_log_warn(r, "cannot look through %s, trying again", a->config->proc);
	(void)sd_event_source_set_time_relative(source, a->config->scan_ns / SONDE_NS_PER_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* what the server says */

static void on_answer(void *ctx)
{
	struct agent *a = ctx;

	sonde_control_keep(a->control);
	if (a->continuous)
		sonde_continuous_poll(a->continuous);
}

static void on_stop(void *ctx, const char *task_id, const char *reason)
{
	struct agent *a = ctx;

	sonde_tasks_stop(a->tasks, task_id, reason);
}

static void on_extend(void *ctx, const char *task_id, int64_t end_wall_ms)
{
	struct agent *a = ctx;

	sonde_tasks_extend(a->tasks, task_id, end_wall_ms);
}

static void on_poll_hint(void *ctx)
{
	struct agent *a = ctx;

	sonde_task_query_soon(a->query);
}

static void on_control_lost(void *ctx)
{
	struct agent *a = ctx;

	if (!a->draining)
		sonde_registrar_soon(a->registrar);
}

struct question {
	struct agent *a;
	char id[SONDE_CONTROL_ID_MAX + 1];
};

static void on_planned(void *ctx, Sonde__V1__Plan *plan)
{
	_cleanup_free_ struct question *q = ctx;

	if (!plan)
		return;
	plan->question = q->id;
	sonde_control_answer(q->a->control, plan);
}

static void on_question(void *ctx, const char *id, const char *text)
{
	_cleanup_(sonde_spec_done) struct sonde_spec spec = {0};
	Sonde__V1__Plan refusal = SONDE__V1__PLAN__INIT;
	char words[SONDE_SPEC_WORDS_MAX] = "";
	struct question *q = NULL;
	struct agent *a = ctx;
	int r = 0;

	if (text[0])
		r = sonde_spec_parse_json(text, strlen(text), &spec, words);
	if (r == 0)
		q = calloc(1, sizeof(*q));
	if (!q) {
		refusal.question = sonde_wire_text(id);
		refusal.refused = sonde_wire_text(words[0] ? words : strerror(r < 0 ? -r : ENOMEM));
		sonde_control_answer(a->control, &refusal);
		return;
	}
	q->a = a;
	(void)snprintf(q->id, sizeof(q->id), "%s", id);
	sonde_tasks_plan(a->tasks, text[0] ? &spec : NULL, on_planned, q);
}

/* probe */

static void say_hello(struct agent *a, const struct sonde_probe_hello *hello)
{
	char words[64 + sizeof(hello->missing)] = "";

	sonde_log_info("sonde-probe is ready: worker %u, keeper %u", hello->worker_pid,
		       hello->keeper_pid);
	if (hello->bpf_error)
		(void)sonde_log_warn(-(int)hello->bpf_error,
				     "BPF is refused (%s): tasks will fail with this reason",
				     hello->missing);
	if (hello->bpf_error)
		(void)snprintf(words, sizeof(words), "BPF is refused, missing: %s", hello->missing);
	sonde_registrar_set_problem(a->registrar, words);
}

static void on_hello(void *ctx, const struct sonde_probe_hello *hello)
{
	say_hello(ctx, hello);
}

static void on_restart(void *ctx, const struct sonde_probe_hello *hello)
{
	struct agent *a = ctx;

	(void)sonde_log_warn(0, "the probe's worker died and was replaced (%u times now)",
			     hello->restarts);
	say_hello(a, hello);
	sonde_tasks_probe_restarted(a->tasks, hello);
}

static void on_task_ended(void *ctx, const struct sonde_probe_task_ended *ended)
{
	struct agent *a = ctx;

	sonde_tasks_probe_ended(a->tasks, ended);
}

static int on_drained_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;
	struct sonde_delivery_stats s;

	sonde_delivery_stats(sonde_sender_delivery(a->sender), &s);
	if (s.waiting > 0 || s.spooled > 0)
		(void)sonde_log_warn(0,
				     "ending with reports that were not delivered: %zu in memory, "
				     "%" PRIu64 " on disk",
				     s.waiting, s.spooled);
	return sd_event_exit(a->event, 0);
}

/* Ends when all is delivered, at the latest after @limit_ns. */
static void drain(struct agent *a, uint64_t limit_ns)
{
	a->draining = true;
	sonde_task_query_stop(a->query);
	(void)sd_event_add_time_relative(a->event, &a->drain, CLOCK_MONOTONIC,
					 limit_ns / SONDE_NS_PER_US, 1000, on_drained_late, a);
	sonde_tasks_drain(a->tasks);
	sonde_delivery_kick(sonde_sender_delivery(a->sender));
}

/*
 * It does not come back, and nothing can be measured without it: the tasks end, what they have is delivered, the
 * backend is told why, and whoever runs the agent may start it again.
 */
static void on_gone(void *ctx, const char *words)
{
	char problem[160];
	struct agent *a = ctx;
	bool had_tasks = !sonde_tasks_idle(a->tasks);

	(void)sonde_log_full(SONDE_LOG_ERROR, 0, "%s; ending, since nothing can be measured",
			     words);
	sonde_tasks_probe_gone(a->tasks, words);
	if (a->draining)
		return;
	a->failed = true;
	(void)snprintf(problem, sizeof(problem), "it ended: %s", words);
	sonde_registrar_set_problem(a->registrar, problem);
	drain(a, had_tasks ? DRAIN_NS : TELL_NS);
}

/* signals */

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;

	if (a->draining) /* the second one means now */
		return sd_event_exit(a->event, 0);
	sonde_log_info("signal %u: draining", si->ssi_signo);
	drain(a, DRAIN_NS);
	end_if_drained(a);
	return 0;
}

/* set-up */

static int add_timer(struct agent *a, sd_event_source **ret, uint64_t delay_ns,
		     sd_event_time_handler_t fn)
{
	return sd_event_add_time_relative(a->event, ret, CLOCK_MONOTONIC,
					  delay_ns / SONDE_NS_PER_US, 0, fn, a);
}

static void on_connected(void *ctx)
{
	struct agent *a = ctx;

	if (a->sender)
		sonde_sender_connected(a->sender);
}

static int make_sender(struct agent *a)
{
	const struct sonde_sender_config config = {
		.event = a->event,
		.client = a->client,
		.kafka = a->kafka,
		.config = a->config,
		.state_dir = a->state_dir,
		.on_outcome = on_outcome,
		.on_turn = on_tasks_idle,
		.ctx = a,
	};

	sonde_link_on_connected(a->link, on_connected, a);
	return sonde_sender_new(&config, &a->sender);
}

static int make_client(struct agent *a)
{
	int r = sonde_link_new(a->event, a->config, &a->link);

	if (r == 0)
		a->client = sonde_link_client(a->link);
	return r;
}

static void tell_delivery(void *ctx, char ret[SONDE_SENDER_WORDS_MAX])
{
	const struct agent *a = ctx;

	sonde_sender_words(a->sender, ret);
}

static int make_processes(struct agent *a)
{
	const struct sonde_finder_config finder = {
		.proc_fd = a->proc_fd,
		.probe = a->probe,
		.rules = a->rules,
		.max_processes = a->config->max_processes,
		.on_scan = on_scan_done,
		.ctx = a,
	};
	int r;

	r = sonde_finder_new(&finder, &a->finder);
	if (r == 0) {
		const struct sonde_registrar_config registrar = {
			.event = a->event,
			.client = a->client,
			.kafka = a->kafka,
			.finder = a->finder,
			.agent_id = a->id,
			.service = a->config->service,
			.instance = a->instance,
			.host = a->host,
			.heartbeat_ns = a->config->heartbeat_ns,
			.deadline_ns = a->config->backend_deadline_ns,
			.delivery = tell_delivery,
			.on_ids = on_ids,
			.on_back = on_back,
			.ctx = a,
		};

		r = sonde_registrar_new(&registrar, &a->registrar);
	}
	return r;
}

static int make_query(struct agent *a)
{
	const struct sonde_task_query_config config = {
		.event = a->event,
		.client = a->client,
		.finder = a->finder,
		.tasks = a->tasks,
		.agent_id = a->id,
		.poll_ns = a->config->poll_ns,
		.deadline_ns = a->config->backend_deadline_ns,
		.plain_interval_ms = (int64_t)(a->config->report_interval_ns / SONDE_NS_PER_MS),
		.on_answer = on_answer,
		.ctx = a,
	};

	return sonde_task_query_new(&config, &a->query);
}

static int make_continuous(struct agent *a)
{
	const struct sonde_continuous_config config = {
		.event = a->event,
		.client = a->client,
		.finder = a->finder,
		.tasks = a->tasks,
		.agent_id = a->id,
		.proc_fd = a->proc_fd,
		.poll_ns = a->config->poll_ns,
		.deadline_ns = a->config->backend_deadline_ns,
		.check_ns = a->config->continuous_check_ns,
		.duration_ns = a->config->continuous_duration_ns,
		.silence_ns = a->config->continuous_silence_ns,
		.interval_ms = (int64_t)(a->config->report_interval_ns / SONDE_NS_PER_MS),
	};

	return sonde_continuous_new(&config, &a->continuous);
}

/* The variable stands in every container of a pod. */
static bool unknown_peers(const struct agent *a)
{
	if (a->config->peers == SONDE_AGENT_PEERS_AUTO)
		return !getenv("KUBERNETES_SERVICE_HOST");
	return a->config->peers == SONDE_AGENT_PEERS_UNKNOWN;
}

static int make_tasks(struct agent *a)
{
	const struct sonde_tasks_config tasks = {
		.event = a->event,
		.probe = a->probe,
		.finder = a->finder,
		.delivery = sonde_sender_delivery(a->sender),
		.agent_id = a->id,
		.proc_fd = a->proc_fd,
		.unknown_peers = unknown_peers(a),
		.has_extension = has_extension,
		.on_idle = on_tasks_idle,
		.on_adopted = on_adopted,
		.ctx = a,
	};
	const struct sonde_control_config control = {
		.client = a->client,
		.agent_id = a->id,
		.on_stop = on_stop,
		.on_extend = on_extend,
		.on_poll = on_poll_hint,
		.on_lost = on_control_lost,
		.on_question = on_question,
		.ctx = a,
	};
	int r;

	r = sonde_tasks_new(&tasks, &a->tasks);
	if (r == 0)
		r = sonde_control_new(&control, &a->control);
	if (r == 0 && a->config->continuous)
		r = make_continuous(a);
	return r < 0 ? r : make_query(a);
}

static int set_up(struct agent *a)
{
	const struct sonde_probe_client_handlers handlers = {
		.on_hello = on_hello,
		.on_restart = on_restart,
		.on_task_ended = on_task_ended,
		.on_gone = on_gone,
		.ctx = a,
	};
	int r;

	if (gethostname(a->host, sizeof(a->host) - 1) < 0)
		return -errno;
	r = make_id(a->id);
	if (r < 0)
		return r;
	make_instance(a);
	a->proc_fd = sonde_proc_open(a->config->proc);
	if (a->proc_fd < 0)
		return a->proc_fd;
	r = sd_event_new(&a->event);
	if (r >= 0)
		r = sonde_signals_add(a->event, on_signal, a);
	if (r >= 0)
		r = sonde_rules_new(a->config->rules, a->config->n_rules, a->host, &a->rules);
	if (r >= 0)
		r = make_client(a);
	if (r >= 0 && a->config->export == SONDE_AGENT_EXPORT_KAFKA)
		r = sonde_kafka_link_new(a->event, a->config, a->instance, &a->kafka);
	if (r >= 0)
		r = make_sender(a);
	if (r >= 0)
		r = make_processes(a);
	if (r >= 0)
		r = make_tasks(a);
	if (r >= 0)
		r = sonde_probe_client_attach(a->probe, a->event, handlers);
	if (r >= 0)
		r = add_timer(a, &a->scan, 0, on_scan);
	return r < 0 ? r : 0;
}

/* What ends calls goes first, then who waited for them. */
static void tear_down(struct agent *a)
{
	a->probe = sonde_probe_client_free(a->probe);
	a->sender = sonde_sender_free(a->sender);
	a->kafka = sonde_kafka_link_free(a->kafka);
	a->link = sonde_link_free(a->link);
	a->query = sonde_task_query_free(a->query);
	a->continuous = sonde_continuous_free(a->continuous);
	a->control = sonde_control_free(a->control);
	a->tasks = sonde_tasks_free(a->tasks);
	a->registrar = sonde_registrar_free(a->registrar);
	a->finder = sonde_finder_free(a->finder);
	a->rules = sonde_rules_free(a->rules);
	(void)sd_event_source_disable_unref(a->scan);
	(void)sd_event_source_disable_unref(a->drain);
	(void)sd_event_unref(a->event);
	if (a->proc_fd >= 0)
		(void)close(a->proc_fd);
}

int sonde_agent_run(const struct sonde_agent_config *config, const char *state_dir,
		    struct sonde_probe_client *probe)
{
	struct agent a = {.config = config, .state_dir = state_dir, .probe = probe, .proc_fd = -1};
	int r;

	assert(config && probe);

	r = set_up(&a);
	if (r < 0)
		(void)sonde_log_err(r, "cannot start");
	else
		sonde_log_info("agent %s for %s", a.id, sonde_grpc_client_address(a.client));
	(void)malloc_trim(0);
	if (r == 0) {
		r = sd_event_loop(a.event);
		if (r < 0)
			(void)sonde_log_err(r, "event loop");
		else if (a.failed)
			r = -EPIPE; /* said when it happened */
	}
	tear_down(&a);
	return r < 0 ? r : 0;
}
