/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/ledger.h"

#include <string.h>

#include "backend/json.h"
#include "base/num.h"

/* Runs of its programs: each is something that it saw. -1: not told yet. */
static int64_t count_runs(const struct sonde_task_agent *a)
{
	const json_t *programs = json_object_get(a->cost, "programs");
	int64_t runs = 0;

	if (json_array_size(programs) == 0)
		return -1;
	for (size_t i = 0; i < json_array_size(programs); i++)
		runs = sonde_add_i64(runs,
				     sonde_json_get_int(json_array_get(programs, i), "runs", 0));
	return runs;
}

/* Connections that no row tells of: only in the sums of them. -1: it tells none at all. */
static int64_t count_summed(const struct sonde_task_agent *a)
{
	static const char *const rests[] = {"ended_rest", "open_rest", "kept"};
	int64_t n = 0;

	if (!a->flows)
		return -1;
	for (size_t i = 0; i < ELEMENTS_OF(rests); i++)
		n = sonde_add_i64(n, sonde_json_get_int(json_object_get(a->flows, rests[i]),
							"connections", 0));
	return n;
}

struct sums {
	int64_t lost, noted;
	const char *first, *last; /* of what was lost; borrowed; NULL: not known */
};

static void add_ledger(const json_t *ledger, struct sums *s)
{
	for (size_t i = 0; i < json_array_size(ledger); i++) {
		const json_t *e = json_array_get(ledger, i);
		const char *first = json_string_value(json_object_get(e, "first_seen"));
		const char *last = json_string_value(json_object_get(e, "last_seen"));
		int64_t n = sonde_json_get_int(e, "count", 0);

		if (!json_is_true(json_object_get(e, "weakens"))) {
			s->noted = sonde_add_i64(s->noted, n);
			continue;
		}
		s->lost = sonde_add_i64(s->lost, n);
		/* all of one form, so that text is in the order of time */
		if (first && (!s->first || strcmp(first, s->first) < 0))
			s->first = first;
		if (last && (!s->last || strcmp(last, s->last) > 0))
			s->last = last;
	}
}

static json_t *or_null(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

static json_t *agent_json(const struct sonde_task_agent *a)
{
	struct sums s = {0};

	add_ledger(a->ledger, &s);
	return json_pack("{s:s, s:o, s:I, s:I, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?}",
			 "agent_id", a->id, "hook_runs", or_null(count_runs(a)), "lost",
			 (json_int_t)s.lost, "noted", (json_int_t)s.noted, "sampled_one_in", 1,
			 "connections_summed", or_null(count_summed(a)), "reports_received",
			 (json_int_t)a->sequences.received, "reports_missing",
			 (json_int_t)sonde_ranges_missing(&a->sequences), "reports_duplicate",
			 (json_int_t)a->duplicates, "reports_refused", (json_int_t)a->refused,
			 "late_ms", (json_int_t)a->late_ms, "first_lost", s.first, "last_lost",
			 s.last);
}

json_t *sonde_ledger_agents(const struct sonde_task *t)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < t->n_agents; i++) {
		if (sonde_json_append(list, agent_json(t->agents[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}
