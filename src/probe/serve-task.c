/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/serve-state.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/cgroup2.h"
#include "host/identity.h"
#include "host/privilege.h"
#include "model/signal.h"
#include "probe/bpf-ids.h"
#include "probe/policy.h"

uint64_t serve_task_deadline_ns(const struct serve_task *t)
{
	uint64_t at;

	if (__builtin_add_overflow(t->since_ns, t->duration_ns, &at) ||
	    __builtin_add_overflow(at, SONDE_SERVE_GRACE_NS, &at))
		return UINT64_MAX;
	return at;
}

uint32_t serve_count_others(const struct sonde_serve *s, uint32_t slot)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ELEMENTS_OF(s->tasks); i++)
		n += i != slot && s->tasks[i];
	return n;
}

/* Flows are what a task can do without: it runs, and is told why it gets none. */
static uint32_t grant_options(struct sonde_serve *s, uint32_t asked, struct serve_answer *a)
{
	if (!(asked & SONDE_PROBE_OPTION_FLOWS))
		return asked;
	if (!sonde_policy_flows(s->config.policy)) {
		(void)serve_say(a, 0, "the node's policy has flows: false");
		return asked & ~SONDE_PROBE_OPTION_FLOWS;
	}
	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		if (!s->running[i].collector || s->running[i].options & SONDE_PROBE_OPTION_FLOWS)
			continue;
		(void)serve_say(a, 0, "the programs were attached for a task without flows");
		return asked & ~SONDE_PROBE_OPTION_FLOWS;
	}
	return asked;
}

/* A sink that keeps PROBE records: they are told to every task, not only to the one that attached. */
static int keep_probe(void *ctx, struct sonde_probe_reply *reply)
{
	struct sonde_serve *s = ctx;

	if (reply->type != SONDE_PROBE_PROBE)
		return 0;
	for (size_t i = 0; i < s->n_probes; i++) {
		if (strcmp(s->probes[i].name, reply->probe.name) != 0 ||
		    strcmp(s->probes[i].metrics, reply->probe.metrics) != 0)
			continue;
		s->probes[i] = reply->probe; /* an option came or went */
		return 0;
	}
	if (s->n_probes == PROBES_MAX) {
		s->probes_cut++;
		return 0;
	}
	s->probes[s->n_probes++] = reply->probe;
	return 0;
}

uint32_t serve_signals(const struct sonde_probe_request *q)
{
	uint32_t all = sonde_signals_of(q->collectors);

	return q->signals & all ? q->signals & all : all;
}

/* Of all tasks that were admitted, begun or not: none may miss what happens between its base and its start. */
static uint32_t asked_signals(const struct sonde_serve *s, const struct sonde_collector *c)
{
	uint32_t signals = 0;

	for (size_t i = 0; i < ELEMENTS_OF(s->tasks); i++) {
		if (s->tasks[i] && s->tasks[i]->collectors & c->bit)
			signals |= s->tasks[i]->signals;
	}
	return signals & sonde_signals_of(c->bit);
}

/* With what the kernel refuses its metrics are absent, as at a start. Return: 0, the first -errno. */
static int set_signals(struct sonde_serve *s)
{
	struct sonde_collect_sink sink = {.emit = keep_probe, .ctx = s};
	int first = 0;

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		uint32_t signals;
		int r;

		if (!run->collector || !run->collector->set_signals)
			continue;
		signals = asked_signals(s, run->collector);
		if (!signals) /* its last task is going, or it was started for another one */
			continue;
		r = run->collector->set_signals(run->state, signals, sink);
		if (r < 0)
			sonde_log_warn(r, "collector %s cannot change to the signals 0x%x",
				       run->collector->name, signals);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

/* An occupied slot: the same task with another duration. Its targets and what runs for it stay. */
int serve_task_admit(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a)
{
	struct serve_task *t = s->tasks[q->task];
	const char *rule;
	int r;

	r = sonde_policy_admit(s->config.policy, q, serve_count_others(s, q->task), &rule);
	if (r < 0)
		return serve_say(a, r, "%s", rule);
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t)
			return -ENOMEM;
		t->since_ns = now_ns;
		s->tasks[q->task] = t;
	}
	t->duration_ns = q->duration_ns;
	if (!t->started) {
		t->collectors = q->collectors;
		t->options = grant_options(s, q->options, a);
		t->signals = serve_signals(q);
		t->max_peers = q->max_peers;
		t->max_map_bytes = q->max_map_bytes;
		r = set_signals(s);
	}
	if (r < 0) { /* it would take what is not counted for 0 */
		uint64_t detach_ns;

		(void)serve_drop_task(s, q->task, &detach_ns);
		return serve_say(a, r, "the collectors cannot be widened to its signals");
	}
	a->numbers[0] = t->options;
	return 0;
}

