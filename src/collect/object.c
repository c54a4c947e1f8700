/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/object.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/tcp/tcp_types.h"
#include "collect/calibrate.h"
#include "host/privilege.h"

#define CELLS_MIN 16
#define OTHERS_MAX 256
#define TARGETS_MAX 65536

static uint32_t clamp(uint32_t n, uint32_t low, uint32_t high)
{
	if (n < low)
		return low;
	return n < high ? n : high;
}

static const char *function_of(const struct sonde_object *o, uint32_t program)
{
	return o->plan.table->programs[program].function;
}

static struct bpf_program *find_program(const struct sonde_object *o, uint32_t program)
{
	return bpf_object__find_program_by_name(o->bpf, function_of(o, program));
}

/* The caller's is borrowed for the start, and a later task's signals may want it. */
static int own_cgroup(struct sonde_object *o)
{
	if (o->config.cgroup_fd < 0)
		return 0;
	o->config.cgroup_fd = fcntl(o->config.cgroup_fd, F_DUPFD_CLOEXEC, 3);
	if (o->config.cgroup_fd < 0)
		return -errno;
	o->owns_cgroup = true;
	return 0;
}

int sonde_object_init(struct sonde_object *o, const struct sonde_plan_table *table,
		      const struct sonde_collect_config *config, struct sonde_object_loader loader)
{
	int n;

	assert(o && table && config && config->raise && config->drop && loader.open);

	o->config = *config;
	o->config.max_targets = clamp(config->max_targets, 1, TARGETS_MAX);
	o->cell_limit = clamp(config->max_cells, CELLS_MIN, loader.cells_max);
	o->other_limit = clamp(2 * o->config.max_targets, 2, OTHERS_MAX);
	o->loader = loader;
	o->programs = ~0ULL;
	n = libbpf_num_possible_cpus();
	if (n < 0)
		return n;
	o->n_cpus = (uint32_t)n;
	n = own_cgroup(o);
	return n < 0 ? n : sonde_plan_init(&o->plan, table, config);
}

static void detach_all(struct sonde_object *o)
{
	for (uint32_t i = 0; i < SONDE_PLAN_PROGRAMS_MAX; i++)
		(void)bpf_link__destroy(TAKE_PTR(o->links[i]));
	o->plan.attached = 0;
}

void sonde_object_done(struct sonde_object *o)
{
	if (!o)
		return;
	detach_all(o);
	sonde_plan_done(&o->plan);
	if (o->owns_cgroup)
		(void)close(o->config.cgroup_fd);
	o->owns_cgroup = false;
}

bool sonde_object_wants(const struct sonde_object *o, uint32_t program)
{
	return o->programs & SONDE_PLAN_BIT(program) && sonde_plan_wants(&o->plan, program);
}

int sonde_object_raise(const struct sonde_object *o)
{
	return o->config.raise(o->config.ctx, SONDE_CAP(CAP_BPF));
}

void sonde_object_drop(const struct sonde_object *o)
{
	o->config.drop(o->config.ctx);
}

static int raise_for_programs(const struct sonde_object *o, uint64_t programs)
{
	return o->config.raise(o->config.ctx, SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON) |
						      sonde_plan_caps(&o->plan, programs));
}

/* The programs that only measure what ours cost (bpf/lib/calibrate.bpf.h). */
static bool is_calibration(const char *function)
{
	return strcmp(function, "sonde_empty") == 0 || strcmp(function, "sonde_clock") == 0;
}

static int leave_out_calibration(void *ctx, const char *function)
{
	struct sonde_object *o = ctx;

	if (o->uncalibrated || !is_calibration(function))
		return -EINVAL;
	o->uncalibrated = true;
	return 0;
}

/* The skeleton attaches nothing by itself: links are made one by one, so that one may fail. */
static int choose_programs(struct sonde_object *o)
{
	struct bpf_program *p;
	int r = 0;

	bpf_object__for_each_program (p, o->bpf)
		r |= bpf_program__set_autoload(p, is_calibration(bpf_program__name(p)) &&
							  !o->uncalibrated);
	for (uint32_t i = 0; i < o->plan.table->n_programs; i++)
		r |= bpf_program__set_autoload(find_program(o, i), sonde_object_wants(o, i));
	return r ? -EINVAL : 0;
}

