/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/assign.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct assignment {
	struct sonde_registry *registry;
	int64_t now_ms;
	const char **agents;
	size_t n;
	struct sonde_problem *problem;
};

static int add(struct assignment *as, const char *agent_id)
{
	for (size_t i = 0; i < as->n; i++) {
		if (strcmp(as->agents[i], agent_id) == 0)
			return 0;
	}
	if (as->n == SONDE_TASK_AGENTS_MAX)
		return sonde_problem_set(as->problem, 400, "targets",
					 "targets: they are on more than %d agents",
					 SONDE_TASK_AGENTS_MAX);
	as->agents[as->n++] = agent_id;
	return 0;
}

/* The only live agent, if there is just one. */
static const struct sonde_agent *only_agent(const struct assignment *as)
{
	const struct sonde_agent *only = NULL;

	for (struct sonde_agent *a = sonde_registry_agents(as->registry); a; a = a->hh.next) {
		if (!sonde_agent_live(a, as->now_ms))
			continue;
		if (only)
			return NULL;
		only = a;
	}
	return only;
}

/* The agent that had it, of those that have left; NULL if none had. */
static const struct sonde_agent *agent_that_left(const struct assignment *as,
						 const struct sonde_spec_target *t)
{
	for (struct sonde_process *p = sonde_registry_processes(as->registry); p; p = p->hh.next) {
		if (sonde_process_matches(p, t) && !sonde_agent_live(p->agent, as->now_ms))
			return p->agent;
	}
	return NULL;
}

static int gone(const struct assignment *as, const char *field, const struct sonde_agent *a)
{
	return sonde_problem_set(as->problem, 409, field,
				 "%s: agent %.64s is not connected, it was last heard %lld s ago",
				 field, a->id, (long long)((as->now_ms - a->last_seen_ms) / 1000));
}

static bool nobody_lives(const struct assignment *as)
{
	for (struct sonde_agent *a = sonde_registry_agents(as->registry); a; a = a->hh.next) {
		if (sonde_agent_live(a, as->now_ms))
			return false;
	}
	return true;
}

static int nobody(const struct assignment *as, const struct sonde_spec_target *t, size_t index)
{
	const struct sonde_agent *left = agent_that_left(as, t);
	char field[64];
	const char *key = t->process_id[0]     ? "processId"
			  : t->process_name[0] ? "processName"
			  : t->service[0]      ? "service"
					       : "pid";

	(void)snprintf(field, sizeof(field), "targets[%zu].%s", index, key);
	if (left)
		return gone(as, field, left);
	if (nobody_lives(as))
		return sonde_problem_set(as->problem, 409, field, "%s: no agent is connected",
					 field);
	if (t->process_id[0])
		return sonde_problem_set(as->problem, 404, field,
					 "%s: no live process has the id %.64s", field,
					 t->process_id);
	if (t->process_name[0])
		return sonde_problem_set(as->problem, 404, field,
					 "%s: no live process is called \"%.128s\"", field,
					 t->process_name);
	if (t->service[0])
		return sonde_problem_set(as->problem, 404, field,
					 "%s: no live process belongs to \"%.128s\"", field,
					 t->service);
	return sonde_problem_set(
		as->problem, 404, field,
		"%s: no agent has reported pid %d; name the agent (agentId, --agent)", field,
		t->pid);
}

/* A pid means one machine: two agents with the same one are an ambiguity, not a wish for both. */
static int check_pid(const struct assignment *as, const struct sonde_spec_target *t, size_t index)
{
	const struct sonde_agent *first = NULL;
	char field[64];

	if (t->pid == 0 || t->agent_id[0])
		return 0;
	for (struct sonde_process *p = sonde_registry_processes(as->registry); p; p = p->hh.next) {
		if (!sonde_process_live(p, as->now_ms) || !sonde_process_matches(p, t))
			continue;
		if (first && first != p->agent) {
			(void)snprintf(field, sizeof(field), "targets[%zu].pid", index);
			return sonde_problem_set(
				as->problem, 400, field,
				"%s: pid %d is there on several agents; name one (agentId, --agent)",
				field, t->pid);
		}
		first = p->agent;
	}
	return 0;
}

static int assign_target(struct assignment *as, const struct sonde_spec_target *t, size_t index)
{
	const struct sonde_agent *agent;
	size_t found = 0;
	char field[64];
	int r;

	if (t->agent_id[0]) {
		agent = sonde_registry_find_agent(as->registry, t->agent_id);
		(void)snprintf(field, sizeof(field), "targets[%zu].agentId", index);
		if (agent && !sonde_agent_live(agent, as->now_ms))
			return gone(as, field, agent);
		if (agent)
			return add(as, agent->id);
		return sonde_problem_set(as->problem, 404, field, "%s: no agent \"%.128s\"", field,
					 t->agent_id);
	}
	r = check_pid(as, t, index);
	for (struct sonde_process *p = sonde_registry_processes(as->registry); p && r == 0;
	     p = p->hh.next) {
		if (sonde_process_live(p, as->now_ms) && sonde_process_matches(p, t)) {
			r = add(as, p->agent->id);
			found++;
		}
	}
	if (r < 0 || found > 0)
		return r;
	agent = t->pid != 0 ? only_agent(as) : NULL;
	return agent ? add(as, agent->id) : nobody(as, t, index);
}

int sonde_assign(struct sonde_registry *registry, const struct sonde_spec *spec, int64_t now_ms,
		 const char *ret[static SONDE_TASK_AGENTS_MAX], size_t *ret_n,
		 struct sonde_problem *problem)
{
	struct assignment as = {
		.registry = registry, .now_ms = now_ms, .agents = ret, .problem = problem};
	int r;

	for (size_t i = 0; i < spec->n_targets; i++) {
		r = assign_target(&as, &spec->targets[i], i);
		if (r < 0)
			return r;
	}
	*ret_n = as.n;
	return 0;
}

static bool is_among(const char *const *agents, size_t n, const char *agent_id)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(agents[i], agent_id) == 0)
			return true;
	}
	return false;
}

bool sonde_assign_concerns(struct sonde_registry *registry, const char *const *agents,
			   size_t n_agents, const struct sonde_spec_target *target,
			   const char *agent_id)
{
	bool elsewhere = false;

	if (target->agent_id[0])
		return strcmp(target->agent_id, agent_id) == 0;
	for (struct sonde_process *p = sonde_registry_processes(registry); p; p = p->hh.next) {
		if (!sonde_process_matches(p, target))
			continue;
		if (strcmp(p->agent->id, agent_id) == 0)
			return true;
		elsewhere = elsewhere || is_among(agents, n_agents, p->agent->id);
	}
	return !elsewhere;
}
