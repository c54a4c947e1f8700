/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/plan.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "collect/plan-kernel.h"
#include "host/privilege.h"

static bool asked_for(const struct sonde_plan *p, const struct sonde_plan_metric *m)
{
	return m->option == 0 || (m->option & p->options);
}

/* Do those that were chosen for the metrics of @signals have a program on @hook? */
static bool has_hook(const struct sonde_plan *p, uint32_t signals, const char *hook)
{
	for (size_t i = 0; i < p->table->n_metrics; i++) {
		const struct sonde_plan_metric *m = &p->table->metrics[i];

		if (p->chosen[i] < 0 || !(m->signals & signals))
			continue;
		for (uint32_t k = 0; k < p->table->n_programs; k++) {
			if (m->alternatives[p->chosen[i]].programs & SONDE_PLAN_BIT(k) &&
			    strcmp(p->table->programs[k].hook, hook) == 0)
				return true;
		}
	}
	return false;
}

/* Others' programs do it besides: on the very hooks that would be its own, not on what those metrics fell to. */
static bool is_done_besides(const struct sonde_plan *p, size_t metric)
{
	const struct sonde_plan_metric *m = &p->table->metrics[metric];
	uint32_t unless = p->signals == 0 ? m->unless : p->signals & m->unless;

	if (!unless || p->chosen[metric] < 0)
		return false;
	for (uint32_t k = 0; k < p->table->n_programs; k++) {
		if (m->alternatives[p->chosen[metric]].programs & SONDE_PLAN_BIT(k) &&
		    !has_hook(p, unless, p->table->programs[k].hook))
			return false;
	}
	return true;
}

static bool is_selected(const struct sonde_plan *p, size_t metric)
{
	const struct sonde_plan_metric *m = &p->table->metrics[metric];

	if (is_done_besides(p, metric))
		return false;
	return m->signals == 0 || p->signals == 0 || (m->signals & p->signals);
}

static uint64_t refused_mask(const struct sonde_plan *p)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		if (p->refused[i])
			mask |= SONDE_PLAN_BIT(i);
	}
	return mask;
}

static int first_usable(const struct sonde_plan_metric *m, uint64_t refused)
{
	for (int i = 0; i < SONDE_PLAN_ALTERNATIVES_MAX && m->alternatives[i].programs; i++) {
		if (!(m->alternatives[i].programs & refused))
			return i;
	}
	return -1;
}

static void choose(struct sonde_plan *p)
{
	uint64_t refused = refused_mask(p);

	p->wanted = 0;
	for (size_t i = 0; i < p->table->n_metrics; i++) {
		const struct sonde_plan_metric *m = &p->table->metrics[i];

		p->chosen[i] = asked_for(p, m) ? first_usable(m, refused) : -1;
		if (p->chosen[i] >= 0)
			p->wanted |= m->alternatives[p->chosen[i]].programs;
	}
}

static _printf_(3, 0) int note_refusal(struct sonde_plan *p, uint32_t program, const char *fmt,
				       va_list args)
{
	char *words = NULL;

	if (vasprintf(&words, fmt, args) < 0)
		return -ENOMEM;
	free(p->refused[program]);
	p->refused[program] = words;
	return 0;
}

int sonde_plan_refuse(struct sonde_plan *p, uint32_t program, const char *fmt, ...)
{
	va_list args;
	int r;

	assert(p && program < p->table->n_programs);

	va_start(args, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 loses va_start across files */
	r = note_refusal(p, program, fmt, args);
	va_end(args);
	if (r == 0)
		choose(p);
	return r;
}

bool sonde_plan_is_of_cgroup(const char *hook)
{
	return strcmp(hook, "sockops") == 0 || strncmp(hook, "cgroup/", strlen("cgroup/")) == 0;
}

static const char *capability_name(uint64_t cap)
{
	switch (cap) {
	case SONDE_CAP(CAP_NET_ADMIN):
		return "CAP_NET_ADMIN";
	case SONDE_CAP(CAP_SYS_ADMIN):
		return "CAP_SYS_ADMIN";
	case SONDE_CAP(CAP_PERFMON):
		return "CAP_PERFMON";
	case SONDE_CAP(CAP_BPF):
		return "CAP_BPF";
	default:
		return "a capability";
	}
}

static bool is_left_out(const char *hook, const char *const *kinds)
{
	for (; kinds && *kinds; kinds++) {
		size_t n = strlen(*kinds);

		if (strncmp(hook, *kinds, n) == 0 && hook[n] == '/')
			return true;
	}
	return false;
}

static uint64_t lowest_bit(uint64_t mask)
{
	return mask & -mask;
}

/* What may change between two plans of one process: capabilities, and what the caller has to attach to. */
static int ask_caller(struct sonde_plan *p, const struct sonde_collect_config *config)
{
	uint64_t permitted = UINT64_MAX;
	int r = 0;

	if (sonde_privilege_permitted(&permitted) < 0)
		permitted = UINT64_MAX; /* the kernel will say */
	for (uint32_t i = 0; i < p->table->n_programs && r == 0; i++) {
		const struct sonde_plan_program *program = &p->table->programs[i];

		p->lacking[i] =
			(program->caps | SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON)) & ~permitted;
		if (p->lacking[i])
			r = sonde_plan_refuse(p, i, "needs %s",
					      capability_name(lowest_bit(p->lacking[i])));
		else if (is_left_out(program->hook, config->without))
			r = sonde_plan_refuse(p, i, "left out");
		else if (sonde_plan_is_of_cgroup(program->hook) && config->cgroup_fd < 0)
			r = sonde_plan_refuse(p, i, "no cgroup v2 hierarchy to attach to");
	}
	return r;
}