static int load_once(void *ctx)
{
	struct bpf_object_skeleton *skeleton = NULL;
	struct sonde_object *o = ctx;
	struct stat st;
	int r;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return -errno;
	o->bpf = NULL; /* what open() frees */
	r = o->loader.open(o->loader.ctx, (uint32_t)st.st_ino, &skeleton);
	if (r < 0)
		return r;
	o->bpf = *skeleton->obj;
	r = choose_programs(o);
	if (r == 0)
		r = raise_for_programs(o, o->programs);
	if (r < 0)
		return r;
	if (o->loader.loading)
		r = o->loader.loading(o->loader.ctx);
	if (r == 0)
		r = bpf_object__load_skeleton(skeleton);
	sonde_object_drop(o);
	return r;
}

static int load(struct sonde_object *o)
{
	if (sonde_plan_core_missing(&o->plan))
		return -EOPNOTSUPP;
	return sonde_plan_load(&o->plan, load_once, leave_out_calibration, o);
}

static void note_programs(const struct sonde_object *o)
{
	struct bpf_program *p;

	bpf_object__for_each_program (p, o->bpf) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);
		char tag[2 * sizeof(info.tag) + 1];

		if (bpf_program__fd(p) < 0 ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &size) < 0)
			continue;
		for (size_t i = 0; i < sizeof(info.tag); i++)
			(void)snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
		o->config.note_id(o->config.ctx, 'p', info.id, tag);
	}
}

static void note_maps(const struct sonde_object *o)
{
	struct bpf_map *m;

	bpf_object__for_each_map (m, o->bpf) {
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_map__fd(m) >= 0 &&
		    bpf_obj_get_info_by_fd(bpf_map__fd(m), &info, &size) == 0)
			o->config.note_id(o->config.ctx, 'm', info.id, info.name);
	}
}

static void note_loaded(const struct sonde_object *o)
{
	if (!o->config.note_id)
		return;
	note_programs(o);
	if (!o->loader.shares_maps)
		note_maps(o);
}

static void note_link(const struct sonde_object *o, uint32_t program)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	if (o->config.note_id &&
	    bpf_obj_get_info_by_fd(bpf_link__fd(o->links[program]), &info, &size) == 0)
		o->config.note_id(o->config.ctx, 'l', info.id, function_of(o, program));
}

static struct bpf_link *attach_walk(struct bpf_program *p, const struct bpf_map *map)
{
	union bpf_iter_link_info info = {.map.map_fd = (uint32_t)bpf_map__fd(map)};
	struct bpf_iter_attach_opts opts;

	/* libbpf refuses an option struct whose padding is not 0, which an initializer may leave. */
	memset(&opts, 0, sizeof(opts));
	opts.sz = sizeof(opts);
	opts.link_info = &info;
	opts.link_info_len = sizeof(info);
	return bpf_program__attach_iter(p, &opts);
}

/* By name: libbpf would look the function's address up, which kptr_restrict hides. */
static struct bpf_link *attach_multi(struct bpf_program *p, const char *function, bool ret)
{
	struct bpf_kprobe_multi_opts opts;

	memset(&opts, 0, sizeof(opts));
	opts.sz = sizeof(opts);
	opts.syms = &function;
	opts.cnt = 1;
	opts.retprobe = ret;
	return bpf_program__attach_kprobe_multi_opts(p, NULL, &opts);
}

static struct bpf_link *attach(const struct sonde_object *o, uint32_t program)
{
	static const char entry[] = "kprobe.multi/", ret[] = "kretprobe.multi/";
	const char *hook = o->plan.table->programs[program].hook;
	struct bpf_program *p = find_program(o, program);
	const struct bpf_map *walked =
		o->loader.walked ? o->loader.walked(o->loader.ctx, program) : NULL;

	if (walked)
		return attach_walk(p, walked);
	if (strncmp(hook, entry, strlen(entry)) == 0)
		return attach_multi(p, hook + strlen(entry), false);
	if (strncmp(hook, ret, strlen(ret)) == 0)
		return attach_multi(p, hook + strlen(ret), true);
	if (sonde_plan_is_of_cgroup(hook))
		return bpf_program__attach_cgroup(p, o->config.cgroup_fd);
	return bpf_program__attach(p);
}

