/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/policies/document.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/utf8.h"

const char *const sonde_policy_types[] = {"ON_CPU", "OFF_CPU", SONDE_POLICY_NETWORK};
_Static_assert(ELEMENTS_OF(sonde_policy_types) == SONDE_POLICY_TYPES, "a name for each type");

static const char *const monitors[] = {
	[SONDE_POLICY_PROCESS_CPU] = "PROCESS_CPU",
	[SONDE_POLICY_PROCESS_THREAD_COUNT] = "PROCESS_THREAD_COUNT",
	[SONDE_POLICY_SYSTEM_LOAD] = "SYSTEM_LOAD",
	[SONDE_POLICY_HTTP_ERROR_RATE] = "HTTP_ERROR_RATE",
	[SONDE_POLICY_HTTP_AVG_RESPONSE_TIME] = "HTTP_AVG_RESPONSE_TIME",
};
_Static_assert(ELEMENTS_OF(monitors) == _SONDE_POLICY_MONITOR_MAX, "a name for each monitor");

const char *sonde_policy_monitor_name(enum sonde_policy_monitor m)
{
	assert((unsigned)m < _SONDE_POLICY_MONITOR_MAX);

	return monitors[m];
}

/* Where in the document it is read: "policy[0].checkers[1]". */
struct place {
	struct sonde_problem *problem;
	const char *service;
	int64_t now_ms, max_duration_ms;
	char path[64];
};

static int refuse(const struct place *at, const char *key, const char *words)
{
	char field[sizeof(at->problem->field)];

	(void)snprintf(field, sizeof(field), "%s%s%s", at->path, at->path[0] && key[0] ? "." : "",
		       key);
	return sonde_problem_set(at->problem, 400, field[0] ? field : NULL, "%s%s%s", field,
				 field[0] ? ": " : "", words);
}

static int index_of(const char *text, const char *const *list, size_t n)
{
	for (size_t i = 0; text && i < n; i++) {
		if (strcmp(text, list[i]) == 0)
			return (int)i;
	}
	return -1;
}

/* "type, threshold and period" is for people: @known is said whole. */
static int refuse_unknown(const struct place *at, const json_t *object, const char *const *known,
			  size_t n_known)
{
	char words[200] = "no such key, known here are";
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (index_of(key, known, n_known) >= 0)
			continue;
		for (size_t i = 0; i < n_known; i++) {
			size_t n = strlen(words);

			(void)snprintf(words + n, sizeof(words) - n, "%s %s", i ? "," : "",
				       known[i]);
		}
		return refuse(at, key, words);
	}
	return 0;
}

/* *@ret: "" where it is missing or null. Borrowed. */
static int get_text(const struct place *at, const json_t *object, const char *key, size_t size,
		    const char **ret)
{
	const json_t *j = json_object_get(object, key);
	const char *text = json_string_value(j);
	char words[64];

	*ret = text ? text : "";
	if (!j || json_is_null(j))
		return 0;
	if (!text || strlen(text) != json_string_length(j) || sonde_has_control(text))
		return refuse(at, key, "must be a string without control characters");
	(void)snprintf(words, sizeof(words), "at most %zu bytes", size - 1);
	return strlen(text) < size ? 0 : refuse(at, key, words);
}

/* swctl writes a number where the file has one without quotes, and so does a person. */
static bool get_number(const json_t *object, const char *key, int64_t *ret)
{
	const json_t *j = json_object_get(object, key);

	if (json_is_integer(j)) {
		*ret = json_integer_value(j);
		return *ret >= INT32_MIN && *ret <= INT32_MAX;
	}
	return json_is_string(j) &&
	       sonde_parse_i64(json_string_value(j), INT32_MIN, INT32_MAX, ret) == 0;
}

/* --- the task that it leads to --- */

/* A problem of the TaskSpec in the terms of the file. */
static int tell_spec(const struct place *at, const struct sonde_problem *p)
{
	const char *words = p->detail;
	char key[sizeof(p->field) + 8];

	if (p->field[0] && strncmp(words, p->field, strlen(p->field)) == 0)
		words += strlen(p->field) + strspn(words + strlen(p->field), ": ");
	if (strcmp(p->field, "preset") == 0)
		return refuse(at, "preset", words);
	if (strcmp(p->field, "durationMs") == 0)
		return refuse(at, "duration", words);
	(void)snprintf(key, sizeof(key), "spec%s%s", p->field[0] ? "." : "", p->field);
	return refuse(at, key, words);
}