static int seed(struct sonde_serve *s, uint32_t collectors, struct sonde_collect_timing *timing)
{
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		int q;

		if (!run->collector || (run->collector->bit & collectors) == 0)
			continue;
		q = run->collector->seed(run->state, timing);
		if (q < 0 && r == 0)
			r = q;
	}
	return r;
}

/* Return: 0 = every collector of the task has it, else the first -errno. */
static int give_target(struct sonde_serve *s, uint32_t slot, uint32_t pid)
{
	const struct serve_task *t = s->tasks[slot];
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		int q;

		if (!run->collector || (run->collector->bit & t->collectors) == 0)
			continue;
		q = run->collector->target_add(run->state, pid, 1ULL << slot);
		if (q < 0 && r == 0)
			r = q;
	}
	return r;
}

static void take_target(struct sonde_serve *s, uint32_t slot, uint32_t pid)
{
	const struct serve_task *t = s->tasks[slot];

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		int r;

		if (!run->collector || (run->collector->bit & t->collectors) == 0 ||
		    !run->collector->target_remove)
			continue;
		r = run->collector->target_remove(run->state, pid, 1ULL << slot);
		if (r < 0)
			sonde_log_warn(r, "collector %s keeps pid %u, which has ended, ignoring",
				       run->collector->name, pid);
	}
}

/*
 * It was judged a while ago, and its end is seen only from now on: is it still the
 * same? What ends behind this look is marked by the collector at its exit.
 * Return: 0, -ESRCH (ended; its pid may be another's), else the collectors' -errno.
 */
static int hand_target(struct sonde_serve *s, uint32_t slot, const struct serve_target *target)
{
	int r = give_target(s, slot, target->pid);

	if (r == 0)
		r = sonde_identity_check(s->config.proc_fd, target->pid, target->start_ticks);
	if (r < 0)
		take_target(s, slot, target->pid);
	return r;
}

static bool has_target(const struct serve_task *t, uint32_t pid, uint64_t start_ticks)
{
	for (size_t i = 0; i < t->n_targets; i++)
		if (t->targets[i].pid == pid && t->targets[i].start_ticks == start_ticks)
			return true;
	return false;
}

/* Is it the process that the agent means, and may it be profiled? */
static int judge(struct sonde_serve *s, const struct sonde_probe_request *q, struct serve_answer *a)
{
	_cleanup_free_ struct sonde_identity *id = NULL; /* 12 KiB: not on the stack */
	const char *rule;
	int r;

	id = malloc(sizeof(*id));
	if (!id)
		return -ENOMEM;
	r = sonde_identity_read(s->config.proc_fd, q->pid, q->pid_start_ticks, id);
	if (r == -ESRCH)
		return serve_say(a, r, "process is gone");
	if (r < 0)
		return serve_say(a, r, "cannot read the process");
	r = sonde_policy_target(s->config.policy, id, &rule);
	if (r < 0)
		return serve_say(a, r, "%s", rule);
	return 0;
}

int serve_target_judge(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		       struct serve_answer *a)
{
	return judge(s, q, a);
}

