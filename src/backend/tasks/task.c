/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/task.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"

#define RECONNECT_MS 15000
/*
 * How long an agent that is there and holds reports is waited for behind its last one. It sends the oldest first, and
 * never says whose they are: an agent that was killed again and again holds some at each look.
 */
#define HOLDS_MS 60000

static void set_text(char *dst, size_t size, const char *text)
{
	(void)snprintf(dst, size, "%s", text ? text : "");
}

int sonde_task_new(struct sonde_spec **spec, int64_t now_ms, struct sonde_task **ret)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = calloc(1, sizeof(*t));
	json_t *entry;

	if (!t)
		return -ENOMEM;
	t->created_ms = now_ms;
	entry = json_pack("{s:s, s:o, s:s}", "state", sonde_task_state_name(t->state), "at",
			  sonde_json_time(now_ms), "words",
			  "stored, waits for an agent to take it");
	t->states = json_array();
	if (!t->states || json_array_append_new(t->states, entry) < 0)
		return -ENOMEM;
	t->spec = TAKE_PTR(*spec);
	*ret = TAKE_PTR(t);
	return 0;
}

static void agent_free(struct sonde_task_agent *a)
{
	json_decref(a->targets);
	json_decref(a->probes);
	json_decref(a->ledger);
	json_decref(a->cost);
	json_decref(a->absent);
	json_decref(a->namespaces);
	json_decref(a->idle_proof);
	json_decref(a->flows);
	free(a);
}

struct sonde_task *sonde_task_free(struct sonde_task *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_agents; i++)
		agent_free(t->agents[i]);
	free(t->agents);
	json_decref(t->states);
	json_decref(t->trigger);
	sonde_refusals_done(&t->refusals);
	(void)sonde_spec_free(t->spec);
	free(t);
	return NULL;
}

struct sonde_task_agent *sonde_task_find_agent(const struct sonde_task *t, const char *agent_id)
{
	for (size_t i = 0; i < t->n_agents; i++) {
		if (strcmp(t->agents[i]->id, agent_id) == 0)
			return t->agents[i];
	}
	return NULL;
}

int sonde_task_add_agent(struct sonde_task *t, const char *agent_id, struct sonde_task_agent **ret)
{
	struct sonde_task_agent *a = sonde_task_find_agent(t, agent_id);
	struct sonde_task_agent **more;

	if (a) {
		*ret = a;
		return 0;
	}
	if (t->n_agents == SONDE_TASK_AGENTS_MAX)
		return -ENOSPC;
	more = realloc(t->agents, (t->n_agents + 1) * sizeof(struct sonde_task_agent *));
	if (!more)
		return -ENOMEM;
	t->agents = more;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	set_text(a->id, sizeof(a->id), agent_id);
	t->agents[t->n_agents++] = a;
	*ret = a;
	return 0;
}

/* Progress of a state that is not final. One agent still running keeps the task running. */
static int rank(enum sonde_task_state s)
{
	switch (s) {
	case SONDE_TASK_ACCEPTED:
		return 0;
	case SONDE_TASK_PLANNED:
		return 1;
	case SONDE_TASK_ATTACHING:
		return 2;
	case SONDE_TASK_RUNNING:
		return 3;
	case SONDE_TASK_DRAINING:
		return 4;
	default:
		return 5;
	}
}

/* Of several ends the one that a person should hear: what was measured counts before what was not. */
static int end_weight(enum sonde_task_state s)
{
	switch (s) {
	case SONDE_TASK_DONE:
		return 5;
	case SONDE_TASK_STOPPED:
		return 4;
	case SONDE_TASK_FAILED:
		return 3;
	case SONDE_TASK_REFUSED:
		return 2;
	default:
		return 1;
	}
}

/* The state that all agents together make; @ret_from is the agent that decided. */
static enum sonde_task_state derive(const struct sonde_task *t,
				    const struct sonde_task_agent **ret_from)
{
	const struct sonde_task_agent *open = NULL, *end = NULL;
	bool began = false;

	for (size_t i = 0; i < t->n_agents; i++) {
		const struct sonde_task_agent *a = t->agents[i];

		if (sonde_task_state_final(a->state)) {
			began = began || a->started_ms > 0;
			if (!end || end_weight(a->state) > end_weight(end->state))
				end = a;
		} else if (!open || a->state == SONDE_TASK_RUNNING ||
			   (open->state != SONDE_TASK_RUNNING &&
			    rank(a->state) > rank(open->state))) {
			open = a;
		}
	}
	*ret_from = open ? open : end;
	if (!open)
		return end ? end->state : t->state;
	/* One agent is done, another has not begun: the task as a whole has been running all along. */
	if (began && rank(open->state) < rank(SONDE_TASK_RUNNING))
		return SONDE_TASK_RUNNING;
	return open->state;
}

