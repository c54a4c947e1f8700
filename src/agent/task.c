/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/task.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "model/signal.h"

static const char *const target_states[] = {
	[SONDE_TARGET_FOUND] = "found",		[SONDE_TARGET_GONE] = "gone",
	[SONDE_TARGET_RESTARTED] = "restarted", [SONDE_TARGET_DENIED] = "denied",
	[SONDE_TARGET_FORKED] = "forked",
};
_Static_assert(ELEMENTS_OF(target_states) == _SONDE_TARGET_STATE_MAX, "a name for each state");

const char *sonde_target_state_name(enum sonde_target_state s)
{
	assert((unsigned)s < _SONDE_TARGET_STATE_MAX);

	return target_states[s];
}

int sonde_task_new(struct sonde_tasks *tasks, struct sonde_spec *spec, struct sonde_task **ret)
{
	struct sonde_task *t;

	assert(spec && ret);

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->tasks = tasks;
	t->spec = *spec;
	*spec = (struct sonde_spec){0};
	t->view.collectors = t->spec.collectors;
	*ret = t;
	return 0;
}

struct sonde_task *sonde_task_free(struct sonde_task *t)
{
	if (!t)
		return NULL;
	(void)sd_event_source_disable_unref(t->timer);
	for (size_t i = 0; i < t->n_targets; i++)
		(void)sonde_process_unref(t->targets[i].process);
	free(t->targets);
	sonde_view_done(&t->view);
	sonde_namespaces_done(&t->namespaces);
	sonde_flows_done(&t->flows);
	sonde_spec_done(&t->spec);
	free(t);
	return NULL;
}

void sonde_task_set_state(struct sonde_task *t, enum sonde_task_state s, const char *fmt, ...)
{
	struct sonde_task_change *c;
	va_list ap;

	assert(t && fmt);

	/* Of too many the last is the one that matters. */
	if (t->n_changes == SONDE_TASK_CHANGES_MAX)
		t->n_changes--;
	c = &t->changes[t->n_changes++];
	c->state = t->state = s;
	c->wall_ms = sonde_wall_ms();
	va_start(ap, fmt);
	(void)vsnprintf(c->words, sizeof(c->words), fmt, ap);
	va_end(ap);
	sonde_log_info("task %s: %s: %s", t->spec.id, sonde_task_state_name(s), c->words);
}

int sonde_task_add_target(struct sonde_task *t, struct sonde_task_target **ret)
{
	struct sonde_task_target *p;

	assert(t && ret);

	if (t->n_targets == SONDE_TASK_TARGETS_MAX) {
		t->ledger[SONDE_LEDGER_TARGETS_FULL]++;
		return -ENOSPC;
	}
	p = reallocarray(t->targets, t->n_targets + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	t->targets = p;
	p[t->n_targets] = (struct sonde_task_target){.since_ms = sonde_wall_ms()};
	*ret = &p[t->n_targets++];
	return 0;
}

struct sonde_task_target *sonde_task_target_by_pid(const struct sonde_task *t, uint32_t pid)
{
	assert(t);

	for (size_t i = t->n_targets; i > 0; i--) {
		if (t->targets[i - 1].pid == pid && pid)
			return &t->targets[i - 1];
	}
	return NULL;
}

void sonde_target_set(struct sonde_task_target *target, enum sonde_target_state s,
		      const char *reason)
{
	assert(target && reason);

	target->state = s;
	target->since_ms = sonde_wall_ms();
	(void)snprintf(target->reason, sizeof(target->reason), "%s", reason);
}

bool sonde_target_lives(const struct sonde_task_target *target)
{
	return target->pid &&
	       (target->state == SONDE_TARGET_FOUND || target->state == SONDE_TARGET_FORKED);
}

uint64_t sonde_task_ledger(const struct sonde_task *t, const struct sonde_snapshot *s,
			   unsigned site)
{
	uint64_t n;

	assert(t && s && site < _SONDE_LEDGER_MAX);

	/* Of samples that it did not ask for, another task may miss some. */
	if (site == SONDE_TCP_LOSS_RTT_MISSED &&
	    !sonde_signals_have(t->spec.signals, SONDE_SIGNAL_RTT))
		return 0;
	n = t->ledger[site];
	if (site < SONDE_TCP_LOSS_MAX && s->loss.count[site] > t->base.loss.count[site])
		n += s->loss.count[site] - t->base.loss.count[site];
	if (site >= SONDE_LEDGER_UDP) {
		const unsigned u = site - SONDE_LEDGER_UDP;

		if (s->udp_loss.count[u] > t->base.udp_loss.count[u])
			n += s->udp_loss.count[u] - t->base.udp_loss.count[u];
	}
	if (site == SONDE_LEDGER_RECORD_REFUSED && s->refused > t->base.refused)
		n += s->refused - t->base.refused;
	return n;
}