/*
 * Return: 0 (also refused, if something else serves), -EAGAIN = what serves instead is not loaded, or what served
 * together with it is not wanted any more, -errno.
 */
static int attach_program(struct sonde_object *o, uint32_t program)
{
	int error, r;

	if (!sonde_object_wants(o, program) || !sonde_plan_asks(&o->plan, program) ||
	    o->links[program])
		return 0;
	o->links[program] = attach(o, program);
	if (o->links[program]) {
		o->plan.attached |= SONDE_PLAN_BIT(program);
		note_link(o, program);
		return 0;
	}
	error = -errno;
	r = sonde_plan_refuse(&o->plan, program, "the kernel refused to attach it: %s",
			      strerror(-error));
	if (r < 0)
		return r;
	if (sonde_plan_core_missing(&o->plan))
		return error;
	for (uint32_t i = 0; i < o->plan.table->n_programs; i++) {
		if (sonde_object_wants(o, i) ? bpf_program__fd(find_program(o, i)) < 0
					     : o->links[i] != NULL)
			return -EAGAIN;
	}
	return 0;
}

static void try(struct sonde_object *o)
{
	/* Which program was refused, and why, the plan knows. */
	if (sonde_plan_is_tried(&o->plan) || load(o) < 0)
		return;
	/* Older kernels tell an object's id to those alone who may load one. */
	if (sonde_object_raise(o) < 0)
		return;
	note_loaded(o);
	sonde_object_drop(o);
}

int sonde_object_tell_plan(struct sonde_object *o, struct sonde_collect_sink sink)
{
	assert(o);

	if (o->config.trial)
		try(o);
	return sonde_plan_tell(&o->plan, sink);
}

int sonde_object_memory(const struct sonde_object *o, struct sonde_collect_memory *sum)
{
	struct bpf_object_skeleton *skeleton = NULL;
	int r;

	assert(o && sum);

	r = o->loader.open(o->loader.ctx, 0, &skeleton);
	return r < 0 ? r : sonde_plan_memory(*skeleton->obj, sum);
}

static int attach_all(struct sonde_object *o, const uint32_t *order, size_t n)
{
	int r;

	r = raise_for_programs(o, o->programs);
	if (r < 0)
		return r;
	if (o->loader.loaded)
		o->loader.loaded(o->loader.ctx);
	note_loaded(o);
	for (size_t i = 0; i < n && r == 0; i++)
		r = attach_program(o, order[i]);
	sonde_object_drop(o);
	return r;
}

struct calibrating_hook {
	struct bpf_program *program;
	struct bpf_link *link;
};

static int attach_hook(void *ctx)
{
	struct calibrating_hook *hook = ctx;

	hook->link = bpf_program__attach(hook->program);
	return hook->link ? 0 : -errno;
}

static void detach_hook(void *ctx)
{
	struct calibrating_hook *hook = ctx;

	(void)bpf_link__destroy(TAKE_PTR(hook->link));
}

static int calibrate(struct sonde_object *o)
{
	struct calibrating_hook empty = {.program = bpf_object__find_program_by_name(
						 o->bpf, "sonde_empty")},
				clock = {.program = bpf_object__find_program_by_name(
						 o->bpf, "sonde_clock")};
	uint64_t ns = 0, runs = 0;
	int r;

	o->hook_ns_x1000 = SONDE_HOOK_DEFAULT_NS_X1000;
	if (o->uncalibrated)
		return 0;
	r = o->config.raise(o->config.ctx, SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON));
	if (r < 0)
		return r;
	o->hook_ns_x1000 = sonde_calibrate_hook(attach_hook, detach_hook, &empty);
	r = sonde_calibrate_pass(attach_hook, detach_hook, &clock);
	sonde_object_drop(o);
	o->loader.read_clock(o->loader.ctx, &ns, &runs);
	if (r == 0 && runs > 0)
		o->clock_ns_x1000 = ns * 1000 / runs;
	return 0; /* uncalibrated: the clock's time is then part of what is estimated */
}