int serve_target_add(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a)
{
	const struct serve_target target = {.pid = q->pid, .start_ticks = q->pid_start_ticks};
	struct sonde_collect_timing timing = {0};
	struct serve_task *t = s->tasks[q->task];
	int r;

	if (!t)
		return serve_say(a, -ENOENT, "no such task");
	r = judge(s, q, a);
	if (r < 0)
		return r;
	if (has_target(t, q->pid, q->pid_start_ticks))
		return 0;
	if (t->n_targets == SONDE_SERVE_TARGETS_MAX)
		return serve_say(a, -ENOSPC, "a task has at most %d processes",
				 SONDE_SERVE_TARGETS_MAX);
	if (t->started) {
		r = hand_target(s, q->task, &target);
		if (r == -ESRCH)
			return serve_say(a, r, "process is gone");
		if (r < 0)
			return serve_say(a, r, "the collectors take no further process");
		r = seed(s, t->collectors, &timing);
		if (r < 0)
			return serve_say(a, r, "its open sockets could not be found");
		a->numbers[3] = timing.seed_ns;
		a->numbers[4] = timing.seeded_sockets;
	}
	t->targets[t->n_targets++] = target;
	return 0;
}

static int raise_caps(void *ctx, uint64_t caps)
{
	int r = sonde_privilege_raise(caps);

	/* One that is not there costs the calls that need it; the kernel says which. */
	return r == -EPERM ? 0 : r;
}

static void lower_caps(void *ctx)
{
	sonde_privilege_lower();
}

void serve_note_trial(void *ctx, char kind, uint32_t id, const char *tag)
{
	const struct sonde_serve *s = ctx;
	struct sonde_bpf_id noted = {.kind = kind, .id = id};
	int r;

	if (s->config.ids_fd < 0)
		return;
	(void)snprintf(noted.tag, sizeof(noted.tag), "%s", tag ? tag : "-");
	r = sonde_bpf_ids_note(s->config.ids_fd, &noted);
	if (r < 0)
		sonde_log_warn(r, "cannot note BPF id %u in '%s', ignoring", id,
			       SONDE_BPF_IDS_FILE);
}

static void note_id(void *ctx, char kind, uint32_t id, const char *tag)
{
	struct sonde_serve *s = ctx;

	s->noted.programs += kind == 'p';
	s->noted.maps += kind == 'm';
	s->noted.links += kind == 'l';
	serve_note_trial(ctx, kind, id, tag);
}

struct sonde_collect_config serve_collect_config(struct sonde_serve *s, uint32_t max_peers,
						 uint32_t options, int cgroup_fd)
{
	/* not above the policy's: sonde_policy_admit() */
	uint32_t most = sonde_policy_max_peers(s->config.policy);
	uint32_t peers = most < SONDE_SERVE_PEERS_DEFAULT ? most : SONDE_SERVE_PEERS_DEFAULT;

	if (max_peers > 0)
		peers = max_peers;

	return (struct sonde_collect_config){
		.max_cells = peers,
		.max_targets = SONDE_SERVE_TARGET_TABLE_MAX,
		.options = options,
		.btf = {.own = s->config.btf_own, .external = s->config.btf_external},
		.cgroup_fd = cgroup_fd,
		.raise = raise_caps,
		.drop = lower_caps,
		.note_id = note_id,
		.ctx = s,
	};
}

static int start_collector(struct sonde_serve *s, const struct sonde_collector *c,
			   const struct serve_task *t, struct sonde_collect_timing *timing,
			   uint64_t *map_bytes, struct serve_answer *a)
{
	struct sonde_collect_sink sink = {.emit = keep_probe, .ctx = s};
	_cleanup_close_ int cgroup_fd = -1;
	struct serve_running *run = NULL;
	struct sonde_collect_config config;
	int r;

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		if (s->running[i].collector == c)
			return 0;
		if (!run && !s->running[i].collector)
			run = &s->running[i];
	}
	if (!run)
		return -ENOSPC;
	if (!s->probes)
		s->probes = calloc(PROBES_MAX, sizeof(*s->probes));
	if (!s->probes)
		return -ENOMEM;
	cgroup_fd = sonde_cgroup2_open(
		s->config.proc_fd); /* below 0: no sockops, the collector says so */
	config = serve_collect_config(s, t->max_peers, t->options, cgroup_fd < 0 ? -1 : cgroup_fd);
	config.signals = asked_signals(s, c);
	r = serve_fit_maps(c, t->max_map_bytes, &config, map_bytes, a);
	if (r < 0)
		return r;
	r = c->start(&config, sink, timing, &run->state);
	if (r < 0)
		return r;
	run->collector = c;
	run->options = t->options;
	return 0;
}