static int try_spec(const struct place *at, const json_t *entry)
{
	_cleanup_json_ json_t *targets = json_pack("[{s:s}]", "service", at->service);
	_cleanup_json_ json_t *body = NULL;
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	struct sonde_problem problem = {0};
	int r;

	body = targets ? sonde_policy_task_body(entry, targets, "", SONDE_POLICY_TASK_MS, INT64_MAX)
		       : NULL;
	if (!body)
		return -ENOMEM;
	/* Without a duration of its own it takes what is allowed. */
	if (!json_object_get(entry, "duration") &&
	    json_object_set_new(body, "durationMs", json_integer(SONDE_TASK_DURATION_MIN_MS)) < 0)
		return -ENOMEM;
	r = sonde_spec_parse(body, at->now_ms, at->max_duration_ms, false, &spec, &problem);
	return r == -EINVAL ? tell_spec(at, &problem) : r;
}

static int copy_spec(const struct place *at, const json_t *from, json_t *to)
{
	static const char *const ours[] = {"id",	 "name",	"preset",
					   "targets",	 "startWallMs", "start_wall_ms",
					   "durationMs", "duration_ms", "createdBy",
					   "created_by"};
	const json_t *spec = json_object_get(from, "spec");
	const char *key;
	json_t *value;

	if (!spec || json_is_null(spec))
		return 0;
	if (!json_is_object(spec))
		return refuse(at, "spec", "must be an object");
	json_object_foreach((json_t *)spec, key, value)
	{
		char field[64];

		if (index_of(key, ours, ELEMENTS_OF(ours)) < 0)
			continue;
		(void)snprintf(field, sizeof(field), "spec.%.40s", key);
		return refuse(at, field, "is not for a policy to say here");
	}
	return sonde_json_set(to, "spec", json_deep_copy(spec));
}

/* preset, duration, spec of @from, checked, into @to. */
static int copy_task(const struct place *at, const json_t *from, json_t *to)
{
	const char *preset, *duration;
	uint64_t ns = SONDE_NS_PER_S;
	int r;

	r = get_text(at, from, "preset", 64, &preset);
	if (r == 0)
		r = get_text(at, from, "duration", 32, &duration);
	if (r == 0 && duration[0] &&
	    (sonde_parse_duration_ns(duration, &ns) < 0 || ns % SONDE_NS_PER_MS))
		r = refuse(at, "duration", "expected a duration such as 5m or 90s");
	if (r == 0 && preset[0])
		r = sonde_json_set(to, "preset", json_string(preset));
	if (r == 0 && duration[0])
		r = sonde_json_set(to, "duration", json_string(duration));
	if (r == 0)
		r = copy_spec(at, from, to);
	return r < 0 ? r : try_spec(at, to);
}

json_t *sonde_policy_task_body(const json_t *entry, const json_t *targets, const char *name,
			       int64_t fallback_ms, int64_t max_duration_ms)
{
	const char *preset = sonde_json_get_text(entry, "preset", "network");
	const json_t *spec = json_object_get(entry, "spec");
	_cleanup_json_ json_t *body = spec ? json_deep_copy(spec) : json_object();
	int64_t ms = fallback_ms < max_duration_ms ? fallback_ms : max_duration_ms;
	uint64_t ns = 0;

	if (sonde_parse_duration_ns(sonde_json_get_text(entry, "duration", ""), &ns) == 0 && ns)
		ms = (int64_t)(ns / SONDE_NS_PER_MS);
	if (!body || json_object_set_new(body, "preset", json_string(preset)) < 0 ||
	    json_object_set_new(body, "durationMs", json_integer(ms)) < 0 ||
	    json_object_set_new(body, "name", sonde_json_text(name)) < 0 ||
	    json_object_set_new(body, "createdBy", json_string("policy")) < 0 ||
	    json_object_set(body, "targets", (json_t *)targets) < 0)
		return NULL;
	return TAKE_PTR(body);
}