/*
 * Where an entry of @at belongs: behind all that is not later. The first one, of the server's own clock, stays first; an
 * end stays last, whatever the clocks of several agents say.
 */
static size_t place_of(const struct sonde_task *t, const char *at)
{
	size_t n = json_array_size(t->states);

	while (!sonde_task_state_final(t->state) && n > 1 &&
	       strcmp(sonde_json_get_text(json_array_get(t->states, n - 1), "at", ""), at) > 0)
		n--;
	return n;
}

static void add_to_time_line(struct sonde_task *t, int64_t at_ms, const char *words)
{
	json_t *entry = json_pack("{s:s, s:o, s:o}", "state", sonde_task_state_name(t->state), "at",
				  sonde_json_time(at_ms), "words", sonde_json_text(words));

	/* Short of memory, or with a full line, the last entry is what a person needs. */
	if (entry && json_array_size(t->states) >= SONDE_TASK_STATES_MAX)
		(void)json_array_set_new(t->states, json_array_size(t->states) - 1, entry);
	else if (entry)
		(void)json_array_insert_new(
			t->states, place_of(t, sonde_json_get_text(entry, "at", "")), entry);
}

/* What the server had concluded of this agent turned out to be wrong. */
static void take_back(struct sonde_task *t, const struct sonde_task_agent *a)
{
	for (size_t i = json_array_size(t->states); i > 1; i--) {
		const json_t *entry = json_array_get(t->states, i - 1);
		const char *state = sonde_json_get_text(entry, "state", "");

		if (strcmp(state, sonde_task_state_name(a->state)) == 0 &&
		    strcmp(sonde_json_get_text(entry, "words", ""), a->words) == 0) {
			(void)json_array_remove(t->states, i - 1);
			return;
		}
	}
}

static void follow_agents(struct sonde_task *t, int64_t at_ms)
{
	const struct sonde_task_agent *from = NULL;
	enum sonde_task_state state = derive(t, &from);

	if (!from || state == t->state)
		return;
	t->state = state;
	if (state == SONDE_TASK_RUNNING && t->started_ms == 0)
		t->started_ms = at_ms;
	t->ended_ms = sonde_task_state_final(state) ? at_ms : 0;
	if (sonde_task_state_final(state) || from->words[0] != '\0')
		set_text(t->reason, sizeof(t->reason), from->words);
	set_text(t->reason_code, sizeof(t->reason_code),
		 sonde_task_state_final(state) ? from->reason_code : "");
	add_to_time_line(t, at_ms, from->words);
}

int sonde_task_move(struct sonde_task *t, struct sonde_task_agent *a, enum sonde_task_state state,
		    int64_t at_ms, const char *words, bool inferred)
{
	bool final = sonde_task_state_final(a->state);

	if (state == a->state && inferred == a->inferred)
		return 0;
	if (final && (!a->inferred || inferred))
		return 0;
	if (!final && rank(state) <= rank(a->state))
		return 0;
	if (final)
		take_back(t, a);
	a->state = state;
	a->inferred = inferred;
	set_text(a->words, sizeof(a->words), words);
	if (state == SONDE_TASK_RUNNING && a->started_ms == 0)
		a->started_ms = at_ms;
	follow_agents(t, at_ms);
	return 1;
}

int64_t sonde_task_agent_end_ms(const struct sonde_task *t, const struct sonde_task_agent *a)
{
	int64_t start = t->spec->start_wall_ms > 0 ? t->spec->start_wall_ms : t->created_ms;

	/* A task that is to start now starts when its agent has it. */
	if (a && t->spec->start_wall_ms == 0 && a->handed_out_ms > start)
		start = a->handed_out_ms;
	if (a && a->started_ms > start)
		start = a->started_ms;
	return start + t->spec->duration_ms;
}

int64_t sonde_task_take_until_ms(const struct sonde_task *t, const struct sonde_task_agent *a,
				 int64_t grace_ms)
{
	return sonde_task_agent_end_ms(t, a) + (t->spec->start_wall_ms == 0 ? grace_ms : 0);
}

int64_t sonde_task_end_ms(const struct sonde_task *t)
{
	int64_t end = sonde_task_agent_end_ms(t, NULL);

	for (size_t i = 0; i < t->n_agents; i++) {
		int64_t e = sonde_task_agent_end_ms(t, t->agents[i]);

		end = e > end ? e : end;
	}
	return end;
}

