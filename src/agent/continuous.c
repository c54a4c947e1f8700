/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/continuous.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "agent/continuous-internal.h"
#include "agent/rpc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "skywalking/v3/continuous.pb-c.h"
#include "wire/message.h"

#define SAMPLE_NS SONDE_NS_PER_S
#define REFUSED_NS (600 * SONDE_NS_PER_S) /* a backend without the service is asked so seldom */

bool continuous_tell_once(struct sonde_continuous *c, const char *what, const char *more)
{
	uint64_t h = sonde_hash(more, strlen(more), sonde_hash(what, strlen(what), 0));

	for (size_t i = 0; i < CONTINUOUS_TOLD_MAX; i++) {
		if (c->told[i] == h)
			return false;
	}
	c->told[c->told_at] = h;
	c->told_at = (c->told_at + 1) % CONTINUOUS_TOLD_MAX;
	return true;
}

static struct sonde_continuous_policy *find(const struct sonde_continuous *c, const char *service)
{
	for (size_t i = 0; i < c->n_policies; i++) {
		if (strcmp(c->policies[i].service, service) == 0)
			return &c->policies[i];
	}
	return NULL;
}

static bool has_process(const struct sonde_continuous *c, const char *service)
{
	const struct sonde_process *p;
	size_t cursor = 0;

	while ((p = sonde_finder_next(c->config.finder, &cursor))) {
		if (p->id[0] && strcmp(p->service, service) == 0)
			return true;
	}
	return false;
}

/* One that was removed, or whose service has gone: should it come again, it is asked for anew. NULL: there is none. */
static struct sonde_continuous_policy *find_unused(const struct sonde_continuous *c)
{
	for (size_t i = 0; i < c->n_policies; i++) {
		if (!c->policies[i].uuid[0])
			return &c->policies[i];
	}
	for (size_t i = 0; i < c->n_policies; i++) {
		if (!has_process(c, c->policies[i].service))
			return &c->policies[i];
	}
	return NULL;
}