/* --- thresholds --- */

/* OAP's words of a threshold that it refuses, NULL: it takes it. */
static const char *threshold_fault(enum sonde_policy_monitor m, int64_t n)
{
	switch (m) {
	case SONDE_POLICY_PROCESS_CPU:
		return n > 0 && n <= 100 ? NULL : "the process CPU percent should be in (0-100]";
	case SONDE_POLICY_PROCESS_THREAD_COUNT:
		return n > 0 ? NULL : "the process thread count must be bigger than zero";
	case SONDE_POLICY_SYSTEM_LOAD:
		return n > 0 ? NULL : "the system load must be bigger than zero";
	case SONDE_POLICY_HTTP_ERROR_RATE:
		return n > 0 && n <= 100 ? NULL : "the HTTP error rate should be in (0-100]";
	default:
		return n > 0 ? NULL : "the HTTP average response time must be bigger than zero";
	}
}

static int refuse_checker(const struct place *at, const char *key, const char *monitor,
			  const char *type, const char *fault)
{
	char words[200];

	(void)snprintf(words, sizeof(words), "check %s in %s error: %s", monitor, type, fault);
	return refuse(at, key, words);
}

static int copy_uris(const struct place *at, const json_t *from, json_t *to)
{
	const json_t *list = json_object_get(from, "uriList");
	const char *regex;
	int r;

	if (list && !json_is_null(list)) {
		if (!json_is_array(list) || json_array_size(list) > SONDE_POLICY_URIS_MAX)
			return refuse(at, "uriList", "must be a list of at most 16 paths");
		for (size_t i = 0; i < json_array_size(list); i++) {
			const char *text = json_string_value(json_array_get(list, i));

			if (!text || !text[0] || strlen(text) >= SONDE_POLICY_URI_MAX ||
			    strlen(text) != json_string_length(json_array_get(list, i)) ||
			    sonde_has_control(text))
				return refuse(at, "uriList",
					      "each must be a string of 1 to 255 bytes");
		}
		r = sonde_json_set(to, "uriList", json_deep_copy(list));
		if (r < 0)
			return r;
	}
	r = get_text(at, from, "uriRegex", SONDE_POLICY_URI_MAX, &regex);
	if (r == 0 && regex[0])
		r = sonde_json_set(to, "uriRegex", json_string(regex));
	return r;
}

/* OAP's words of what it refuses, in its order, and ours of a longer period. @ret_key: what is to blame. NULL: all is well. */
static const char *checker_fault(const json_t *from, enum sonde_policy_monitor m,
				 int64_t ret[static 3], const char **ret_key)
{
	int64_t *threshold = &ret[0], *period = &ret[1], *count = &ret[2];

	*ret_key = "period";
	if (!get_number(from, "period", period) || *period <= 0)
		return "period must be bigger than zero";
	*ret_key = "count";
	if (!get_number(from, "count", count) || *count <= 0)
		return "count must be bigger than zero";
	if (*count > *period)
		return "count must be equal to or smaller than period";
	*ret_key = "period";
	if (*period > SONDE_POLICY_PERIOD_MAX)
		return "period must be 1024 seconds at most";
	*ret_key = "threshold";
	return get_number(from, "threshold", threshold) ? threshold_fault(m, *threshold)
							: "parsing threshold error";
}

/* Which monitor, once in each type. Return: it, or -EINVAL. */
static int read_monitor(const struct place *at, const char *type, const json_t *from,
			unsigned *seen)
{
	const char *name = json_string_value(json_object_get(from, "type"));
	int m = index_of(name, monitors, ELEMENTS_OF(monitors));
	char words[120];

	if (m < 0)
		return refuse(at, "type",
			      "expected PROCESS_CPU, PROCESS_THREAD_COUNT, SYSTEM_LOAD, "
			      "HTTP_ERROR_RATE or HTTP_AVG_RESPONSE_TIME");
	if (*seen & 1U << m) {
		(void)snprintf(words, sizeof(words), "contains multiple same monitor type %s in %s",
			       monitors[m], type);
		return refuse(at, "type", words);
	}
	*seen |= 1U << m;
	return m;
}

