/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/continuous-internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/proc.h"

void continuous_forget(struct sonde_continuous *c)
{
	for (size_t i = 0; i < c->n_watched; i++)
		(void)sonde_process_unref(c->watched[i].process);
	free(c->watched);
	c->watched = NULL;
	c->n_watched = 0;
}

static const struct sonde_continuous_policy *policy_of(const struct sonde_continuous *c,
						       const struct sonde_process *p)
{
	for (size_t i = 0; i < c->n_policies; i++) {
		if (c->policies[i].n_rules && strcmp(c->policies[i].service, p->service) == 0)
			return &c->policies[i];
	}
	return NULL;
}

static const struct continuous_watched *known(const struct sonde_continuous *c,
					      const struct sonde_process *p)
{
	for (size_t i = 0; i < c->n_watched; i++) {
		if (c->watched[i].process == p)
			return &c->watched[i];
	}
	return NULL;
}

/* Negative: there is none. */
static double threshold_of(const struct sonde_continuous_policy *policy, unsigned monitor)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		if (policy->rules[i].monitor == monitor)
			return policy->rules[i].threshold;
	}
	return -1;
}

/* Windows stay with their process as long as their threshold is the same. */
static void add(const struct sonde_continuous *c, struct sonde_process *p,
		const struct sonde_continuous_policy *policy, struct continuous_watched *to)
{
	const struct continuous_watched *old = known(c, p);

	*to = old ? *old : (struct continuous_watched){0};
	to->process = sonde_process_ref(p);
	to->policy = policy;
	for (unsigned m = 0; m < _SONDE_CONTINUOUS_MONITOR_MAX; m++)
		sonde_continuous_window_aim(&to->window[m], threshold_of(policy, m));
}

void continuous_watch(struct sonde_continuous *c)
{
	const struct sonde_continuous_policy *policy;
	struct continuous_watched *list;
	struct sonde_process *p;
	size_t cursor = 0, n = 0;

	c->stale = false;
	list = c->n_policies ? calloc(SONDE_CONTINUOUS_WATCHED_MAX, sizeof(list[0])) : NULL;
	while (list && (p = sonde_finder_next(c->config.finder, &cursor))) {
		policy = p->id[0] ? policy_of(c, p) : NULL;
		if (!policy)
			continue;
		if (n < SONDE_CONTINUOUS_WATCHED_MAX)
			add(c, p, policy, &list[n++]);
		else if (continuous_tell_once(c, "too many", ""))
			(void)sonde_log_warn(
				0, "continuous profiling: processes beyond %d are not watched",
				SONDE_CONTINUOUS_WATCHED_MAX);
	}
	continuous_forget(c);
	c->watched = list;
	c->n_watched = n;
}

static uint64_t ns_per_tick(void)
{
	long hz = sysconf(_SC_CLK_TCK);

	return SONDE_NS_PER_S / (hz > 0 ? (uint64_t)hz : 100);
}

/* Percent of one core since the last look. False: this is the first. */
static bool cpu_percent(struct continuous_watched *w, const struct sonde_proc_stat *s, uint64_t now,
			double *ret)
{
	const uint64_t ticks = s->user_ticks + s->system_ticks, before = w->ticks,
		       then = w->ticks_ns;

	w->ticks = ticks;
	w->ticks_ns = now;
	if (!then || now <= then || ticks < before)
		return false;
	*ret = (double)((ticks - before) * ns_per_tick()) * 100 / (double)(now - then);
	return true;
}

static void push(struct continuous_watched *w, const struct sonde_continuous_rule *rule, bool has,
		 double value)
{
	const bool reached = has && value >= rule->threshold;

	sonde_continuous_window_push(&w->window[rule->monitor], reached);
	if (reached)
		w->reached[rule->monitor] = value;
}

static void sample(struct sonde_continuous *c, struct continuous_watched *w, bool has_load,
		   double load)
{
	const uint64_t now = sonde_mono_ns();
	struct sonde_proc_stat s;
	bool has, has_cpu;
	double cpu = 0;

	has = sonde_proc_read_stat(c->config.proc_fd, w->process->pid, &s) == 0 &&
	      s.start_ticks == w->process->start_ticks;
	has_cpu = has && cpu_percent(w, &s, now, &cpu);
	for (size_t i = 0; i < w->policy->n_rules; i++) {
		const struct sonde_continuous_rule *rule = &w->policy->rules[i];

		switch (rule->monitor) {
		case SONDE_CONTINUOUS_PROCESS_CPU:
			push(w, rule, has_cpu, cpu);
			break;
		case SONDE_CONTINUOUS_PROCESS_THREAD_COUNT:
			push(w, rule, has, has ? (double)s.threads : 0);
			break;
		case SONDE_CONTINUOUS_SYSTEM_LOAD:
			push(w, rule, has_load, load);
			break;
		case _SONDE_CONTINUOUS_MONITOR_MAX:
			break;
		}
	}
}

void continuous_sample(struct sonde_continuous *c)
{
	double load = 0;
	bool has_load = sonde_proc_read_load(c->config.proc_fd, &load) == 0;

	for (size_t i = 0; i < c->n_watched; i++)
		sample(c, &c->watched[i], has_load, load);
}

int continuous_reached(const struct continuous_watched *w, int from)
{
	for (int i = from; i < (int)w->policy->n_rules; i++) {
		const struct sonde_continuous_rule *rule = &w->policy->rules[i];

		if (sonde_continuous_window_count(&w->window[rule->monitor], rule->period_s) >=
		    rule->count)
			return i;
	}
	return -1;
}