static int tick_agent(struct sonde_task *t, struct sonde_task_agent *a,
		      const struct sonde_task_clock *clock)
{
	bool over = clock->now_ms > sonde_task_agent_end_ms(t, a) + clock->grace_ms;
	bool answered = a->last_report_ms > 0;
	char words[SONDE_TASK_WORDS_MAX];
	int64_t seen, reported;

	if (sonde_task_state_final(a->state))
		return 0;
	if (!answered && over) {
		(void)snprintf(words, sizeof(words),
			       "agent %.64s did not take the task before its end%s", a->id,
			       a->handed_out_ms ? ": it was handed out, but no report came" : "");
		return sonde_task_move(t, a, SONDE_TASK_EXPIRED, clock->now_ms, words, true);
	}
	/* Time for it to connect again, if only the connection was lost. */
	seen = clock->agent_seen_ms(clock->ctx, a->id);
	if (!answered && clock->agent_left && clock->agent_left(clock->ctx, a->id) &&
	    clock->now_ms - seen > RECONNECT_MS) {
		(void)snprintf(words, sizeof(words),
			       "agent %.64s is gone: its connection ended before it answered",
			       a->id);
		return sonde_task_move(t, a, SONDE_TASK_FAILED, clock->now_ms, words, true);
	}
	/* Also one that was handed the task and never answered: it is handed out to nobody any more. */
	if (t->stop_asked && clock->now_ms > t->stop_asked_ms + clock->grace_ms &&
	    clock->now_ms > a->last_report_ms + clock->grace_ms) {
		(void)snprintf(words, sizeof(words),
			       "stopped (%.128s), but agent %.64s did not confirm it",
			       t->stop_reason, a->id);
		return sonde_task_move(t, a, SONDE_TASK_STOPPED, clock->now_ms, words, true);
	}
	if (!answered)
		return 0;
	reported = a->last_report_ms > clock->since_ms ? a->last_report_ms : clock->since_ms;
	seen = seen > reported ? seen : reported;
	if (!over && clock->now_ms - seen <= clock->silent_ms)
		return 0;
	if (over && clock->now_ms - reported <= clock->grace_ms)
		return 0; /* late, but still talking */
	if (clock->now_ms - reported <= clock->grace_ms + HOLDS_MS && clock->agent_holds &&
	    clock->agent_holds(clock->ctx, a->id))
		return 0;
	(void)snprintf(
		words, sizeof(words),
		"agent %.64s vanished: no report for %lld s; what came before is kept, what it "
		"still holds is taken when it comes back",
		a->id, (long long)((clock->now_ms - a->last_report_ms) / 1000));
	return sonde_task_move(t, a, SONDE_TASK_FAILED, clock->now_ms, words, true);
}

int sonde_task_tick(struct sonde_task *t, const struct sonde_task_clock *clock)
{
	int moved = 0;

	for (size_t i = 0; i < t->n_agents; i++)
		moved |= tick_agent(t, t->agents[i], clock);
	return moved;
}

void sonde_task_stop(struct sonde_task *t, int64_t now_ms, const char *reason)
{
	char words[SONDE_TASK_WORDS_MAX];

	if (t->stop_asked)
		return;
	t->stop_asked = true;
	t->stop_asked_ms = now_ms;
	set_text(t->stop_reason, sizeof(t->stop_reason), reason);
	(void)snprintf(words, sizeof(words), "stopped before any agent took it: %.200s", reason);
	for (size_t i = 0; i < t->n_agents; i++) {
		struct sonde_task_agent *a = t->agents[i];

		if (a->handed_out_ms == 0 && a->last_report_ms == 0)
			(void)sonde_task_move(t, a, SONDE_TASK_STOPPED, now_ms, words, true);
	}
}

static bool ledger_weakens(const json_t *ledger)
{
	for (size_t i = 0; i < json_array_size(ledger); i++) {
		const json_t *e = json_array_get(ledger, i);

		if (json_is_true(json_object_get(e, "weakens")) &&
		    sonde_json_get_int(e, "count", 0) > 0)
			return true;
	}
	return false;
}

bool sonde_task_complete(const struct sonde_task *t)
{
	bool any = false;

	if (t->series_refused > 0 || t->rules_failed > 0)
		return false;
	for (size_t i = 0; i < t->n_agents; i++) {
		const struct sonde_task_agent *a = t->agents[i];

		any = any || a->last_report_ms > 0;
		if (ledger_weakens(a->ledger) || a->dropped_history || a->refused > 0 ||
		    sonde_ranges_missing(&a->sequences) > 0)
			return false;
		if (sonde_task_state_final(t->state) && !a->ended)
			return false;
	}
	return any;
}

void sonde_task_count_reports(const struct sonde_task *t, struct sonde_task_reports *ret)
{
	*ret = (struct sonde_task_reports){.duplicates = t->batch_duplicates};
	for (size_t i = 0; i < t->n_agents; i++) {
		const struct sonde_task_agent *a = t->agents[i];
		uint64_t highest = sonde_ranges_highest(&a->sequences);

		ret->sequence = highest > ret->sequence ? highest : ret->sequence;
		ret->received += a->sequences.received;
		ret->duplicates += a->duplicates;
		ret->missing += sonde_ranges_missing(&a->sequences) + a->refused;
		ret->late_ms = a->late_ms > ret->late_ms ? a->late_ms : ret->late_ms;
	}
}