/* What the running tasks ask for together. Without an option its metrics are absent, and the task goes on. */
static void set_options(struct sonde_serve *s)
{
	struct sonde_collect_sink sink = {.emit = keep_probe, .ctx = s};

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		uint32_t options = 0;
		int r;

		if (!run->collector || !run->collector->set_options)
			continue;
		for (size_t k = 0; k < ELEMENTS_OF(s->tasks); k++) {
			const struct serve_task *t = s->tasks[k];

			if (t && t->started && t->collectors & run->collector->bit)
				options |= t->options;
		}
		r = run->collector->set_options(run->state, options, sink);
		if (r < 0)
			sonde_log_warn(r, "collector %s goes on without the options 0x%x",
				       run->collector->name, options);
	}
}

static int emit_probes(struct sonde_serve *s, struct serve_answer *a)
{
	for (size_t i = 0; i < s->n_probes; i++) {
		struct sonde_probe_reply reply = {
			.type = SONDE_PROBE_PROBE,
			.probe = s->probes[i],
		};
		int r = serve_record(a, &reply);

		if (r < 0)
			return r;
	}
	return 0;
}

uint64_t serve_stop_all(struct sonde_serve *s)
{
	struct sonde_collect_timing timing = {0};

	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		struct serve_running *run = &s->running[i];

		if (!run->collector)
			continue;
		run->state = run->collector->stop(run->state, &timing);
		run->collector = NULL;
	}
	serve_flow_stop(s);
	free(s->probes);
	s->probes = NULL;
	s->n_probes = 0;
	(void)malloc_trim(0); /* the idle process is to be as small as before */
	return timing.detach_ns;
}

static bool any_started(const struct sonde_serve *s)
{
	for (size_t i = 0; i < ELEMENTS_OF(s->tasks); i++)
		if (s->tasks[i] && s->tasks[i]->started)
			return true;
	return false;
}

bool serve_drop_task(struct sonde_serve *s, uint32_t slot, uint64_t *ret_detach_ns)
{
	struct serve_task *t = TAKE_PTR(s->tasks[slot]);
	bool started = t && t->started, last;

	*ret_detach_ns = 0;
	free(t);
	if (!started) {
		(void)set_signals(s); /* more is attached than is asked for, and told */
		return false;
	}
	last = !any_started(s);
	for (size_t i = 0; !last && i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		int r = run->collector ? run->collector->task_remove(run->state, 1ULL << slot) : 0;

		if (r < 0)
			sonde_log_warn(r, "collector %s keeps targets of an ended task, ignoring",
				       run->collector->name);
	}
	if (last)
		*ret_detach_ns = serve_stop_all(s);
	if (!last) {
		set_options(s);
		(void)set_signals(s);
	}
	return last;
}

static int start_collectors(struct sonde_serve *s, const struct serve_task *t,
			    struct sonde_collect_timing *timing, struct serve_answer *a)
{
	uint64_t map_bytes = 0;
	bool any = false;
	int r = 0;

	for (const struct sonde_collector *const *c = s->config.collectors; *c; c++) {
		int q;

		if (((*c)->bit & t->collectors) == 0)
			continue;
		q = start_collector(s, *c, t, timing, &map_bytes, a);
		if (q == 0)
			any = true;
		else if (r == 0)
			r = q;
	}
	if (any)
		return 0;
	return r < 0 ? r : -EOPNOTSUPP;
}