int sonde_plan_init(struct sonde_plan *p, const struct sonde_plan_table *table,
		    const struct sonde_collect_config *config)
{
	const struct sonde_plan_kernel *kernel;
	int r;

	assert(p && table && config);
	assert(table->n_programs <= SONDE_PLAN_PROGRAMS_MAX);
	assert(table->n_metrics <= SONDE_PLAN_METRICS_MAX);

	*p = (struct sonde_plan){
		.table = table, .options = config->options, .signals = config->signals};
	r = sonde_plan_kernel_ask(table, config, &kernel);
	if (r < 0)
		return r;
	p->names = kernel->names;
	for (uint32_t i = 0; i < table->n_programs && r == 0; i++) {
		if (kernel->why_not[i])
			r = sonde_plan_refuse(p, i, "%s", kernel->why_not[i]);
	}
	if (r == 0)
		r = ask_caller(p, config);
	if (r < 0) {
		sonde_plan_done(p);
		return r;
	}
	choose(p);
	return 0;
}

void sonde_plan_done(struct sonde_plan *p)
{
	for (size_t i = 0; i < SONDE_PLAN_PROGRAMS_MAX; i++)
		free(p->refused[i]);
	*p = (struct sonde_plan){0};
}

bool sonde_plan_is_tried(const struct sonde_plan *p)
{
	return sonde_plan_kernel_knows(p->table, p->wanted);
}

bool sonde_plan_wants(const struct sonde_plan *p, uint32_t program)
{
	return p->wanted & SONDE_PLAN_BIT(program);
}

bool sonde_plan_asks(const struct sonde_plan *p, uint32_t program)
{
	for (size_t i = 0; i < p->table->n_metrics; i++) {
		const struct sonde_plan_metric *m = &p->table->metrics[i];

		if (p->chosen[i] >= 0 && is_selected(p, i) &&
		    m->alternatives[p->chosen[i]].programs & SONDE_PLAN_BIT(program))
			return true;
	}
	return false;
}

uint64_t sonde_plan_caps(const struct sonde_plan *p, uint64_t programs)
{
	uint64_t caps = 0;

	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		if (programs & p->wanted & SONDE_PLAN_BIT(i))
			caps |= p->table->programs[i].caps;
	}
	return caps;
}

const struct sonde_plan_metric *sonde_plan_core_missing(const struct sonde_plan *p)
{
	for (size_t i = 0; i < p->table->n_metrics; i++) {
		if (p->table->metrics[i].core && p->chosen[i] < 0)
			return &p->table->metrics[i];
	}
	return NULL;
}

static uint32_t lowest_program(uint64_t programs)
{
	return (uint32_t)__builtin_ctzll(programs);
}

/* Programs that are there without any option. */
static uint64_t always_wanted(const struct sonde_plan *p)
{
	uint64_t programs = 0;

	for (size_t i = 0; i < p->table->n_metrics; i++) {
		const struct sonde_plan_metric *m = &p->table->metrics[i];

		if (m->option == 0 && p->chosen[i] >= 0 && is_selected(p, i))
			programs |= m->alternatives[p->chosen[i]].programs;
	}
	return programs;
}

/*
 * Iterators run once, or at a snapshot: no part of what an event costs, unless there is
 * nothing else. Nor is what an option needs and is there anyway.
 */
