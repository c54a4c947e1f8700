/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report-sender [the agent's flags] --state-dir=DIR: the agent's sender alone, without a probe, for tests of delivery.
 * Commands on standard input, one a line; answers on standard output:
 *
 *	add TASK SEQUENCE VALUE	a report of one meter `sent` of that value, and with a TaskReport if TASK begins with '+'
 *	stats			a JSON line: counters of the delivery and of each kind of error
 *
 * "made ID" tells that the delivery has a report, "done|dropped|unknown ID" what became of it. It asks for tasks as the
 * agent does, so that it hears what the backend is. Ends at the end of its input, as the agent does at SIGTERM.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/kafka-link.h"
#include "agent/link.h"
#include "agent/options.h"
#include "agent/rpc.h"
#include "agent/sender.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "config/config.h"
#include "export/batch.h"
#include "skywalking/v3/profile.pb-c.h"

#define POLL_US 200000
#define DRAIN_US 2800000 /* the agent's, for what Kafka has under way */

struct program {
	sd_event *event;
	struct sonde_link *link;
	struct sonde_kafka_link *kafka;
	struct sonde_sender *sender;
	const struct sonde_agent_config *config;
	sd_event_source *in, *poll, *drain;
	char line[4096];
	size_t n;
	bool polling, ending;
};

static void on_outcome(void *ctx, const struct sonde_report *r, enum sonde_delivery_outcome o)
{
	static const char *const words[] = {"done", "dropped", "unknown"};

	(void)printf("%s %s\n", words[o], r->id);
	(void)fflush(stdout);
}

static void on_turn(void *ctx)
{
	struct program *p = ctx;
	const struct sonde_delivery *d = sonde_sender_delivery(p->sender);

	if (p->ending && (sonde_delivery_idle(d) || sonde_delivery_safe(d)))
		(void)sd_event_exit(p->event, 0);
}

/* One collection of one meter. */
static int fill(struct sonde_report *r, uint64_t value)
{
	_cleanup_(sonde_batch_done) struct sonde_batch b = SONDE_BATCH_INIT(sonde_wall_ms());
	struct sonde_batch_labels labels = {0};
	int e;

	sonde_batch_begin(&b, "service", "instance");
	e = sonde_batch_labels_add(&labels, "side",
				   "client, and so long that the report is worth a compression: "
				   "client client client client client client");
	if (e == 0)
		e = sonde_batch_single(&b, "sent", &labels, (double)value);
	if (e < 0)
		return e;
	r->messages = calloc(1, sizeof(r->messages[0]));
	if (!r->messages)
		return -ENOMEM;
	r->messages[0] = b.messages[0];
	r->n_messages = 1;
	b.messages[0] = SONDE_BUF_INIT(0);
	return 0;
}

static void add(struct program *p, const char *task, uint64_t sequence, uint64_t value)
{
	struct sonde_report *r = NULL;

	if (sonde_report_new(&r) < 0 || fill(r, value) < 0)
		exit(1);
	r->extension = task[0] == '+';
	task += r->extension;
	(void)snprintf(r->task, sizeof(r->task), "%s", task);
	(void)snprintf(r->id, sizeof(r->id), "%s/%" PRIu64 "/%" PRIx64, task, sequence, value);
	r->sequence = sequence;
	r->due_ns = sonde_mono_ns();
	(void)printf("made %s\n", r->id);
	sonde_delivery_add(sonde_sender_delivery(p->sender), &r);
}

static void say_stats(const struct program *p)
{
	struct sonde_sender_stats s;

	sonde_sender_stats(p->sender, &s);
	(void)printf("{\"delivered\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"unknown\": %" PRIu64
		     ", \"spooled\": %" PRIu64 ", \"spooled_bytes\": %" PRIu64,
		     s.delivery.delivered, s.delivery.dropped, s.delivery.unknown,
		     s.delivery.spooled, s.delivery.spooled_bytes);
	for (unsigned i = 0; i < _SONDE_SENDER_ERROR_MAX; i++)
		(void)printf(", \"%s\": %" PRIu64, sonde_sender_error_info(i)->name, s.errors[i]);
	(void)printf("}\n");
}

static void obey(struct program *p, char *line)
{
	char *task, *number, *value, *save = NULL;
	uint64_t sequence, v;

	if (strcmp(line, "stats") == 0) {
		say_stats(p);
		return;
	}
	if (strncmp(line, "add ", 4) != 0)
		exit(2);
	task = strtok_r(line + 4, " ", &save);
	number = strtok_r(NULL, " ", &save);
	value = strtok_r(NULL, " ", &save);
	if (!value || sonde_parse_u64(number, 0, INT64_MAX, &sequence) < 0 ||
	    sonde_parse_u64(value, 0, INT64_MAX, &v) < 0)
		exit(2);
	add(p, task, sequence, v);
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct program *p = userdata;

	return sd_event_exit(p->event, 0);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct program *p = userdata;
	ssize_t n = read(fd, p->line + p->n, sizeof(p->line) - p->n - 1);
	char *end;

	if (n <= 0) {
		p->ending = true;
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
		sonde_delivery_kick(sonde_sender_delivery(p->sender));
		on_turn(p);
		return p->kafka ? sd_event_add_time_relative(p->event, &p->drain, CLOCK_MONOTONIC,
							     DRAIN_US, 1000, on_late, p)
				: 0;
	}
	p->n += (size_t)n;
	p->line[p->n] = '\0';
	while ((end = strchr(p->line, '\n'))) {
		const size_t used = (size_t)(end + 1 - p->line);

		*end = '\0';
		obey(p, p->line);
		p->n -= used;
		memmove(p->line, end + 1, p->n + 1);
	}
	(void)fflush(stdout);
	return 0;
}

static void on_commands(void *ctx, const struct sonde_grpc_result *result,
			const ProtobufCMessage *answer)
{
	((struct program *)ctx)->polling = false;
}

static int on_poll(sd_event_source *source, uint64_t usec, void *userdata)
{
	Skywalking__V3__EBPFProfilingTaskQuery q = SKYWALKING__V3__EBPFPROFILING_TASK_QUERY__INIT;
	static char id[] = "report-sender";
	struct program *p = userdata;

	q.roverinstanceid = id;
	if (!p->polling)
		p->polling = sonde_rpc(sonde_link_client(p->link),
				       "/skywalking.v3.EBPFProfilingService/queryTasks", &q.base,
				       &skywalking__v3__commands__descriptor,
				       p->config->backend_deadline_ns, on_commands, p) == 0;
	(void)sd_event_source_set_time_relative(source, POLL_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void on_connected(void *ctx)
{
	const struct program *p = ctx;

	if (p->sender)
		sonde_sender_connected(p->sender);
}

static int run(struct program *p, const char *state_dir)
{
	const struct sonde_sender_config config = {
		.config = p->config,
		.state_dir = state_dir,
		.on_outcome = on_outcome,
		.on_turn = on_turn,
		.ctx = p,
	};
	struct sonde_sender_config c = config;
	int r;

	r = sd_event_new(&p->event);
	if (r >= 0)
		r = sonde_link_new(p->event, p->config, &p->link);
	if (r >= 0 && p->config->export == SONDE_AGENT_EXPORT_KAFKA)
		r = sonde_kafka_link_new(p->event, p->config, "report-sender", &p->kafka);
	if (r < 0)
		return r;
	c.event = p->event;
	c.kafka = p->kafka;
	c.client = sonde_link_client(p->link);
	sonde_link_on_connected(p->link, on_connected, p);
	r = sonde_sender_new(&c, &p->sender);
	if (r >= 0)
		r = sd_event_add_io(p->event, &p->in, 0, EPOLLIN, on_input, p);
	if (r >= 0)
		r = sd_event_add_time_relative(p->event, &p->poll, CLOCK_MONOTONIC, 0, 1000,
					       on_poll, p);
	if (r >= 0)
		r = sd_event_loop(p->event);
	(void)sd_event_source_disable_unref(p->in);
	(void)sd_event_source_disable_unref(p->poll);
	(void)sd_event_source_disable_unref(p->drain);
	p->sender = sonde_sender_free(p->sender);
	p->kafka = sonde_kafka_link_free(p->kafka);
	p->link = sonde_link_free(p->link);
	sd_event_unref(p->event);
	return r;
}

int main(int argc, char **argv)
{
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;
	struct program p = {0};
	void *config = NULL;
	int r, status = 1;

	(void)signal(SIGPIPE, SIG_IGN);
	sonde_log_set_program("report-sender");
	r = sonde_config_start(&sonde_agent_config_spec, argc, argv, &config, &args, &status);
	if (r != 0)
		return r < 0 ? 1 : status;
	p.config = config;
	r = run(&p, sonde_config_args_action(args, "state-dir"));
	config = sonde_config_free(&sonde_agent_config_spec, config);
	return r < 0 ? 1 : 0;
}