static int put(struct sonde_continuous *c, const struct sonde_continuous_policy *policy)
{
	struct sonde_continuous_policy *old = find(c, policy->service), *p;

	if (!old && c->n_policies == SONDE_CONTINUOUS_POLICIES_MAX) {
		old = find_unused(c);
		if (!old)
			return -ENOSPC;
	}
	if (old) {
		*old = *policy;
		return 0;
	}
	p = reallocarray(c->policies, c->n_policies + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	c->policies = p;
	p[c->n_policies++] = *policy;
	return 0;
}

static void tell_policy(struct sonde_continuous *c, const struct sonde_continuous_policy *p)
{
	if (!continuous_tell_once(c, p->service, p->uuid))
		return;
	if (p->remark[0])
		(void)sonde_log_warn(0, "continuous profiling of %s: not watched: %s", p->service,
				     p->remark);
	sonde_log_info("continuous profiling of %s: %zu threshold%s watched", p->service,
		       p->n_rules, p->n_rules == 1 ? "" : "s");
}

static void take_policies(struct sonde_continuous *c, const char *json)
{
	_cleanup_free_ struct sonde_continuous_policy *list = NULL;
	char words[SONDE_CONTINUOUS_WORDS_MAX] = "";
	size_t n = 0;
	int r;

	r = sonde_continuous_parse(json, strlen(json), &list, &n, words);
	if (r < 0) {
		if (continuous_tell_once(c, "policies", words))
			(void)sonde_log_warn(r, "policies of continuous profiling: %s, ignoring",
					     words);
		return;
	}
	/* The watched ones point into the list, which may move: arm() watches anew. */
	c->stale = true;
	for (size_t i = 0; i < n; i++) {
		r = put(c, &list[i]);
		if (r == 0 && list[i].uuid[0])
			tell_policy(c, &list[i]);
		else if (r < 0 && continuous_tell_once(c, list[i].service, "no room"))
			(void)sonde_log_warn(r,
					     "continuous profiling of %s: no room for its policy",
					     list[i].service);
	}
}

/* The next second's look; one that is due already stays due. */
static void arm(struct sonde_continuous *c)
{
	const uint64_t now = sonde_mono_ns();
	int on = SD_EVENT_OFF;

	if (c->stale)
		continuous_watch(c);
	if (c->n_watched == 0) {
		(void)sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_get_enabled(c->timer, &on);
	if (on != SD_EVENT_OFF)
		return;
	c->sample_ns += SAMPLE_NS;
	if (c->sample_ns < now || c->sample_ns > now + SAMPLE_NS)
		c->sample_ns = now + SAMPLE_NS;
	(void)sd_event_source_set_time(c->timer, c->sample_ns / SONDE_NS_PER_US);
	(void)sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static void on_policies(void *ctx, const struct sonde_grpc_result *result,
			const ProtobufCMessage *answer)
{
	const Skywalking__V3__Commands *commands = (const void *)answer;
	struct sonde_continuous *c = ctx;

	c->asking = false;
	if (result->status == SONDE_GRPC_UNIMPLEMENTED)
		c->ask_ns = sonde_mono_ns() + REFUSED_NS;
	if (result->status != SONDE_GRPC_OK)
		sonde_log_debug("policies of continuous profiling: %s %s",
				sonde_grpc_status_name(result->status), result->message);
	if (!commands)
		return;
	for (size_t i = 0; i < commands->n_commands; i++) {
		const Skywalking__V3__Command *command = commands->commands[i];

		if (strcmp(command->command, "ContinuousProfilingPolicyQuery") != 0)
			continue;
		for (size_t k = 0; k < command->n_args; k++) {
			if (strcmp(command->args[k]->key, "ServiceWithPolicyJSON") == 0)
				take_policies(c, command->args[k]->value);
		}
	}
	if (c->stale)
		arm(c);
}

struct query {
	Skywalking__V3__ContinuousProfilingPolicyQuery message;
	Skywalking__V3__ContinuousProfilingServicePolicyQuery row[SONDE_CONTINUOUS_POLICIES_MAX];
	Skywalking__V3__ContinuousProfilingServicePolicyQuery *rows[SONDE_CONTINUOUS_POLICIES_MAX];
};

static void add_service(const struct sonde_continuous *c, struct query *q, const char *service)
{
	Skywalking__V3__ContinuousProfilingServicePolicyQuery *row;
	const struct sonde_continuous_policy *policy = find(c, service);

	for (size_t i = 0; i < q->message.n_policies; i++) {
		if (strcmp(q->row[i].servicename, service) == 0)
			return;
	}
	row = &q->row[q->message.n_policies];
	skywalking__v3__continuous_profiling_service_policy_query__init(row);
	row->servicename = sonde_wire_text(service);
	row->uuid = sonde_wire_text(policy ? policy->uuid : "");
	q->rows[q->message.n_policies++] = row;
}

/* Services of the processes that are registered. */
static int ask(struct sonde_continuous *c)
{
	_cleanup_free_ struct query *q = calloc(1, sizeof(*q));
	const struct sonde_process *p;
	size_t cursor = 0;
	int r;

	if (!q)
		return -ENOMEM;
	skywalking__v3__continuous_profiling_policy_query__init(&q->message);
	while ((p = sonde_finder_next(c->config.finder, &cursor)) &&
	       q->message.n_policies < SONDE_CONTINUOUS_POLICIES_MAX) {
		if (p->id[0])
			add_service(c, q, p->service);
	}
	if (q->message.n_policies == 0)
		return 0;
	q->message.policies = q->rows;
	c->asking = true;
	r = sonde_rpc_of(c->config.client, c->config.agent_id,
			 "/skywalking.v3.ContinuousProfilingService/queryPolicies",
			 &q->message.base, &skywalking__v3__commands__descriptor,
			 c->config.deadline_ns, on_policies, c);
	if (r < 0)
		c->asking = false;
	return r;
}

void sonde_continuous_poll(struct sonde_continuous *c)
{
	uint64_t now = sonde_mono_ns();
	int r;

	assert(c);

	if (c->asking || now < c->ask_ns)
		return;
	/*
	 * An OAP answers out of a cache of a minute, and of several agents only the one that finds it empty hears of
	 * a change: asked is at times of chance, half to one and a half times as far apart as tasks are asked for.
	 */
	if (!sonde_grpc_client_has_extension(c->config.client))
		c->ask_ns = now + c->config.poll_ns / 2 +
			    c->config.poll_ns / 1000 * sonde_random_below(1000);
	r = ask(c);
	if (r < 0)
		sonde_log_debug("policies of continuous profiling: %s", strerror(-r));
}

void sonde_continuous_processes_changed(struct sonde_continuous *c)
{
	assert(c);

	c->stale = true;
	if (c->n_policies)
		arm(c);
}

static void check(struct sonde_continuous *c)
{
	for (size_t i = 0; i < c->n_watched; i++) {
		if (continuous_reached(&c->watched[i], 0) >= 0)
			continuous_trigger(c, &c->watched[i]);
	}
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_continuous *c = userdata;
	const uint64_t now = sonde_mono_ns();

	continuous_sample(c);
	if (now >= c->check_ns) {
		c->check_ns = now + c->config.check_ns;
		check(c);
	}
	arm(c);
	return 0;
}

int sonde_continuous_new(const struct sonde_continuous_config *config,
			 struct sonde_continuous **ret)
{
	_cleanup_(sonde_continuous_freep) struct sonde_continuous *c = NULL;
	int r;

	assert(config && config->client && config->finder && config->tasks && ret);

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->config = *config;
	r = sd_event_add_time_relative(config->event, &c->timer, CLOCK_MONOTONIC, 0, 0, on_time, c);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	*ret = TAKE_PTR(c);
	return 0;
}

struct sonde_continuous *sonde_continuous_free(struct sonde_continuous *c)
{
	if (!c)
		return NULL;
	continuous_forget(c);
	free(c->policies);
	(void)sd_event_source_disable_unref(c->timer);
	free(c);
	return NULL;
}