/* Partial start is a start: one target that can be watched is enough. */
static int hand_targets(struct sonde_serve *s, uint32_t slot, struct serve_answer *a)
{
	const struct serve_task *t = s->tasks[slot];
	size_t gone = 0, refused = 0;
	int first = 0;

	for (size_t i = 0; i < t->n_targets; i++) {
		int r = hand_target(s, slot, &t->targets[i]);

		gone += r == -ESRCH;
		refused += r < 0 && r != -ESRCH;
		if (first == 0 && r != -ESRCH)
			first = r;
	}
	if (gone == t->n_targets)
		return serve_say(a, -ESRCH, "every process has ended");
	if (gone + refused == t->n_targets)
		return serve_say(a, first, "the collectors take no further process");
	if (gone > 0)
		(void)serve_say(a, 0, "%zu of %zu processes had ended", gone, t->n_targets);
	if (refused > 0)
		(void)serve_say(a, 0, "%zu of %zu processes did not fit the target table", refused,
				t->n_targets);
	return 0;
}

static int start(struct sonde_serve *s, uint32_t slot, struct sonde_collect_timing *timing,
		 struct serve_answer *a)
{
	struct serve_task *t = s->tasks[slot];
	int r;

	r = start_collectors(s, t, timing, a);
	if (r < 0 && a->text[0])
		return r;
	if (r < 0)
		return serve_say(a, r, "no collector could be attached");
	r = hand_targets(s, slot, a);
	if (r < 0)
		return r;
	set_options(s);
	r = seed(s, t->collectors, timing);
	if (r < 0)
		return serve_say(a, r, "the open sockets could not be found");
	return 0;
}

int serve_task_start(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a)
{
	struct sonde_collect_timing timing = {0};
	struct serve_task *t = s->tasks[q->task];
	int r, emitted;

	if (!t)
		return serve_say(a, -ENOENT, "no such task");
	if (t->n_targets == 0)
		return serve_say(a, -EINVAL, "a task without a process is refused, never widened");
	if (t->started)
		return emit_probes(s, a);
	if (!any_started(s))
		s->noted = (struct sonde_probe_idle){0};
	t->since_ns = now_ns;
	t->started = true;
	r = start(s, q->task, &timing, a);
	if (r == 0 && t->options & SONDE_PROBE_OPTION_FLOWS)
		r = serve_flow_start(s);
	emitted = emit_probes(s, a);
	if (r < 0) { /* takes back what it got, and stops what only it started */
		uint64_t detach_ns;

		(void)serve_drop_task(s, q->task, &detach_ns);
		return r;
	}
	if (emitted < 0)
		return emitted;
	a->numbers[0] = timing.open_ns;
	a->numbers[1] = timing.load_ns;
	a->numbers[2] = timing.attach_ns;
	a->numbers[3] = timing.seed_ns;
	a->numbers[4] = timing.seeded_sockets;
	a->numbers[5] = s->probes_cut;
	return 0;
}

int serve_task_end(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		   struct serve_answer *a)
{
	if (!s->tasks[q->task])
		return serve_say(a, -ENOENT, "no such task");
	if (serve_drop_task(s, q->task, &a->numbers[0]))
		return serve_proof_record(a);
	return 0;
}

int serve_snapshot(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		   struct serve_answer *a)
{
	struct sonde_collect_sink sink = {
		.emit = serve_flow_emit, .ctx = a, .open_flows = q->open_flows};

	if (s->nat)
		sonde_nat_begin(s->nat, now_ns);
	for (size_t i = 0; i < ELEMENTS_OF(s->running); i++) {
		const struct serve_running *run = &s->running[i];
		int r;

		if (!run->collector)
			continue;
		r = run->collector->snapshot(run->state, sink);
		if (r < 0)
			return serve_say(a, r, "snapshot of collector %s", run->collector->name);
	}
	return 0;
}