static uint64_t event_programs(const struct sonde_plan *p, const struct sonde_plan_metric *m,
			       uint64_t programs)
{
	uint64_t events = 0, always = m->option ? always_wanted(p) : 0;

	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		if ((programs & ~always & SONDE_PLAN_BIT(i)) &&
		    strncmp(p->table->programs[i].hook, "iter/", 5) != 0)
			events |= SONDE_PLAN_BIT(i);
	}
	return events ? events : programs;
}

/* A run is of what the program says that costs the rest of the machine most. */
static void fill_cost(const struct sonde_plan *p, const struct sonde_plan_metric *m,
		      uint64_t programs, struct sonde_probe_probe *probe)
{
	const struct sonde_plan_program *dearest;

	programs = event_programs(p, m, programs);
	dearest = &p->table->programs[lowest_program(programs)];
	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		const struct sonde_plan_program *program = &p->table->programs[i];

		if (!(programs & SONDE_PLAN_BIT(i)))
			continue;
		probe->target_ns += program->target_ns;
		probe->other_ns += program->other_ns;
		if (program->other_ns > dearest->other_ns)
			dearest = program;
	}
	(void)snprintf(probe->per, sizeof(probe->per), "%s", dearest->per ? dearest->per : "run");
}

static void fill_reason(const struct sonde_plan *p, const struct sonde_plan_alternative *a,
			struct sonde_probe_probe *probe)
{
	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		if (!(a->programs & SONDE_PLAN_BIT(i)) || !p->refused[i])
			continue;
		(void)snprintf(probe->reason, sizeof(probe->reason), "%s", p->refused[i]);
		if (p->lacking[i])
			(void)snprintf(probe->capability, sizeof(probe->capability), "%s",
				       capability_name(lowest_bit(p->lacking[i])));
		return;
	}
}

static uint32_t state_of(const struct sonde_plan *p, size_t metric, int alternative)
{
	int chosen = p->chosen[metric];

	if (is_done_besides(p, metric))
		return SONDE_PROBE_SPARE;
	if (!asked_for(p, &p->table->metrics[metric]) || !is_selected(p, metric))
		return SONDE_PROBE_UNASKED;
	if (chosen < 0)
		return SONDE_PROBE_ABSENT;
	if (alternative == chosen)
		return SONDE_PROBE_ATTACHED;
	return alternative < chosen ? SONDE_PROBE_REPLACED : SONDE_PROBE_SPARE;
}

static void fill_probe(const struct sonde_plan *p, size_t metric, int alternative,
		       struct sonde_probe_probe *probe)
{
	const struct sonde_plan_metric *m = &p->table->metrics[metric];
	const struct sonde_plan_alternative *a = &m->alternatives[alternative];

	probe->state = state_of(p, metric, alternative);
	probe->core = m->core;
	(void)snprintf(probe->name, sizeof(probe->name), "%s",
		       a->name ? a->name : p->table->programs[lowest_program(a->programs)].hook);
	(void)snprintf(probe->metrics, sizeof(probe->metrics), "%s", m->metrics);
	(void)snprintf(probe->less, sizeof(probe->less), "%s", a->less ? a->less : "");
	fill_cost(p, m, a->programs, probe);
	if (a->per)
		(void)snprintf(probe->per, sizeof(probe->per), "%s", a->per);
	if (probe->state != SONDE_PROBE_ATTACHED)
		fill_reason(p, a, probe);
	else if (a->when && (p->attached & a->programs) != a->programs)
		(void)snprintf(probe->reason, sizeof(probe->reason), "%s", a->when);
	if (is_done_besides(p, metric))
		(void)snprintf(probe->reason, sizeof(probe->reason),
			       "what is attached for other metrics does it besides");
	if (probe->state == SONDE_PROBE_UNASKED && !probe->reason[0])
		(void)snprintf(probe->reason, sizeof(probe->reason), "not requested");
}

int sonde_plan_tell(const struct sonde_plan *p, struct sonde_collect_sink sink)
{
	for (size_t i = 0; i < p->table->n_metrics; i++) {
		const struct sonde_plan_metric *m = &p->table->metrics[i];

		for (int k = 0; k < SONDE_PLAN_ALTERNATIVES_MAX && m->alternatives[k].programs;
		     k++) {
			struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROBE};
			int r;

			fill_probe(p, i, k, &reply.probe);
			r = sink.emit(sink.ctx, &reply);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
