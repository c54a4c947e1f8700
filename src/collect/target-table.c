/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/target-table.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>

#include "bpf/lib/target_types.h"

#define REMOVE_PASSES_MAX 16

int sonde_target_table_add(const struct sonde_target_table *t, uint32_t pid, uint64_t task_mask)
{
	struct sonde_tcp_target target = {0};

	assert(t);

	if (pid == 0 || task_mask == 0)
		return -EINVAL;
	/* An entry that has exited is of an earlier process with this pid. */
	if (bpf_map_lookup_elem(t->fd, &pid, &target) < 0 ||
	    target.state == SONDE_TCP_TARGET_EXITED)
		target = (struct sonde_tcp_target){.root_pid = pid};
	target.task_mask |= task_mask;
	if (bpf_map_update_elem(t->fd, &pid, &target, BPF_ANY) < 0)
		return errno == E2BIG ? -ENOSPC : -errno;
	return 0;
}

struct target_list {
	uint32_t *pids;			  /* owned */
	struct sonde_tcp_target *targets; /* owned */
	size_t n;
};

static void target_list_done(struct target_list *list)
{
	free(list->pids);
	free(list->targets);
}

/* A copy, because walking a hash while taking from it starts over. */
static int read_targets(const struct sonde_target_table *t, struct target_list *list)
{
	const uint32_t *at = NULL;
	uint32_t next;

	list->pids = calloc(t->entries, sizeof(*list->pids));
	list->targets = calloc(t->entries, sizeof(*list->targets));
	if (!list->pids || !list->targets)
		return -ENOMEM;
	while (list->n < t->entries && bpf_map_get_next_key(t->fd, at, &next) == 0) {
		list->pids[list->n] = next;
		at = &list->pids[list->n];
		if (bpf_map_lookup_elem(t->fd, &next, &list->targets[list->n]) == 0)
			list->n++;
		else
			break; /* only we remove entries; without its key there is no next one */
	}
	return 0;
}

bool sonde_target_table_remove(const struct sonde_target_table *t, uint32_t pid, uint64_t task_mask)
{
	struct sonde_tcp_target target;

	/* Anew: the process may have ended since the list was read, and must not come back to life. */
	if (bpf_map_lookup_elem(t->fd, &pid, &target) < 0)
		return false;
	target.task_mask &= ~task_mask;
	if (target.task_mask == 0)
		return bpf_map_delete_elem(t->fd, &pid) == 0;
	(void)bpf_map_update_elem(t->fd, &pid, &target, BPF_EXIST);
	return false;
}

/* One pass over the table. Return: 1 = some had the bits, 0 = none, -errno. */
static int unmask_all(const struct sonde_target_table *t, uint64_t task_mask, bool *gone)
{
	_cleanup_(target_list_done) struct target_list list = {0};
	int found = 0, r;

	r = read_targets(t, &list);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.n; i++) {
		if (!(list.targets[i].task_mask & task_mask))
			continue;
		found = 1;
		*gone |= sonde_target_table_remove(t, list.pids[i], task_mask);
	}
	return found;
}

int sonde_target_table_remove_all(const struct sonde_target_table *t, uint64_t task_mask,
				  bool *ret_gone)
{
	bool gone = false;
	int r = 1;

	assert(t && ret_gone);

	/* A target that forks under us hands the bits on to a child behind our back: until none has them. */
	for (unsigned int pass = 0; r > 0 && pass < REMOVE_PASSES_MAX; pass++)
		r = unmask_all(t, task_mask, &gone);
	if (r < 0)
		return r;
	*ret_gone = gone;
	return 0;
}

/*
 * A child that has ended keeps its place, for sockets that outlive it. Not where a
 * server that forks for each connection would fill the table with them.
 */
static bool may_forget(const struct sonde_tcp_target *target, uint32_t pid)
{
	return target->state == SONDE_TCP_TARGET_EXITED && target->root_pid != pid;
}

int sonde_target_table_emit(const struct sonde_target_table *t, struct sonde_collect_sink sink)
{
	_cleanup_(target_list_done) struct target_list list = {0};
	bool crowded;
	int r;

	r = read_targets(t, &list);
	crowded = list.n > t->entries / 2;
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROCESS};

		reply.process.pid = list.pids[i];
		reply.process.root_pid = list.targets[i].root_pid;
		reply.process.state = list.targets[i].state;
		reply.process.task_mask = list.targets[i].task_mask;
		r = sink.emit(sink.ctx, &reply);
		if (r == 0 && crowded && may_forget(&list.targets[i], list.pids[i]))
			(void)bpf_map_delete_elem(t->fd, &list.pids[i]);
	}
	return r;
}
