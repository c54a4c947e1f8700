/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/policies/view.h"

#include <stdio.h>
#include <string.h>

#include "backend/json.h"

static json_t *last_json(const struct sonde_policy_record *r)
{
	return r->last_ms ? json_pack("{s:o, s:o, s:o}", "at", sonde_json_time(r->last_ms), "task",
				      sonde_json_text_or_null(r->task), "words",
				      sonde_json_text(r->words))
			  : json_null();
}

static json_t *thresholds_json(const struct sonde_policy *p)
{
	const struct sonde_policy_record *r = &p->thresholds;

	return json_pack("{s:I, s:I, s:I, s:o}", "tasks", sonde_json_count(r->tasks), "refused",
			 sonde_json_count(r->refused), "skipped", sonde_json_count(r->skipped),
			 "last", last_json(r));
}

static json_t *schedules_json(const struct sonde_policy *p, int64_t now_ms)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < p->n_schedules; i++) {
		const struct sonde_policy_schedule *s = &p->schedules[i];
		const struct sonde_policy_record *r = &s->record;
		int64_t from_ms = s->due_ms > now_ms ? s->due_ms : now_ms;
		json_t *row = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:o}", "name", s->name,
					"next", sonde_json_time(sonde_when_next(&s->when, from_ms)),
					"tasks", sonde_json_count(r->tasks), "refused",
					sonde_json_count(r->refused), "skipped",
					sonde_json_count(r->skipped), "missed",
					sonde_json_count(r->missed), "last", last_json(r));

		if (sonde_json_append(list, row) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

static bool watches(const struct sonde_policy_watcher *w, int64_t now_ms)
{
	return now_ms - w->seen_ms <= SONDE_POLICY_WATCHES_MS;
}

static json_t *agents_json(const struct sonde_policy *p, int64_t now_ms)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < p->n_watchers; i++) {
		const struct sonde_policy_watcher *w = &p->watchers[i];

		if (watches(w, now_ms) &&
		    sonde_json_append(list, json_pack("{s:o, s:b, s:o}", "agent_id",
						      sonde_json_text_or_null(w->agent_id),
						      "current", (int)w->current, "asked",
						      sonde_json_time(w->seen_ms))) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

static bool is_http(const json_t *checker)
{
	return strncmp(sonde_json_get_text(checker, "type", ""), "HTTP_", 5) == 0;
}

/* Whether sonde-agent can watch any of it: HTTP is not observed. */
static bool has_own(const json_t *target)
{
	const json_t *list = json_object_get(target, "checkers");

	for (size_t i = 0; i < json_array_size(list); i++) {
		if (!is_http(json_array_get(list, i)))
			return true;
	}
	return false;
}

static size_t live_processes(struct sonde_backend *b, const char *service, int64_t now_ms)
{
	size_t n = 0;

	for (struct sonde_process *p = sonde_registry_processes(b->registry); p; p = p->hh.next)
		n += strcmp(p->service, service) == 0 && sonde_process_live(p, now_ms);
	return n;
}

/* What its thresholds wait for, for people. */
static void state_words(struct sonde_backend *b, const struct sonde_policy *p, int64_t now_ms,
			char *ret, size_t size)
{
	const json_t *network = sonde_policy_target(p->document, SONDE_POLICY_NETWORK);
	const size_t processes = live_processes(b, p->service, now_ms);
	size_t n = 0;

	for (size_t i = 0; i < p->n_watchers; i++)
		n += p->watchers[i].current && watches(&p->watchers[i], now_ms);
	if (processes == 0)
		(void)snprintf(ret, size, "no live process of this service is reported");
	else if (json_array_size(json_object_get(p->document, "policy")) == 0)
		(void)snprintf(ret, size, "no threshold, only schedules");
	else if (!network)
		(void)snprintf(ret, size, "not watched: only NETWORK tasks are made here");
	else if (n == 0)
		(void)snprintf(ret, size, "no agent has taken it yet, they ask every 10 s");
	else if (!has_own(network))
		(void)snprintf(ret, size, "not watched by sonde-agent: HTTP is not observed");
	else
		(void)snprintf(ret, size, "watched by %zu agent%s, %zu process%s%s", n,
			       n == 1 ? "" : "s", processes, processes == 1 ? "" : "es",
			       p->thresholds.last_ms ? "" : "; no threshold was passed yet");
}

json_t *sonde_view_policy(struct sonde_backend *b, const struct sonde_policy *p, int64_t now_ms)
{
	char words[128];

	state_words(b, p, now_ms, words, sizeof(words));
	return json_pack("{s:s, s:o, s:o, s:s, s:O, s:o, s:o, s:o}", "service", p->service,
			 "changed", sonde_json_time(p->changed_ms), "uuid",
			 sonde_json_text_or_null(p->uuid), "words", words, "document", p->document,
			 "agents", agents_json(p, now_ms), "thresholds", thresholds_json(p),
			 "schedules", schedules_json(p, now_ms));
}

json_t *sonde_view_policies(struct sonde_backend *b, int64_t now_ms)
{
	_cleanup_json_ json_t *list = json_array();

	for (const struct sonde_policy *p = sonde_policies_first(b->policies); list && p;
	     p = p->hh.next) {
		if (sonde_json_append(list, sonde_view_policy(b, p, now_ms)) < 0)
			return NULL;
	}
	return json_pack("{s:O}", "policies", list);
}
