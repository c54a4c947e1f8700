/* SPDX-License-Identifier: Apache-2.0 */
#include "model/probe-msg.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "model/drop-class.h"
#include "model/signal.h"

static const char *const request_names[] = {
	[SONDE_PROBE_TASK_ADMIT] = "TASK_ADMIT",
	[SONDE_PROBE_TARGET_ADD] = "TARGET_ADD",
	[SONDE_PROBE_TASK_START] = "TASK_START",
	[SONDE_PROBE_TASK_END] = "TASK_END",
	[SONDE_PROBE_SNAPSHOT] = "SNAPSHOT",
	[SONDE_PROBE_LIST_PIDS] = "LIST_PIDS",
	[SONDE_PROBE_EXE] = "EXE",
	[SONDE_PROBE_LISTENERS] = "LISTENERS",
	[SONDE_PROBE_PLAN] = "PLAN",
	[SONDE_PROBE_IDLE_PROOF] = "IDLE_PROOF",
	[SONDE_PROBE_TARGET_JUDGE] = "TARGET_JUDGE",
};
_Static_assert(ELEMENTS_OF(request_names) == _SONDE_PROBE_REQUEST_MAX, "a name for each request");

const char *sonde_probe_request_name(uint32_t type)
{
	if (type == 0 || type >= _SONDE_PROBE_REQUEST_MAX)
		return "?";
	return request_names[type];
}

static const char *const probe_state_names[] = {
	[SONDE_PROBE_ABSENT] = "absent",     [SONDE_PROBE_ATTACHED] = "attached",
	[SONDE_PROBE_REPLACED] = "replaced", [SONDE_PROBE_SPARE] = "spare",
	[SONDE_PROBE_UNASKED] = "unasked",
};
_Static_assert(ELEMENTS_OF(probe_state_names) == _SONDE_PROBE_PROBE_STATE_MAX,
	       "a name for each state");

const char *sonde_probe_probe_state_name(uint32_t state)
{
	return state < _SONDE_PROBE_PROBE_STATE_MAX ? probe_state_names[state] : "?";
}

const char *sonde_probe_plan_state_name(uint32_t state)
{
	return state == SONDE_PROBE_ATTACHED ? "chosen" : sonde_probe_probe_state_name(state);
}

static bool needs_slot(uint32_t type)
{
	return type == SONDE_PROBE_TASK_ADMIT || type == SONDE_PROBE_TARGET_ADD ||
	       type == SONDE_PROBE_TASK_START || type == SONDE_PROBE_TASK_END;
}

static bool needs_pid(uint32_t type)
{
	return type == SONDE_PROBE_TARGET_ADD || type == SONDE_PROBE_TARGET_JUDGE ||
	       type == SONDE_PROBE_EXE;
}

static const char *request_fault(const struct sonde_probe_request *q, size_t n, uint64_t last_id)
{
	if (n != sizeof(*q))
		return "size";
	if (q->version != SONDE_PROBE_VERSION)
		return "version";
	if (q->type == 0 || q->type >= _SONDE_PROBE_REQUEST_MAX)
		return "type";
	if (q->id <= last_id)
		return "id does not grow";
	if (needs_slot(q->type) && q->task >= SONDE_PROBE_TASKS_MAX)
		return "task slot";
	if (needs_pid(q->type) && (q->pid == 0 || q->pid > INT32_MAX))
		return "pid";
	if (q->signals & ~SONDE_SIGNALS_ALL)
		return "signals";
	if (q->pad != 0)
		return "padding";
	for (size_t i = 0; i < ELEMENTS_OF(q->pad2); i++)
		if (q->pad2[i] != 0)
			return "padding";
	return NULL;
}

int sonde_probe_request_check(const struct sonde_probe_request *request, size_t n, uint64_t last_id,
			      const char **ret_why)
{
	const char *fault;

	assert(request && ret_why);

	fault = request_fault(request, n, last_id);
	if (!fault)
		return 0;
	*ret_why = fault;
	return -EBADMSG;
}

#define TERMINATED(text) (memchr((text), '\0', sizeof(text)) != NULL)

static const char *role_fault(uint8_t role)
{
	return role == SONDE_TCP_ROLE_CLIENT || role == SONDE_TCP_ROLE_SERVER ? NULL : "role";
}

static const char *flow_fault(const struct sonde_flow *f)
{
	if (f->closer > SONDE_TCP_CLOSE_MAX)
		return "closer";
	if (f->error > SONDE_TCP_CONNECT_ERROR_MAX)
		return "connect error";
	return role_fault(f->role);
}

static const char no_nul[] = "text without NUL";