static int copy_checker(const struct place *at, const char *type, const json_t *from,
			unsigned *seen, json_t *list)
{
	static const char *const known[] = {"type",  "threshold", "period",
					    "count", "uriList",	  "uriRegex"};
	_cleanup_json_ json_t *to = NULL;
	const char *key, *fault;
	int64_t n[3] = {0};
	char text[24];
	int m, r;

	if (!json_is_object(from))
		return refuse(at, "", "must be an object");
	r = refuse_unknown(at, from, known, ELEMENTS_OF(known));
	if (r < 0)
		return r;
	m = read_monitor(at, type, from, seen);
	if (m < 0)
		return m;
	fault = checker_fault(from, (enum sonde_policy_monitor)m, n, &key);
	if (fault)
		return refuse_checker(at, key, monitors[m], type, fault);
	(void)snprintf(text, sizeof(text), "%lld", (long long)n[0]);
	to = json_pack("{s:s, s:s, s:I, s:I}", "type", monitors[m], "threshold", text, "period",
		       (json_int_t)n[1], "count", (json_int_t)n[2]);
	r = to ? copy_uris(at, from, to) : -ENOMEM;
	return r < 0 ? r : sonde_json_append(list, json_incref(to));
}

static int copy_checkers(struct place *at, const char *type, const json_t *from, json_t *to)
{
	const json_t *list = json_object_get(from, "checkers");
	_cleanup_json_ json_t *copy = json_array();
	const size_t n = strlen(at->path);
	unsigned seen = 0;
	int r = copy ? 0 : -ENOMEM;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return refuse(at, "checkers", "a list of at least one is needed");
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
		(void)snprintf(at->path + n, sizeof(at->path) - n, ".checkers[%zu]", i);
		r = copy_checker(at, type, json_array_get(list, i), &seen, copy);
		if (r == 0)
			at->path[n] = '\0';
	}
	return r < 0 ? r : sonde_json_set(to, "checkers", json_incref(copy));
}

static int copy_target(struct place *at, const json_t *from, unsigned *seen, json_t *list)
{
	static const char *const known[] = {"type", "checkers", "preset", "duration", "spec"};
	const char *name = json_string_value(json_object_get(from, "type"));
	int type = index_of(name, sonde_policy_types, SONDE_POLICY_TYPES), r;
	_cleanup_json_ json_t *to = json_object();

	if (!to)
		return -ENOMEM;
	if (!json_is_object(from))
		return refuse(at, "", "must be an object");
	r = refuse_unknown(at, from, known, ELEMENTS_OF(known));
	if (r < 0)
		return r;
	if (type < 0)
		return refuse(at, "type", "expected ON_CPU, OFF_CPU or NETWORK");
	if (*seen & 1U << type) {
		char words[80];

		(void)snprintf(words, sizeof(words), "contains multiple same target type: %s",
			       sonde_policy_types[type]);
		return refuse(at, "type", words);
	}
	*seen |= 1U << type;
	r = sonde_json_set(to, "type", json_string(sonde_policy_types[type]));
	if (r == 0)
		r = copy_checkers(at, sonde_policy_types[type], from, to);
	if (r == 0)
		r = copy_task(at, from, to);
	return r < 0 ? r : sonde_json_append(list, json_incref(to));
}

/* --- schedules --- */

static bool is_name(const char *s)
{
	return s[0] &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] ==
		       '\0';
}

static bool has_name(const json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (strcmp(sonde_json_get_text(json_array_get(list, i), "name", ""), name) == 0)
			return true;
	}
	return false;
}