int sonde_object_start(struct sonde_object *o, const uint32_t *order, size_t n,
		       struct sonde_collect_timing *timing)
{
	uint64_t start = sonde_mono_ns(), loaded;
	int r;

	assert(o && order);

	r = load(o);
	loaded = sonde_mono_ns();
	if (r == 0)
		r = attach_all(o, order, n);
	/* Each turn one more program is refused. */
	for (size_t i = 0; i < n && r == -EAGAIN; i++) {
		detach_all(o);
		r = load(o);
		if (r == 0)
			r = attach_all(o, order, n);
	}
	if (r < 0)
		return r;
	if (timing) {
		timing->load_ns += loaded - start;
		timing->attach_ns += sonde_mono_ns() - loaded;
	}
	return calibrate(o); /* the task need not wait for it */
}

struct sonde_target_table sonde_object_targets(const struct sonde_object *o,
					       const struct bpf_map *map)
{
	return (struct sonde_target_table){.fd = bpf_map__fd(map),
					   .entries = o->config.max_targets};
}

int sonde_object_target_add(const struct sonde_object *o, const struct bpf_map *map, uint32_t pid,
			    uint64_t task_mask)
{
	const struct sonde_target_table t = sonde_object_targets(o, map);
	int r;

	r = sonde_object_raise(o);
	if (r < 0)
		return r;
	r = sonde_target_table_add(&t, pid, task_mask);
	sonde_object_drop(o);
	return r;
}

int sonde_object_target_remove(const struct sonde_object *o, const struct bpf_map *map,
			       uint32_t pid, uint64_t task_mask, bool *ret_gone)
{
	const struct sonde_target_table t = sonde_object_targets(o, map);
	int r;

	r = sonde_object_raise(o);
	if (r < 0)
		return r;
	*ret_gone = sonde_target_table_remove(&t, pid, task_mask);
	sonde_object_drop(o);
	return 0;
}

int sonde_object_task_remove(const struct sonde_object *o, const struct bpf_map *map,
			     uint64_t task_mask, bool *ret_gone)
{
	const struct sonde_target_table t = sonde_object_targets(o, map);
	int r;

	r = sonde_object_raise(o);
	if (r < 0)
		return r;
	r = sonde_target_table_remove_all(&t, task_mask, ret_gone);
	sonde_object_drop(o);
	return r;
}

/* Behind the start nothing is loaded besides: what would serve instead and is not there is not to be had either. */
static int refuse_unloaded(struct sonde_object *o)
{
	for (uint32_t i = 0; i < o->plan.table->n_programs;) {
		int r;

		if (!sonde_object_wants(o, i) || bpf_program__fd(find_program(o, i)) >= 0) {
			i++;
			continue;
		}
		r = sonde_plan_refuse(&o->plan, i, "not loaded with the others");
		if (r < 0)
			return r;
		i = 0; /* the plan has chosen again */
	}
	return sonde_plan_core_missing(&o->plan) ? -EOPNOTSUPP : 0;
}

int sonde_object_attach(struct sonde_object *o, const uint32_t *programs, size_t n)
{
	uint64_t mask = 0;
	int r;

	assert(o && programs);

	for (size_t i = 0; i < n; i++)
		mask |= SONDE_PLAN_BIT(programs[i]);
	r = raise_for_programs(o, mask);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r == 0; i++) {
		r = attach_program(o, programs[i]);
		if (r == -EAGAIN)
			r = refuse_unloaded(o);
	}
	sonde_object_drop(o);
	return r;
}

int sonde_object_set_signals(struct sonde_object *o, uint32_t signals, const uint32_t *programs,
			     size_t n)
{
	int r;

	assert(o && programs);

	o->plan.signals = signals;
	r = sonde_object_attach(o, programs, n);
	if (r < 0)
		o->plan.signals = o->config.signals; /* what was attached of it goes again */
	else
		o->config.signals = signals;
	for (size_t i = n; i > 0; i--) {
		if (o->links[programs[i - 1]] && !sonde_plan_asks(&o->plan, programs[i - 1]))
			sonde_object_detach(o, &programs[i - 1], 1);
	}
	return r;
}