static const char *probe_fault(const struct sonde_probe_probe *p)
{
	if (p->state >= _SONDE_PROBE_PROBE_STATE_MAX)
		return "probe state";
	return TERMINATED(p->name) && TERMINATED(p->metrics) && TERMINATED(p->reason) &&
			       TERMINATED(p->less) && TERMINATED(p->per) &&
			       TERMINATED(p->capability)
		       ? NULL
		       : no_nul;
}

static const char *key_fault(const struct sonde_tcp_cell_key *key, uint8_t protocol)
{
	return key->protocol == protocol ? role_fault(key->role) : "protocol";
}

/* NULL: nothing wrong in the body of this type. */
static const char *body_fault(const struct sonde_probe_reply *p)
{
	switch (p->type) {
	case SONDE_PROBE_HELLO:
		return TERMINATED(p->hello.missing) ? NULL : no_nul;
	case SONDE_PROBE_END:
		if (p->end.error > 0 || p->end.error < -4095)
			return "error out of range";
		return TERMINATED(p->end.text) ? NULL : no_nul;
	case SONDE_PROBE_CELL:
		return key_fault(&p->cell.key, IPPROTO_TCP);
	case SONDE_PROBE_UDP_CELL:
		return key_fault(&p->udp_cell.key, IPPROTO_UDP);
	case SONDE_PROBE_HIST:
		if (p->hist.kind >= _SONDE_PROBE_HIST_MAX)
			return "histogram kind";
		if (p->hist.n > SONDE_PROBE_HIST_CHUNK)
			return "histogram pairs";
		for (unsigned int i = 0; i < p->hist.n; i++)
			if (p->hist.pair[i].bucket >= SONDE_HIST_BUCKETS)
				return "histogram bucket";
		return NULL;
	case SONDE_PROBE_DROP:
		if (p->drop.drop_class >= _SONDE_DROP_CLASS_MAX)
			return "drop class";
		if (p->drop.key.direction > SONDE_TCP_DIRECTION_TX)
			return "direction";
		if (p->drop.key.event >= SONDE_TCP_EVENT_MAX)
			return "event";
		if (p->drop.key.where >= SONDE_TCP_WHERE_MAX)
			return "where";
		return TERMINATED(p->drop.reason) && TERMINATED(p->drop.site) ? NULL : no_nul;
	case SONDE_PROBE_PROCESS:
		return p->process.state <= SONDE_PROBE_PROCESS_EXITED ? NULL : "process state";
	case SONDE_PROBE_COST:
		return TERMINATED(p->cost.name) ? NULL : no_nul;
	case SONDE_PROBE_PROBE:
		return probe_fault(&p->probe);
	case SONDE_PROBE_PID:
		return p->pids.n <= ELEMENTS_OF(p->pids.pid) ? NULL : "pids";
	case SONDE_PROBE_EXE_PATH:
		return TERMINATED(p->exe.path) && TERMINATED(p->exe.comm) ? NULL : no_nul;
	case SONDE_PROBE_FLOW:
		if (p->flow.n > SONDE_PROBE_FLOW_CHUNK)
			return "flows";
		for (unsigned int i = 0; i < p->flow.n; i++)
			if (flow_fault(&p->flow.flow[i]))
				return flow_fault(&p->flow.flow[i]);
		return NULL;
	case SONDE_PROBE_FLOW_REST:
		if (p->flow_rest.key.open > 1)
			return "open";
		return role_fault(p->flow_rest.key.role);
	case SONDE_PROBE_TASK_ENDED:
		if (p->task_ended.task >= SONDE_PROBE_TASKS_MAX)
			return "task slot";
		return TERMINATED(p->task_ended.reason) ? NULL : no_nul;
	default:
		return NULL;
	}
}

static const char *reply_fault(const struct sonde_probe_reply *p, size_t n)
{
	bool unasked;

	if (n != sizeof(*p))
		return "size";
	if (p->version != SONDE_PROBE_VERSION)
		return "version";
	if (p->type == 0 || p->type >= _SONDE_PROBE_REPLY_MAX)
		return "type";
	unasked = p->type == SONDE_PROBE_HELLO || p->type == SONDE_PROBE_TASK_ENDED;
	if (unasked != (p->id == 0))
		return "id";
	return body_fault(p);
}

int sonde_probe_reply_check(const struct sonde_probe_reply *reply, size_t n, const char **ret_why)
{
	const char *fault;

	assert(reply && ret_why);

	fault = reply_fault(reply, n);
	if (!fault)
		return 0;
	*ret_why = fault;
	return -EBADMSG;
}