static int copy_schedule(struct place *at, const json_t *from, json_t *list)
{
	static const char *const known[] = {"name", "when", "preset", "duration", "spec"};
	_cleanup_json_ json_t *to = json_object();
	const char *name, *when, *words;
	struct sonde_when parsed;
	int r;

	if (!to)
		return -ENOMEM;
	if (!json_is_object(from))
		return refuse(at, "", "must be an object");
	r = refuse_unknown(at, from, known, ELEMENTS_OF(known));
	if (r == 0)
		r = get_text(at, from, "name", SONDE_POLICY_NAME_MAX, &name);
	if (r == 0 && !is_name(name))
		r = refuse(at, "name", "is needed: letters, digits and _ . - only");
	if (r == 0 && has_name(list, name))
		r = refuse(at, "name", "another schedule has it");
	if (r == 0)
		r = get_text(at, from, "when", SONDE_WHEN_TEXT_MAX, &when);
	if (r == 0 && sonde_when_parse(when, &parsed, &words) < 0)
		r = refuse(at, "when", words);
	if (r == 0)
		r = sonde_json_set(to, "name", json_string(name));
	if (r == 0)
		r = sonde_json_set(to, "when", json_string(when));
	if (r == 0)
		r = copy_task(at, from, to);
	return r < 0 ? r : sonde_json_append(list, json_incref(to));
}

/* --- whole --- */

static int get_list(const struct place *at, const json_t *root, const char *key, size_t max,
		    const json_t **ret)
{
	char words[64];

	*ret = json_object_get(root, key);
	if (!*ret || json_is_null(*ret))
		return 0;
	(void)snprintf(words, sizeof(words), "must be a list of at most %zu", max);
	return json_is_array(*ret) && json_array_size(*ret) <= max ? 0 : refuse(at, key, words);
}

static int copy_lists(struct place *at, const json_t *root, json_t *targets, json_t *schedules)
{
	const json_t *list;
	unsigned seen = 0;
	int r;

	r = get_list(at, root, "policy", SONDE_POLICY_TYPES, &list);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		(void)snprintf(at->path, sizeof(at->path), "policy[%zu]", i);
		r = copy_target(at, json_array_get(list, i), &seen, targets);
	}
	if (r < 0)
		return r;
	at->path[0] = '\0';
	r = get_list(at, root, "schedules", SONDE_POLICY_SCHEDULES_MAX, &list);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		(void)snprintf(at->path, sizeof(at->path), "schedules[%zu]", i);
		r = copy_schedule(at, json_array_get(list, i), schedules);
	}
	at->path[0] = '\0';
	return r;
}

int sonde_policy_check(const json_t *root, const char *service, int64_t now_ms,
		       int64_t max_duration_ms, json_t **ret, struct sonde_problem *problem)
{
	static const char *const known[] = {"service", "policy", "schedules"};
	struct place at = {.problem = problem,
			   .service = service,
			   .now_ms = now_ms,
			   .max_duration_ms = max_duration_ms};
	_cleanup_json_ json_t *targets = json_array(), *schedules = json_array(), *document = NULL;
	const char *named;
	int r;

	assert(service && ret && problem);

	if (!targets || !schedules)
		return -ENOMEM;
	if (!json_is_object(root))
		return sonde_problem_set(problem, 400, NULL, "the body must be a JSON object");
	if (!service[0] || strlen(service) >= SONDE_SPEC_TEXT_MAX || sonde_has_control(service))
		return sonde_problem_set(problem, 400, "service",
					 "service: 1 to 255 bytes without control characters");
	r = refuse_unknown(&at, root, known, ELEMENTS_OF(known));
	if (r == 0)
		r = get_text(&at, root, "service", SONDE_SPEC_TEXT_MAX, &named);
	if (r == 0 && named[0] && strcmp(named, service) != 0)
		r = refuse(&at, "service", "is not the service whose policy is set");
	if (r == 0)
		r = copy_lists(&at, root, targets, schedules);
	if (r == 0 && json_array_size(targets) + json_array_size(schedules) == 0)
		r = refuse(&at, "policy", "neither a threshold nor a schedule is there");
	if (r < 0)
		return r;
	document = json_pack("{s:s, s:O, s:O}", "service", service, "policy", targets, "schedules",
			     schedules);
	if (!document)
		return -ENOMEM;
	if (json_dumpb(document, NULL, 0, JSON_COMPACT) > SONDE_POLICY_BYTES_MAX)
		return refuse(&at, "", "the policy is larger than 131072 bytes");
	*ret = TAKE_PTR(document);
	return 0;
}