void sonde_object_detach(struct sonde_object *o, const uint32_t *programs, size_t n)
{
	assert(o && programs);

	for (size_t i = 0; i < n; i++) {
		(void)bpf_link__destroy(TAKE_PTR(o->links[programs[i]]));
		o->plan.attached &= ~SONDE_PLAN_BIT(programs[i]);
	}
}

int sonde_object_iterate(struct sonde_object *o, uint32_t program)
{
	_cleanup_close_ int fd = -1;
	char nothing[64];
	ssize_t n;

	if (!o->links[program])
		return -EOPNOTSUPP;
	fd = bpf_iter_create(bpf_link__fd(o->links[program]));
	if (fd < 0)
		return -errno;
	do { /* The programs write nothing; EAGAIN: the kernel paused after a million objects. */
		n = read(fd, nothing, sizeof(nothing));
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	return n < 0 ? -errno : 0;
}

uint64_t sonde_object_skipped_runs(const struct sonde_object *o)
{
	uint64_t skipped = 0;

	for (uint32_t i = 0; o->bpf && i < o->plan.table->n_programs; i++) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		/* Also what is detached by now: the kernel counts by program, and what was told must not fall. */
		if (bpf_program__fd(find_program(o, i)) >= 0 &&
		    bpf_obj_get_info_by_fd(bpf_program__fd(find_program(o, i)), &info, &size) == 0)
			skipped += info.recursion_misses;
	}
	return skipped;
}

int sonde_object_sum(const struct sonde_object *o, const struct bpf_map *map, size_t n,
		     uint64_t *ret)
{
	_cleanup_free_ uint64_t *by_cpu = calloc(o->n_cpus, sizeof(*by_cpu));

	if (!by_cpu)
		return -ENOMEM;
	for (uint32_t slot = 0; slot < n; slot++) {
		if (bpf_map_lookup_elem(bpf_map__fd(map), &slot, by_cpu) < 0)
			return -errno;
		ret[slot] = 0;
		for (uint32_t cpu = 0; cpu < o->n_cpus; cpu++)
			ret[slot] += by_cpu[cpu];
	}
	return 0;
}

static void fill_cost(const struct sonde_object *o, uint32_t program,
		      const struct sonde_bpf_cost *by_cpu, struct sonde_probe_cost *cost)
{
	const struct sonde_plan_table *table = o->plan.table;
	const char *part = table->programs[program].part;
	uint64_t clock_ns;

	(void)snprintf(cost->name, sizeof(cost->name), "%s %s%s%s", table->name,
		       table->programs[program].hook, part ? ", " : "", part ? part : "");
	for (uint32_t cpu = 0; cpu < o->n_cpus; cpu++) {
		cost->runs += by_cpu[cpu].runs;
		cost->sampled_runs += by_cpu[cpu].sampled_runs;
		cost->sampled_ns += by_cpu[cpu].sampled_ns;
		cost->discarded_runs += by_cpu[cpu].discarded_runs;
	}
	/* A timed run holds one reading of the clock that is no part of the others. */
	clock_ns = cost->sampled_runs * o->clock_ns_x1000 / 1000;
	cost->sampled_ns -= cost->sampled_ns < clock_ns ? cost->sampled_ns : clock_ns;
	cost->hook_ns_x1000 = o->hook_ns_x1000;
}

int sonde_object_emit_costs(const struct sonde_object *o, const struct bpf_map *map,
			    struct sonde_collect_sink sink)
{
	_cleanup_free_ struct sonde_bpf_cost *by_cpu = calloc(o->n_cpus, sizeof(*by_cpu));
	uint64_t map_bytes = sonde_plan_map_bytes(o->bpf);
	int r = 0;

	if (!by_cpu)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->plan.table->n_programs && r == 0; i++) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_COST};

		if (bpf_map_lookup_elem(bpf_map__fd(map), &i, by_cpu) < 0)
			return -errno;
		fill_cost(o, i, by_cpu, &reply.cost);
		/* Those of an option, or of a signal that nobody asks for, only once they have run. */
		if (!(sonde_object_wants(o, i) && sonde_plan_asks(&o->plan, i)) &&
		    reply.cost.runs == 0)
			continue;
		reply.cost.map_bytes = map_bytes; /* on the first one */
		map_bytes = 0;
		r = sink.emit(sink.ctx, &reply);
	}
	return r;
}
